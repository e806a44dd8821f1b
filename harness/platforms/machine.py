"""The machine that a platform really runs on, as far as it can change a bit: processor, its ISA flags, system, Python."""

import platform
from collections.abc import Mapping
from pathlib import Path

# What runtimes dispatch kernels on.
ISA_FLAGS = frozenset(
    [
        "sse4_1",
        "ssse3",
        "avx",
        "f16c",
        "fma",
        "avx2",
        "avx_vnni",
        "avx512f",
        "avx512bw",
        "avx512_vnni",
        "avx512_bf16",
        "avx512_fp16",
        "amx_int8",
        "amx_bf16",
        "asimd",
        "asimddp",
        "i8mm",
        "bf16",
        "sve",
        "sve2",
        "vx",
        "vxe",
        "vxe2",
    ]
)


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Mapping[str, str]:
    """Processor model and flags (of the first core), operating system and Python version; no names of hosts."""
    fields: dict[str, str] = {}
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip().lower(), value.strip())
    flags = fields.get("flags", fields.get("features", "")).split()
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": " ".join(sorted(ISA_FLAGS & set(flags))),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
