"""By intervention: one option of one side is switched, and the difference is gone. Says where to look, reproduces nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

from harness.bisect.find import REFUSALS
from harness.bisect.results import Shown
from harness.bisect.sides import Feeds, Run
from harness.errors import PlatformUnavailable, UserError
from harness.platforms.base import PLATFORMS, Platform
from harness.taps import Graph


@dataclass(frozen=True, kw_only=True)
class Switch:
    """`variant` is the platform that differs from `platform` in one option: `what`."""

    platform: str
    variant: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Restored:
    """With the switch, that side gets the very bits of the other one."""

    switch: Switch

    def __str__(self) -> str:
        s = self.switch
        return f"restored by {s.variant} in the place of {s.platform}: {s.what}"


def one_option_apart(platform: str) -> list[Switch]:
    """The platforms that differ from this one in a single field of their specification, on the same host."""
    if platform not in PLATFORMS.names():
        return []
    ours = PLATFORMS[platform]
    found = []
    for theirs in PLATFORMS:
        if type(theirs) is type(ours) and theirs.host == ours.host:
            changes = _differences(ours, theirs)
            if len(changes) == 1:
                found.append(Switch(platform=platform, variant=theirs.name, what=changes[0]))
    return found


def _differences(ours: Platform, theirs: Platform) -> list[str]:
    """The fields that differ, each as `field=theirs instead of ours`; of a field with parts, the parts that differ."""
    assert is_dataclass(ours)
    found = []
    for field in fields(ours):
        old, new = (_parts(field.name, getattr(each, field.name)) for each in (ours, theirs))
        changes = [
            f"{key}={new.get(key, 'none')} instead of {old.get(key, 'none')}"
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
        if changes and field.name != "name":
            found.append(", ".join(changes))
    return found


def _parts(name: str, value: object) -> Mapping[str, object]:
    """A mapping by its keys, a profile by its fields, anything else by the name of its field."""
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return {name: value}


def parse_switch(text: str) -> Switch:
    """`platform=variant` as a switch.

    >>> parse_switch("ncnn=ncnn-nowinograd").what
    'ncnn-nowinograd'
    """
    platform, _, variant = text.partition("=")
    if not platform or not variant:
        raise UserError(
            f"a switch is written PLATFORM=VARIANT, such as ort-cpu=ort-cpu-noopt, not {text!r}"
        )
    return Switch(platform=platform, variant=variant, what=variant)


def restored(
    shown: Shown, platforms: tuple[str, str], switches: Sequence[Switch], on: Callable[[str], Run]
) -> Iterator[Restored]:
    """Every switch of one of the two platforms that makes its outputs those of the other."""
    specimen = shown.specimen
    sides = (
        (platforms[0], specimen.graph_a, specimen.feeds_a, shown.b),
        (platforms[1], specimen.graph_b, specimen.feeds_b, shown.a),
    )
    for name, graph, feeds, other in sides:
        wanted = {t.name: t.digest for t in other.tensors}
        for switch in switches:
            if switch.platform == name and _run(on(switch.variant), graph, feeds) == wanted:
                yield Restored(switch=switch)


def _run(run: Run, graph: Graph, feeds: Feeds) -> dict[str, str]:
    """Digests of the outputs; none where the variant is not there or does not run the graph."""
    try:
        made = run(graph.onnx_model, {name: feeds[name] for name in graph.inputs})
    except (*REFUSALS, PlatformUnavailable):
        return {}
    return {t.name: t.digest for t in made.tensors}
