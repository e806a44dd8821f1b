r"""The container that a coded video travels in: a header, then its frames one by one, then an end record.

Stands between `coder` (payloads) and whoever stores or sends a video; `bitstream` is its counterpart
for one picture. Knows nothing of networks, tables or platforms, and codes nothing itself. Written and
read one frame at a time: neither end keeps a frame. All numbers are little-endian, a CRC is zlib's
CRC-32, a hash is 16 bytes as `bitstream.symbol_hash` gives them.

    size    the start
    4       magic b"XCKV"
    2       version, 1
    2       h, length of the header in bytes
    h       header: codec id, quality, profile, specification, tables, height and width, as
            `stream_fields` lays them out, then 4 + 4 bytes: frames per second, numerator and
            denominator in lowest terms
    4       CRC of everything before it

    size    a frame
    4       marker b"FRAM"
    4       its number, counted from 0
    1       kind: 0 key, 1 inter
    1       1 if a hash of the picture is there, else 0
    8 k     for each of its k branches: length of the z payload, length of the y payload.
            A key frame has one branch, img; an inter frame has two, motion and res, in this order
    ...     for each branch: z payload, y payload
    48 k    for each branch: hash of the z symbols, of the indexes, of the y symbols
    16      hash of the entropy parameters of all branches (what it is taken of is the endpoints' matter)
    0|16    hash of the picture
    4       CRC of the frame, continued from the CRC of the frame before it (of the start, for frame 0)

    size    the end
    4       marker b"ENDS"
    4       number of frames
    4       CRC of these 8 bytes, continued in the same manner; nothing follows it

So every stored CRC is that of all bytes of the stream before it, stored CRCs left out. That binds a
frame to its header and to every frame before it: one that is repeated, missing, out of its place, or of
another stream, even one with the same header, does not match. A stream is complete only with its end
record; whatever lacks one was cut. The CRCs find accidents, not forgery: who can compute them can write
any stream; numbers, kinds and lengths are checked for themselves, so that such a stream is not believed
to be in order or large without being so. There is one encoding of each value.

Frame 0 is a key frame. Before a payload is read its length must be within what the picture's size
allows: with P the number of pixels padded to multiples of 128 (at most 2^26), y has P / 256 elements a
channel and z has P / 16384; at 512 channels and the 6 bytes a symbol that `coder` can need, y payloads
are at most 12 P + 8 bytes, z payloads (3/16) P + 8 (1920x1080: 26.5 MB and 415 kB). Memory is taken as
bytes arrive, 1 MiB at a time, never by what a length says.

A stream costs 92 + a + b bytes (a, b: lengths of codec id and profile) and 12 at its end; a key frame
86 besides its payloads, an inter frame 142, each 16 more with a picture hash.
"""

from harness.video_stream.frames import (
    BRANCHES,
    Branch,
    DamagedStream,
    Frame,
    FrameKind,
    StreamHeader,
)
from harness.video_stream.reader import StreamReader
from harness.video_stream.writer import StreamWriter

__all__ = [
    "BRANCHES",
    "Branch",
    "DamagedStream",
    "Frame",
    "FrameKind",
    "StreamHeader",
    "StreamReader",
    "StreamWriter",
]
