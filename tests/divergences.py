"""The recorded divergences under fixtures/, as both sides of a bisection."""

from harness import fixtures
from harness.bisect.feeds import read_feeds
from harness.bisect.sides import Recorded
from harness.taps import Graph
from harness.trace import Trace


def recorded(name: str) -> tuple[Recorded, Recorded]:
    folder = fixtures.root() / "divergences" / name
    feeds = read_feeds(folder / "feeds.npz")
    graphs = [Graph.of((folder / "model.onnx").read_bytes(), name)] * 2
    if (folder / "model-b.onnx").is_file():
        graphs[1] = Graph.of((folder / "model-b.onnx").read_bytes(), name)
    a, b = (
        Recorded(name=side, graph=graph, feeds=feeds, trace=Trace.load(folder / f"{side}.trace"))
        for side, graph in zip("ab", graphs, strict=True)
    )
    return a, b
