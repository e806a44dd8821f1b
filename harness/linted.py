"""What may be expected of a cell by the linter's word: exact is identical, unless the runtime's deviation is known."""

from collections.abc import Callable, Iterable, Mapping

from harness.build import Build
from harness.case import Case
from harness.covered import ORDER_DEPENDENT, Environment, Judgement, mistake, rules_for
from harness.lint.analyse import lint
from harness.lint.findings import Level, Verdict
from harness.lint.rules import RULES
from harness.suite import INTEGER_ONLY, SAME_PLATFORM, Expect
from harness.verdict import Expectation


def judgements(cases: Iterable[Case], build: Callable[..., Build]) -> dict[str, Judgement]:
    """What the linter says of every variant of these cases: of h_s, and of g_s too where the scope has it.

    `build` is a library's: it takes a codec's name, precision and lowering, and the scope by name.
    """
    found: dict[str, Judgement] = {}
    for case in cases:
        if case.variant not in found:
            found[case.variant] = _judge(
                build(
                    f"{case.codec}/q{case.quality}", case.precision, case.lowering, scope=case.scope
                )
            )
    return found


def _judge(made: Build) -> Judgement:
    reports = [
        lint(made.artifacts[network].onnx_model, name=network)
        for network in (made.integers or ("h_s",))
    ]
    verdicts = {report.verdict for report in reports}
    deviating = {f.rule for report in reports for f in report.at_level(Level.DEVIATION)}
    return Judgement(
        verdict=next(v for v in reversed(Verdict) if v in verdicts).value,
        deviations={rule: RULES[rule].runtimes for rule in sorted(deviating)},
    )


def expectations(
    cases: Mapping[Case, Expect],
    judged: Mapping[str, Judgement],
    environments: Mapping[str, Environment],
) -> dict[Case, Expect]:
    """The same cases; what the linter calls exact must be identical, except where a known deviation applies."""
    return {
        case: _expect(case, expect, judged[case.variant], environments)
        for case, expect in cases.items()
    }


def _expect(
    case: Case, given: Expect, judgement: Judgement, environments: Mapping[str, Environment]
) -> Expect:
    if judgement.verdict == ORDER_DEPENDENT or given == SAME_PLATFORM:
        return given
    both = [environments.get(name, {}) for name in (case.encoder, case.decoder)]
    rules = sorted({rule for each in both for rule in rules_for(judgement, each)})
    if rules:
        return Expect(
            outcome=Expectation.INFORMATIONAL, reason=f"known deviation: {', '.join(rules)}"
        )
    mistakes = [found for each in both if (found := mistake(each))]
    if mistakes:
        return Expect(outcome=Expectation.INFORMATIONAL, reason=f"simulated mistake: {mistakes[0]}")
    return INTEGER_ONLY
