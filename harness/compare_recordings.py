"""Two recordings of one bundle, tensor by tensor: by bytes where both have them, by digests elsewhere. No tolerance.

Knows no platform and needs numpy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from harness.compare import compare
from harness.digest import TensorDigest
from harness.errors import UserError
from harness.recording import RecordedRun, Recording
from harness.trace import TensorRecord, Trace

IDENTICAL, DIVERGED_CODE, NOTHING = 0, 1, 3


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One output of one run. `problem` is empty if it is identical, else how it diverged."""

    run: str
    tensor: str
    values: int
    problem: str

    @property
    def identical(self) -> bool:
        return not self.problem


@dataclass(frozen=True, kw_only=True)
class RecordingComparison:
    """What was compared, and what was not.

    `environment`: the fields that differ; `artifacts`: runs that two different ONNX files realised; `not_compared`: runs
    that one of both could not run, with its reason.
    """

    expected: str
    actual: str
    tensors: tuple[Compared, ...]
    environment: Mapping[str, tuple[str, str]]
    artifacts: tuple[str, ...]
    not_compared: Mapping[str, str]

    @property
    def diverged(self) -> int:
        return sum(not tensor.identical for tensor in self.tensors)

    @property
    def compared_values(self) -> int:
        return sum(tensor.values for tensor in self.tensors)

    @property
    def exit_code(self) -> int:
        """0 identical, 1 diverged, 3 nothing was compared."""
        if self.diverged:
            return DIVERGED_CODE
        return IDENTICAL if self.compared_values else NOTHING


def compare_recordings(
    expected: Recording, actual: Recording, pattern: str = "*"
) -> RecordingComparison:
    """Compare the runs whose names match `pattern`, in the order of `expected`.

    A run or an output that one side lacks diverged. Runs of another specification, of other tables or on other feeds are a
    UserError: their outputs say nothing about each other.
    """
    left = {run.name: run for run in expected.runs if fnmatchcase(run.name, pattern)}
    right = {run.name: run for run in actual.runs if fnmatchcase(run.name, pattern)}
    skipped = {
        name: f"{recording.name}: {reason}"
        for recording in (actual, expected)
        for name, reason in recording.skipped.items()
        if fnmatchcase(name, pattern)
    }
    compared: list[Compared] = []
    for name in dict.fromkeys([*left, *right]):
        if name in skipped:
            continue
        want, got = left.get(name), right.get(name)
        if want is None or got is None:
            side = expected.name if want is None else actual.name
            there = want or got
            assert there is not None
            compared += [
                _compared(name, tensor, f"{tensor.name}: {side} has no such run")
                for tensor in there.outputs
            ]
            continue
        _check_comparable(want, got)
        compared += _run(want, got, expected, actual, _identical(compared))
    names = [
        *expected.environment,
        *(n for n in actual.environment if n not in expected.environment),
    ]
    return RecordingComparison(
        expected=expected.name,
        actual=actual.name,
        tensors=tuple(compared),
        environment={
            name: (expected.environment.get(name, ""), actual.environment.get(name, ""))
            for name in names
            if expected.environment.get(name) != actual.environment.get(name)
        },
        artifacts=tuple(
            name for name in left if name in right and left[name].artifact != right[name].artifact
        ),
        not_compared=skipped,
    )


def _check_comparable(want: RecordedRun, got: RecordedRun) -> None:
    for what in ("specification", "tables"):
        ours, theirs = getattr(want, what), getattr(got, what)
        if ours != theirs:
            raise UserError(
                f"run {want.name} is of another specification: {what} {ours[:12]} against {theirs[:12]};"
                " compare recordings of one bundle"
            )
    if want.integer != got.integer:
        raise UserError(
            f"run {want.name} is in integers on one side alone; compare recordings of one bundle"
        )
    if want.feeds != got.feeds:
        raise UserError(
            f"run {want.name} was recorded on other feeds ({want.feeds[0].name} {want.feeds[0].sha256[:12]} against"
            f" {got.feeds[0].name} {got.feeds[0].sha256[:12]}); compare recordings of one bundle"
        )


def _run(
    want: RecordedRun,
    got: RecordedRun,
    expected: Recording,
    actual: Recording,
    before: int,
) -> list[Compared]:
    ours = {tensor.name: tensor for tensor in want.outputs}
    theirs = {tensor.name: tensor for tensor in got.outputs}
    found: list[Compared] = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None:
            side = expected.name if a is None else actual.name
            problem = f"{name}: {side} has no such tensor"
        else:
            problem = _problem(a, b, expected, actual, before + _identical(found))
        there = a or b
        assert there is not None
        found.append(_compared(want.name, there, problem))
    return found


def _problem(
    want: TensorDigest, got: TensorDigest, expected: Recording, actual: Recording, before: int
) -> str:
    """How two tensors of one name differ; empty if they do not."""
    if want == got:
        return ""
    if want.dtype != got.dtype:
        return f"{want.name}: expected {want.dtype}, got {got.dtype}"
    if want.shape != got.shape:
        return f"{want.name}: expected {list(want.shape)}, got {list(got.shape)}"
    ours, theirs = expected.tensor(want), actual.tensor(got)
    if ours is None or theirs is None:
        lacking = expected.name if ours is None else actual.name
        return (
            f"{want.name}: expected digest {want.sha256[:16]}, got {got.sha256[:16]} ({before} earlier tensors identical;"
            f" {lacking} kept no bytes: record it with --keep {want.name} to see which elements)"
        )
    first = compare(_alone(ours), _alone(theirs), ()).first
    # Two digests differ, and each was checked against its bytes: the bytes differ.
    assert first is not None
    return str(replace(first, identical_before=before))


def _alone(record: TensorRecord) -> Trace:
    return Trace(tensors=(record,), environment={})


def _compared(run: str, tensor: TensorDigest, problem: str) -> Compared:
    return Compared(run=run, tensor=tensor.name, values=tensor.values, problem=problem)


def _identical(tensors: list[Compared]) -> int:
    return sum(tensor.identical for tensor in tensors)


def to_lines(found: RecordingComparison, *, every: bool = False) -> list[str]:
    """What a person reads: tensors that differ, runs that were not compared, what differs of the environments, the sum.

    With `every`, identical tensors have their lines too.
    """
    lines = []
    for tensor in found.tensors:
        if tensor.identical and every:
            lines.append(f"identical {tensor.run}: {tensor.tensor} ({tensor.values} values)")
        if not tensor.identical:
            lines += [f"DIVERGED  {tensor.run}", f"  {tensor.problem}"]
    lines += [f"not compared {name}: {why}" for name, why in sorted(found.not_compared.items())]
    lines += [
        f"other artifact {name}: two ONNX files of one specification" for name in found.artifacts
    ]
    lines += [
        f"environment {name}: {ours or 'absent'} | {theirs or 'absent'}"
        for name, (ours, theirs) in sorted(found.environment.items())
    ]
    same = len(found.tensors) - found.diverged
    lines.append(
        f"{found.expected} against {found.actual}: {len(found.tensors)} tensors ({found.compared_values} values),"
        f" {same} identical, {found.diverged} DIVERGED; {len(found.not_compared)} runs not compared"
        if found.tensors
        else f"{found.expected} against {found.actual}: nothing to compare"
    )
    return lines


def to_json(found: RecordingComparison) -> dict[str, object]:
    return {
        "expected": found.expected,
        "actual": found.actual,
        "tensors": [
            {"run": t.run, "tensor": t.tensor, "values": t.values, "problem": t.problem}
            for t in found.tensors
        ],
        "identical": len(found.tensors) - found.diverged,
        "diverged": found.diverged,
        "compared_values": found.compared_values,
        "environment": {name: list(pair) for name, pair in found.environment.items()},
        "artifacts": list(found.artifacts),
        "not_compared": dict(found.not_compared),
        "exit_code": found.exit_code,
    }
