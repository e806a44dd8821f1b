"""What the processor under this process can do, asked of it: `python -m harness.platforms.cpu_features FILE`."""

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness.files import write_file
from harness.platforms.machine import machine

# numpy's names of features -> the kernel's.
NAMES = {
    "SSE41": "sse4_1",
    "SSSE3": "ssse3",
    "AVX": "avx",
    "F16C": "f16c",
    "FMA3": "fma",
    "AVX2": "avx2",
    "AVX512F": "avx512f",
    "AVX512BW": "avx512bw",
    "AVX512VNNI": "avx512_vnni",
    "ASIMD": "asimd",
    "ASIMDDP": "asimddp",
    "SVE": "sve",
    "VX": "vx",
    "VXE": "vxe",
    "VXE2": "vxe2",
}


def cpu_features() -> str:
    """Names of features, sorted, as /proc/cpuinfo would have them."""
    # Private, and the one place that asks the processor itself; numpy 2 renamed the module.
    core: Any = getattr(np, "_core", None) or np.core
    found = core._multiarray_umath.__cpu_features__
    features = {NAMES[name] for name in NAMES if found.get(name)}
    # QEMU imitates /proc/cpuinfo too, and that says more, but not under x86-64: there it is the real processor's.
    if platform.machine() != "x86_64":
        features |= set(machine()["cpu_flags"].split())
    return " ".join(sorted(features))


if __name__ == "__main__":
    write_file(Path(sys.argv[1]), cpu_features().encode())
