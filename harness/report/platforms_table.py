"""A run whose one encoder every platform decodes, as rows of platforms and columns of variants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.covered import End, Judgement, mistake, rules_for, uncovered
from harness.report.matrix import WORST_LAST
from harness.report.schema import CellResult, Results
from harness.verdict import Outcome

# The precisions that every platform is asked for, and the lowering of each that is its default.
CONTROLS = ("fp32", "w8a8-qdq")


@dataclass(frozen=True, kw_only=True)
class Column:
    precision: str
    lowering: str

    @property
    def is_control(self) -> bool:
        return self.precision in CONTROLS


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What one platform decoded at one column, over all codecs and pictures.

    `known`: the linter's rules, or the planted mistake, that a divergence is put down to.
    """

    outcome: Outcome
    values: int
    differing: int
    bits: int
    flips: int
    known: tuple[str, ...]
    message: str
    borrowed: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """`absent` is why a platform could not run and what would change that; empty if it ran."""

    platform: str
    runtime: str
    where: str
    mistake: str
    absent: str
    tallies: Mapping[Column, Tally]


def columns(results: Results) -> list[Column]:
    """The controls first; then each integer precision, its narrowest first, in all of its lowerings."""
    found = {
        Column(precision=cell["precision"], lowering=cell["lowering"]) for cell in results["cells"]
    }

    def order(column: Column) -> tuple[bool, int, int, str, str]:
        controls = CONTROLS.index(column.precision) if column.is_control else 0
        precision = column.precision
        return not column.is_control, controls, len(precision), precision, _rank(column.lowering)

    return sorted(found, key=order)


def _rank(lowering: str) -> str:
    """Products of integers before carriers; u8 x u8, the default, first."""
    return f"{lowering.startswith('carrier')}{lowering != 'mmi-u8u8'}{lowering}"


def default_columns(results: Results) -> list[Column]:
    """One column a precision: in the lowering it takes unless told otherwise."""
    first: dict[str, Column] = {}
    for column in columns(results):
        first.setdefault(column.precision, column)
    return list(first.values())


def rows(results: Results) -> list[Row]:
    """Machines that are there, then simulated ones with a mistake, then those that are not there; each by name."""
    cells: dict[str, dict[Column, list[CellResult]]] = {}
    for cell in results["cells"]:
        column = Column(precision=cell["precision"], lowering=cell["lowering"])
        cells.setdefault(cell["decoder"], {}).setdefault(column, []).append(cell)
    judged = judgements(results)
    found = [
        Row(
            platform=name,
            runtime=record.get("runtime", ""),
            where=_where(record),
            mistake=mistake(record),
            absent=(
                f"{record['unavailable']}; {record['remedy']}" if "unavailable" in record else ""
            ),
            tallies={
                column: _tally(each, results, judged)
                for column, each in cells.get(name, {}).items()
            },
        )
        for name, record in results["environment"].items()
    ]
    return sorted(found, key=lambda row: (bool(row.absent), bool(row.mistake), row.platform))


def _where(record: Mapping[str, str]) -> str:
    if "unavailable" in record:
        return ""
    if "emulator" in record:
        return f"{record.get('cpu') or record.get('machine', '')}, {record['emulator']}"
    more = [f"Node {record['node']}"] if "node" in record else []
    if "swiftshader" in record.get("vulkan_driver", ""):
        more.append("Vulkan on SwiftShader")
    return ", ".join(["host", *more])


def _tally(cells: Sequence[CellResult], results: Results, judged: Mapping[str, Judgement]) -> Tally:
    compared = [tensor for cell in cells for tensor in cell["compared"].values()]
    worst = max(cells, key=lambda cell: WORST_LAST.index(Outcome(cell["outcome"])))
    known: set[str] = set()
    for cell in cells:
        for name in (cell["encoder"], cell["decoder"]):
            record = results["environment"].get(name, {})
            if (judgement := judged.get(variant(cell))) is not None:
                known |= set(rules_for(judgement, record))
            known |= {mistake(record)} - {""}
    return Tally(
        outcome=Outcome(worst["outcome"]),
        values=sum(tensor["values"] for tensor in compared),
        differing=sum(tensor["mismatched"] for tensor in compared),
        bits=sum(tensor.get("differing_bits", 0) for tensor in compared),
        flips=sum(
            tensor["mismatched"]
            for cell in cells
            for name, tensor in cell["compared"].items()
            if name == "indexes"
        ),
        known=tuple(sorted(known)),
        message=worst["message"],
        borrowed=any(
            f"{cell['decoder']}: h_s from" in loan for cell in cells for loan in cell["borrowed"]
        ),
    )


def variant(cell: CellResult) -> str:
    return cell["case"].rsplit("/", 2)[0]


def judgements(results: Results) -> dict[str, Judgement]:
    """What the linter said of each variant of these results."""
    return {
        name: Judgement(
            verdict=found["verdict"],
            deviations={rule: tuple(names) for rule, names in found["deviations"].items()},
        )
        for name, found in results.get("lint", {}).items()
    }


def uncovered_cells(results: Results) -> list[str]:
    """A line for each cell that the linter calls exact, that diverged, and that no known deviation covers."""
    ends = [
        End(
            case=cell["case"],
            variant=variant(cell),
            encoder=cell["encoder"],
            decoder=cell["decoder"],
            diverged=Outcome(cell["outcome"]) in {Outcome.DIVERGED, Outcome.UNDECODABLE},
        )
        for cell in results["cells"]
    ]
    return uncovered(ends, judgements(results), results["environment"])
