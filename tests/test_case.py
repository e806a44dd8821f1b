"""Case names: one legal text each, patterns, and randomness that comes from the name alone."""

from dataclasses import replace

import numpy as np
import pytest

from harness.case import Case, input_name, rng
from harness.errors import UserError

CASE = Case(
    codec="mbt2018-mean", quality=3, precision="w8a8", scope="hyperprior", lowering="mmi-u8u8",
    encoder="ort-cpu", decoder="torch-sse41", input="astronaut",
)  # fmt: skip
NAME = "mbt2018-mean/q3/w8a8/hyperprior/mmi-u8u8/ort-cpu+torch-sse41/astronaut"


def test_the_name_has_every_part_in_order() -> None:
    assert str(CASE) == NAME


@pytest.mark.parametrize(
    "field", ["codec", "quality", "precision", "scope", "lowering", "encoder", "decoder", "input"]
)
def test_every_field_changes_the_name(field: str) -> None:
    assert str(replace(CASE, **{field: 4 if field == "quality" else "other"})) != NAME


@pytest.mark.parametrize("part", ["", "a/b", "a+b", "a b", "ä", "a*", "a\n", "[a]"])
@pytest.mark.parametrize(
    "field", ["codec", "precision", "scope", "lowering", "encoder", "decoder", "input"]
)
def test_a_part_that_no_file_name_may_have_is_refused(field: str, part: str) -> None:
    with pytest.raises(UserError, match="cannot be part of a case name") as caught:
        replace(CASE, **{field: part})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (NAME, True), ("*", True), ("*/w8a8/*", True), ("mbt2018-mean/q?/*", True),
        ("*/ort-cpu+*/astronaut", True), ("*/q[34]/*", True), ("*/Q3/*", False), ("q3", False),
        ("mbt2018-mean/q3", False), ("", False),
    ],
)  # fmt: skip
def test_patterns_match_the_whole_name(pattern: str, matches: bool) -> None:
    assert CASE.matches(pattern) is matches


def test_cases_sort_by_their_fields() -> None:
    other = replace(CASE, quality=20)
    assert sorted([other, CASE]) == [CASE, other]


def test_randomness_is_pinned_to_the_name() -> None:
    """These numbers may never change: every seeded case would."""
    assert rng(NAME).integers(0, 2**32, 3).tolist() == rng(NAME).integers(0, 2**32, 3).tolist()
    assert rng("a").integers(0, 2**32, 2).tolist() == [1494190256, 776273709]
    assert rng("a").integers(0, 2**32) != rng("b").integers(0, 2**32)


def test_randomness_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002 - that state is what must not move
    rng(NAME).standard_normal(10)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("kodim01", "kodim01"),
        ("my photo (1)", "my_photo__1_"),
        ("ä", "_"),
        ("", "_"),
        ("a.b-c_d", "a.b-c_d"),
    ],
)
def test_a_file_becomes_a_legal_input_name(stem: str, name: str) -> None:
    assert input_name(stem) == name
    assert replace(CASE, input=input_name(stem)).input == name
