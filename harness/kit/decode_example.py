"""Read a Crosscheck bundle or trace with numpy alone: check every digest, entropy-decode every stream.

`python decode_example.py x.bundle` ends with 0 if all of it is as the bundle says. It shares no code with the package.
"""
# ruff: noqa: T201 - a program

import hashlib
import json
import struct
import sys
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Object = dict[str, Any]
NIBBLE = 15


def digest(array: Array) -> str:
    """SHA-256 of dtype, shape, a zero byte, and the elements, little-endian in C order."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    head = f"{array.dtype.name}{list(array.shape)}".encode()
    return hashlib.sha256(head + b"\0" + little.tobytes()).hexdigest()


def tensor(archive: zipfile.ZipFile, entry: Object) -> Array:
    """The elements of a tensor of the manifest."""
    dtype = np.dtype(entry["dtype"])
    data = archive.read(f"tensors/{entry['sha256']}.bin")
    array = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(entry["shape"])
    if digest(array) != entry["sha256"]:
        sys.exit(f"{entry['name']}: does not match its digest")
    return array


def unpack(stream: bytes) -> Object:
    """The fields of a bitstream that its payloads need; every CRC-32 is checked."""
    magic, version, length = struct.unpack_from("<4sHH", stream)
    (crc,) = struct.unpack_from("<I", stream, 8 + length)
    if (magic, version, crc) != (b"XCHK", 1, zlib.crc32(stream[: 8 + length])):
        sys.exit("stream: damaged header")
    at = 8 + 1 + stream[8] + 2  # after codec id and quality
    at += 1 + stream[at]  # after the arithmetic profile
    found: Object = {
        "specification": stream[at : at + 32].hex(),
        "tables": stream[at + 32 : at + 64].hex(),
    }
    sizes = [size + 1 for size in struct.unpack_from("<8H", stream, at + 64)]
    found["picture"], found["y"], found["z"] = sizes[:2], (1, *sizes[2:5]), (1, *sizes[5:])
    at = 8 + length + 4
    for name in ("payload_z", "payload_y"):
        size, crc = struct.unpack_from("<II", stream, at)
        found[name] = stream[at + 8 : at + 8 + size]
        if crc != zlib.crc32(found[name], zlib.crc32(stream[at : at + 4])):
            sys.exit(f"stream: damaged {name}")
        at += 8 + size
    return found


def entropy_decode(payload: bytes, rows: Array, tables: Object) -> Array:
    """Symbols of a payload. rANS with 16-bit frequencies: a 64-bit state, then 32-bit words; `rows` names the CDF of each symbol."""
    words = iter(struct.unpack(f"<{len(payload) // 4}I", payload))
    state: int = next(words) | next(words) << 32
    cdfs = [r[:n] for r, n in zip(tables["cdf"], tables["length"], strict=True)]
    symbols = []

    def refill(x: int) -> int:
        return x << 32 | int(next(words)) if x < 1 << 31 else x

    def nibble() -> int:
        nonlocal state
        low, state = state & NIBBLE, refill(state >> 4)
        return low

    for row in rows.ravel().tolist():
        cdf, low = cdfs[row], state & 0xFFFF
        value = int(np.searchsorted(cdf, low, side="right")) - 1
        start, end = int(cdf[value]), int(cdf[value + 1])
        state = refill((end - start) * (state >> 16) + low - start)
        escape = len(cdf) - 2
        if value == escape:  # how many nibbles, then these, the lowest first
            count = part = nibble()
            while part == NIBBLE:
                part = nibble()
                count += part
            raw = sum(nibble() << 4 * n for n in range(count))
            value = -(raw >> 1) - 1 if raw & 1 else (raw >> 1) + escape
        symbols.append(value + int(tables["offset"][row]))
    return np.array(symbols, np.int32).reshape(rows.shape)


def main(path: str) -> None:
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        recording = manifest.get("expected", manifest)
        members = set(archive.namelist())
        for run in recording["runs"]:
            tensors = run["feeds"] + run["outputs"]
            kept = [t for t in tensors if f"tensors/{t['sha256']}.bin" in members]
            shapes = [f"{t['name']} {t['dtype']}{list(tensor(archive, t).shape)}" for t in kept]
            print(f"{run['name']}: {len(tensors)} tensors; {', '.join(shapes) or 'digests alone'}")
        variants = {variant["name"]: variant for variant in manifest.get("variants", [])}
        for entry in manifest.get("streams", []):
            variant = variants[entry["name"].rpartition("/")[0]]
            arrays = {a["name"]: tensor(archive, a) for a in variant["arrays"]}
            stream = unpack(archive.read(f"streams/{entry['sha256']}.xchk"))
            if stream["specification"] != variant["specification"]:
                sys.exit(f"{entry['name']}: made with another specification")
            wanted = {t["name"]: t for t in entry["tensors"]}
            channels = np.broadcast_to(np.arange(stream["z"][1])[:, None, None], stream["z"])
            for latent, rows in (("z", channels), ("y", tensor(archive, wanted["indexes"]))):
                tables = {n: arrays[f"{latent}.{n}"] for n in ("cdf", "length", "offset")}
                symbols = entropy_decode(stream[f"payload_{latent}"], rows, tables)
                if digest(symbols) != wanted[f"{latent}_symbols"]["sha256"]:
                    sys.exit(f"{entry['name']}: {latent} symbols differ")
            print(f"{entry['name']}: z and y symbols as expected")


if __name__ == "__main__":
    main(sys.argv[1])
