"""SwiftShader, a Vulkan device in software: WebGPU without a GPU. It comes from an npm package that has it inside."""

import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, PlatformUnavailable
from harness.files import write_file
from harness.platforms.hosts import PREPARE, Say, run_or_fail
from harness.platforms.node import NodeHost, Npm, node_home

# The loader that finds the device, the device, and the file that tells the one of the other.
_FILES = ("libvulkan.so.1", "libvk_swiftshader.so", "vk_swiftshader_icd.json")
_BYTES = 2**26  # of a file, at most
# Python has no brotli, Node has.
_DECOMPRESS = (
    "const fs = require('fs'), [from, to] = process.argv.slice(1);"
    "fs.writeFileSync(to, require('zlib').brotliDecompressSync(fs.readFileSync(from)))"
)
DRIVER = Npm(name="swiftshader", packages=("@sparticuz/chromium@153.0.0",))


@dataclass(frozen=True, kw_only=True)
class SwiftShaderHost(NodeHost):
    """A host whose one Vulkan device is SwiftShader, whatever the machine has."""

    def settings(self, platform: str) -> tuple[str, ...]:
        DRIVER.require(platform)
        if not _unpacked():
            raise PlatformUnavailable(
                platform, "SwiftShader is not unpacked", PREPARE.format(name=platform)
            )
        return (
            f"LD_LIBRARY_PATH={DRIVER.folder}",
            f"VK_DRIVER_FILES={DRIVER.folder / _FILES[-1]}",
        )

    def prepare(self, say: Say) -> None:
        super().prepare(say)
        DRIVER.prepare(say)
        if not _unpacked():
            packed = DRIVER.folder / "node_modules/@sparticuz/chromium/bin/swiftshader.tar.br"
            for name, data in _unpack(packed).items():
                write_file(DRIVER.folder / name, data)


def _unpacked() -> bool:
    return all((DRIVER.folder / name).is_file() for name in _FILES)


def _unpack(packed: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.tar"
        node = str(node_home() / "bin" / "node")
        run_or_fail([node, "-e", _DECOMPRESS, str(packed), str(plain)])
        data = plain.read_bytes()
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name in _FILES else None
            if file is not None and member.size <= _BYTES:
                found[member.name] = file.read()
    if missing := set(_FILES) - set(found):
        raise HarnessError(f"{packed.name} of {DRIVER.packages[0]} has no {sorted(missing)[0]}")
    return found
