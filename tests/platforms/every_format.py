"""Write what the project writes, of fixed contents, into the folder named on the command line: on any machine, with numpy alone."""

import sys
from pathlib import Path

import numpy as np

from harness.bitstream import Bitstream, Header, pack, symbol_hash
from harness.trace import DTYPES, TensorRecord, Trace

# Bytes that read differently in the other order.
PATTERN = bytes(range(1, 241))


def main(folder: Path) -> None:
    tensors = []
    for dtype in DTYPES:
        if dtype == "bool":
            array = np.arange(24) % 3 == 0
        else:
            array = np.frombuffer(PATTERN, np.dtype(dtype).newbyteorder("<")).astype(dtype)
        tensors.append(TensorRecord.of(dtype, array))
        # Neither contiguous nor in C order; and laid out anew, in the byte order of the machine.
        tensors.append(TensorRecord.of(f"{dtype}, view", array.reshape(2, -1)[:, ::2].T))
        tensors.append(TensorRecord.of(f"{dtype}, rolled", np.roll(array, 5)))
    Trace(tensors=tuple(tensors), environment={"machine": "any"}).save(folder / "every.trace")
    (folder / "digests.txt").write_text(
        "".join(f"{tensor.digest} {tensor.name}\n" for tensor in tensors), encoding="utf-8"
    )
    symbols = np.arange(-300, 300, dtype=np.int32).reshape(1, 6, 10, 10)
    header = Header(
        codec="bmshj2018-hyperprior",
        quality=258,
        profile="w8a8",
        specification=bytes(range(32)),
        tables=bytes(range(32, 64)),
        height=769,
        width=513,
        y_shape=(128, 49, 33),
        z_shape=(64, 13, 9),
    )
    bitstream = Bitstream(
        header=header,
        payload_z=PATTERN,
        payload_y=PATTERN[::-1],
        z_hash=symbol_hash(symbols),
        index_hash=symbol_hash((symbols + 300).astype(np.uint16)),
        y_hash=symbol_hash(symbols.astype(np.int16)),
    )
    (folder / "bitstream").write_bytes(pack(bitstream))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
