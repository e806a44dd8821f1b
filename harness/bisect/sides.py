"""The two things that are compared: a graph that can be run again, or what somebody recorded of it elsewhere."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.platforms.pool import Pool
from harness.taps import Array, Graph
from harness.trace import TensorRecord, Trace

Feeds = Mapping[str, Array]
# ONNX bytes and feeds to a trace of the graph's outputs, wherever that is.
Run = Callable[[bytes, Feeds], Trace]


@dataclass(frozen=True, kw_only=True)
class Live:
    """A graph and its feeds on a platform that is at hand."""

    name: str
    graph: Graph
    feeds: Feeds
    run: Run


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A trace of some values of `graph`, its taps at best, and the feeds it was made with."""

    name: str
    graph: Graph
    feeds: Feeds
    trace: Trace


Side = Live | Recorded


def execute(side: Live, graph: Graph, feeds: Feeds | None = None) -> Trace:
    """Run a graph cut out of the side's own, on its feeds or others."""
    given = side.feeds if feeds is None else feeds
    return side.run(graph.onnx_model, {name: given[name] for name in graph.inputs})


def on_platform(pool: Pool, platform: str) -> Run:
    """Run graphs on a platform by its name."""

    def run(onnx_model: bytes, feeds: Feeds) -> Trace:
        records = [TensorRecord.of(name, array) for name, array in feeds.items()]
        artifact = hashlib.sha256(onnx_model).hexdigest()
        return pool.child(platform).run(artifact, onnx_model, records)

    return run
