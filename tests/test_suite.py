"""Suites: those that ship load, every mistake in one is named, and cases come out in order."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness import fixtures, suite
from harness.errors import UserError
from harness.lowerings.base import integer_lowerings
from harness.platforms.base import PLATFORMS
from harness.suite import Block, Expect, Suite
from harness.verdict import Expectation

GOOD = """
summary = "a suite"
scope = "hyperprior"
required = ["a"]
optional = ["b"]
must_diverge = ["fp32"]

[[blocks]]
codecs = ["*/q3"]
precisions = ["fp32", "w8a8"]
images = ["*"]
encoders = ["*"]
decoders = ["*"]

[expectations.fp32]
outcome = "informational"
reason = "floats"
"""
CODECS = ["bmshj2018-hyperprior/q3", "mbt2018-mean/q3", "mbt2018-mean/q5"]


@pytest.fixture
def good(tmp_path: Path) -> Suite:
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    return suite.load(str(path))


# The self-test's plan lies beside the suites, but is none.
@pytest.mark.parametrize("name", [n for n in suite.available() if n != "selftest"])
def test_every_shipped_suite_loads(name: str) -> None:
    loaded = suite.load(name)
    assert loaded.name == name
    assert loaded.summary
    assert {*loaded.required, *loaded.optional} <= set(PLATFORMS.names())
    assert set(loaded.must_diverge) <= set(loaded.expectations)
    assert all(expect.reason for expect in loaded.expectations.values())


def test_every_image_of_a_shipped_suite_ships() -> None:
    shipped = {path.stem for path in (fixtures.root() / "images").glob("*.png")}
    wanted = {image for block in suite.load("default").blocks for image in block.images}
    assert wanted - {"*"} <= shipped


def test_the_matrix_of_platforms_has_every_platform_there_is() -> None:
    plan = suite.load("platforms")
    assert sorted((*plan.required, *plan.optional)) == sorted(PLATFORMS.names())
    assert plan.refusing == plan.optional
    assert plan.linted
    cases = plan.cases(
        codecs=["mbt2018-mean/q3"], images=["rocket"], platforms=["ort-cpu", "torch"]
    )
    variants = {(case.precision, case.lowering) for case in cases}
    assert {("fp32", "float32"), ("w8a8-qdq", "qdq")} <= variants
    integer = {lowering.name for lowering in integer_lowerings()}
    assert {lowering for precision, lowering in variants if precision == "w8a8"} == integer
    # The sums of 16-bit products do not fit float32.
    wide = {lowering for precision, lowering in variants if precision == "w16a16"}
    assert wide == integer - {"carrier-f32"}


def test_only_optional_platforms_may_refuse_and_only_where_a_suite_says_so(good: Suite) -> None:
    assert good.refusing == ()
    lenient = replace(good, may_refuse=True)
    assert lenient.refusing == ("b",)
    assert lenient.with_platforms(["b"]).refusing == ()


def test_a_suite_of_your_own_loads_by_path(good: Suite) -> None:
    assert good.name == "good"
    assert good.required == ("a",)
    assert good.optional == ("b",)
    assert good.must_diverge == ("fp32",)
    assert good.expectations["fp32"] == Expect(outcome=Expectation.INFORMATIONAL, reason="floats")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('summary = "a suite"', "", "bad.toml: it lacks summary"),
        ('scope = "hyperprior"', "", "bad.toml: it lacks scope"),
        ('required = ["a"]', "", "bad.toml: it lacks required"),
        ('scope = "hyperprior"', 'scope = "everything"', "known: hyperprior, decoder"),
        ('scope = "hyperprior"', "scope = 3", "no scope"),
        ('required = ["a"]', "required = []", "one required platform"),
        ('required = ["a"]', 'required = "a"', "list of strings"),
        ('optional = ["b"]', "optional = [1]", "list of strings"),
        ("must_diverge = [", "must_divrege = [", "must_divrege"),
        ("[[blocks]]", "[blocks]", "[[blocks]] is written as a table"),
        ("[[blocks]]", "[[block]]", "block"),
        ('images = ["*"]', "", "a block has either images or clips"),
        ('codecs = ["*/q3"]', "", "[[blocks]]: it lacks codecs"),
        ('images = ["*"]', 'images = "*"', "list of strings"),
        ('images = ["*"]', 'images = ["*"]\nclips = ["*"]', "a block has either images or clips"),
        ('outcome = "informational"', 'outcome = "maybe"', "maybe"),
        ('outcome = "informational"', "outcome = 1", "1 is not a valid"),
        ('outcome = "informational"', "", "outcome"),
        ('reason = "floats"', "", "[expectations.fp32]: it lacks reason"),
        ('reason = "floats"', 'reason = "floats"\nlink = "x"', "link"),
        ("[expectations.fp32]", "[[expectations]]", "suite"),
        ("[expectations.fp32]", "[expectations.fp32", "suite"),
        ('summary = "a suite"', 'summary = "a', "suite"),
    ],
)
def test_every_mistake_is_one_line_that_names_the_file(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    assert old in GOOD
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        suite.load(str(path))
    message = str(caught.value)
    assert "bad.toml" in message
    assert says in message
    assert "\n" not in message


def test_a_suite_without_blocks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text('summary = "x"\nscope = "decoder"\nrequired = ["a"]\n')
    with pytest.raises(UserError, match=r"empty\.toml.*\[\[blocks\]\]"):
        suite.load(str(path))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"\x00" * 100, b"a = " + b"[" * 5000])
def test_what_is_no_toml_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "noise.toml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"noise\.toml"):
        suite.load(str(path))


@pytest.mark.parametrize("name", ["no-such-suite", "/nowhere/x.toml", "", "."])
def test_an_unknown_suite_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match="default"):
        suite.load(name)


def test_cases_come_in_order_and_by_pattern(good: Suite) -> None:
    cases = good.cases(codecs=CODECS, images=["y", "x"], platforms=["a", "b"])
    names = [str(case) for case in cases]
    # codec, image, precision, encoder, decoder: each in the order given.
    assert names[:5] == [
        "bmshj2018-hyperprior/q3/fp32/hyperprior/float32/a+a/y",
        "bmshj2018-hyperprior/q3/fp32/hyperprior/float32/a+b/y",
        "bmshj2018-hyperprior/q3/fp32/hyperprior/float32/b+a/y",
        "bmshj2018-hyperprior/q3/fp32/hyperprior/float32/b+b/y",
        "bmshj2018-hyperprior/q3/w8a8/hyperprior/mmi-u8u8/a+a/y",
    ]
    assert len(names) == 2 * 2 * 2 * 4  # q5 is of no block
    assert not [name for name in names if "/q5/" in name]
    some = good.cases(
        codecs=CODECS, images=["y", "x"], platforms=["a", "b"], pattern="mbt*/w8a8/*/a+b/x"
    )
    assert [str(case) for case in some] == ["mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/a+b/x"]


def test_no_platform_no_case(good: Suite) -> None:
    assert good.cases(codecs=CODECS, images=["x"], platforms=[]) == {}


def test_blocks_that_overlap_give_each_case_once(good: Suite) -> None:
    twice = replace(good, blocks=good.blocks * 2)
    some = {"codecs": CODECS, "images": ["x"], "platforms": ["a", "b"]}
    assert list(twice.cases(**some)) == list(good.cases(**some))


def test_expectations_go_by_precision_and_a_platform_agrees_with_itself(good: Suite) -> None:
    cases = good.cases(codecs=["mbt2018-mean/q3"], images=["x"], platforms=["a", "b"])
    for case, expect in cases.items():
        same = case.encoder == case.decoder
        controlled = case.precision == "fp32" and not same
        assert expect.outcome is (
            Expectation.INFORMATIONAL if controlled else Expectation.IDENTICAL
        )
        assert expect.reason


def test_more_platforms_become_required_once(good: Suite) -> None:
    assert good.with_platforms(["c", "a", "b"]).required == ("a", "c", "b")
    assert good.with_platforms([]) == good
    assert good.required == ("a",)


def test_every_picture_and_every_codec() -> None:
    block = Block(
        codecs=("known/q3",),
        precisions=("w8a8",),
        images=("known",),
        encoders=("a",),
        decoders=("b",),
    )
    own = Suite(
        name="own",
        summary="",
        scope="decoder",
        required=("a",),
        optional=(),
        must_diverge=(),
        blocks=(block,),
        expectations={},
    )
    some = {"codecs": ["mine/q0"], "images": ["photo"], "platforms": ["a", "b"]}
    assert own.cases(**some) == {}
    assert suite.on_all_images(own).cases(**some) == {}
    both = suite.on_all_codecs(suite.on_all_images(own)).cases(**some)
    assert [str(case) for case in both] == ["mine/q0/w8a8/decoder/mmi-u8u8/a+b/photo"]
