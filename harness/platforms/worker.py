"""The child process of one platform: `python -m harness.platforms.worker NAME`, messages on stdin and stdout."""

import os
import sys
import time
from collections import OrderedDict
from typing import BinaryIO

from harness.errors import FellBack, PlatformUnavailable, Unsupported
from harness.platforms import wire
from harness.platforms.base import PLATFORMS, Engine, Session
from harness.platforms.machine import machine
from harness.trace import TensorRecord

SESSIONS_KEPT = 64


def serve(name: str, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the other side closes the pipe."""
    began = time.perf_counter()
    try:
        engine = PLATFORMS[name].open()
    except PlatformUnavailable as error:
        wire.send(
            replies, {"error": "unavailable", "message": error.reason, "remedy": error.remedy}
        )
        return
    wire.send(
        replies,
        {
            "environment": {**machine(), **engine.environment()},
            "seconds": time.perf_counter() - began,
        },
    )
    sessions: OrderedDict[str, Session] = OrderedDict()
    while True:
        try:
            head, blob, tensors = wire.receive(requests)
        except EOFError:
            return
        artifact = str(head["artifact"])
        if not blob and artifact not in sessions:
            wire.send(replies, {"error": "send artifact"})
            continue
        began = time.perf_counter()
        try:
            outputs = _execute(engine, sessions, artifact, blob, tensors)
        except FellBack as error:
            wire.send(replies, {"error": "fell back", "message": str(error)})
        except Unsupported as error:
            wire.send(replies, {"error": "unsupported", "message": str(error)})
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything; the cell is CRASHED, the child lives
            wire.send(
                replies,
                {"error": "crashed", "message": f"{type(error).__name__}: {error}".splitlines()[0]},
            )
        else:
            wire.send(replies, {"seconds": time.perf_counter() - began}, tensors=outputs)


def _execute(
    engine: Engine,
    sessions: "OrderedDict[str, Session]",
    artifact: str,
    onnx_model: bytes,
    feeds: tuple[TensorRecord, ...],
) -> list[TensorRecord]:
    """Run one graph, loading it first if it came along."""
    if onnx_model:
        sessions[artifact] = engine.load(onnx_model)
        if len(sessions) > SESSIONS_KEPT:
            sessions.popitem(last=False)
    sessions.move_to_end(artifact)
    outputs = sessions[artifact].run({feed.name: feed.array() for feed in feeds})
    return [TensorRecord.of(name, array) for name, array in outputs.items()]


def main() -> None:
    # Runtimes print to stdout when they please: the pipe moves to another descriptor, stdout becomes stderr.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.argv[1], sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
