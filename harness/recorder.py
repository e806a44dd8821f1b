"""Run everything in a bundle on one live platform and record what comes out. Knows bundles and platforms, no models."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from harness.bundle import Bundle
from harness.digest import TensorDigest
from harness.errors import Unsupported
from harness.platforms.base import Platform
from harness.recording import RecordedRun, Recording, printable, select
from harness.trace import TensorRecord, Trace

DIVERGED = "diverged"
Report = Callable[[int, int, str], None]


class Process(Protocol):
    """A platform's process, such as `harness.platforms.pool.Child`."""

    def environment(self) -> Mapping[str, str]: ...

    def run(self, artifact: str, onnx_model: bytes, feeds: Sequence[TensorRecord]) -> Trace: ...


def record(
    bundle: Bundle,
    platform: Platform,
    process: Process,
    *,
    keep: Collection[str] = (DIVERGED,),
    report: Report,
) -> Recording:
    """Run every network of `bundle` on `platform`, each on the bundle's own feeds.

    Bytes are kept of the outputs that `keep` names: `all`, `none`, names, or `diverged` (those that are not what the bundle
    expects). What a platform cannot run by its nature is skipped, with the reason; any other failure is raised.
    """
    runs = bundle.expected.runs
    names = select((output.name for run in runs for output in run.outputs), set(keep) - {DIVERGED})
    recorded: list[RecordedRun] = []
    skipped: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    for number, run in enumerate(runs):
        report(number, len(runs), run.name)
        if not run.integer and run.network not in platform.networks:
            skipped[run.name] = f"{platform.name} does not run a float {run.network} by its nature"
            continue
        try:
            trace = process.run(run.artifact, bundle.artifacts[run.artifact], bundle.feeds(run))
        except Unsupported as error:
            skipped[run.name] = str(error)
            continue
        expected = {output.sha256 for output in run.outputs}
        kept |= {
            tensor.digest: tensor.data
            for tensor in trace.tensors
            if tensor.name in names or (DIVERGED in keep and tensor.digest not in expected)
        }
        outputs = tuple(map(TensorDigest.of, trace.tensors))
        recorded.append(replace(run, outputs=outputs))
    report(len(runs), len(runs), "")
    return Recording(
        runs=tuple(recorded),
        environment=printable(process.environment()),
        skipped=printable(skipped),
        kept=kept,
    )
