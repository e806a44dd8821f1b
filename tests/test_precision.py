"""Names and tables of bits: what is read, and that each thing wrong with one is a line that says so."""

import json
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.precision import Precision, read_precision


def table(folder: Path, content: object, name: str = "bits.json") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def test_names_are_read() -> None:
    assert read_precision("w2a16") == Precision(name="w2a16", weight_bits=2, activation_bits=16)
    assert read_precision("w4a4-o4").output_bits == 4
    assert read_precision("w16a16").output_bits == 16


def test_a_table_of_bits_makes_exceptions(tmp_path: Path) -> None:
    got = read_precision(
        table(tmp_path, {"default": "w8a6", "weights": {"h_s.2": 4}, "activations": {"z_q": 12}})
    )
    assert got.name == "mixed-bits"
    assert [got.of_weights("h_s.0"), got.of_weights("h_s.2")] == [8, 4]
    assert [got.of_activation("z_q"), got.of_activation("h_s.0")] == [12, 6]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "cannot read"),
        ("[]", "cannot read"),
        ("{}", "cannot read"),
        ({"default": "w1a1"}, "no precision 'w1a1'"),
        ({"default": "w8a8", "weights": {"h_s.0": 1}}, "h_s.0 has 1 bits"),
        ({"default": "w8a8", "weights": {"h_s.0": 17}}, "h_s.0 has 17 bits"),
        ({"default": "w8a8", "weights": {"h_s.0": 4.0}}, "h_s.0 has 4.0 bits"),
        ({"default": "w8a8", "weights": {"h_s.0": True}}, "h_s.0 has True bits"),
        ({"default": "w8a8", "weights": [4]}, "cannot read"),
        ({"default": "w8a8", "bits": {}}, "unknown fields bits"),
    ],
)
def test_a_wrong_table_is_one_line(content: object, what: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=what) as caught:
        read_precision(table(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_table_and_an_impossible_name_are_one_line(tmp_path: Path) -> None:
    for text in (str(tmp_path / "none.json"), table(tmp_path, {"default": "w8a8"}, "a b.json")):
        with pytest.raises(UserError):
            read_precision(text)


def test_names_of_other_networks_are_refused() -> None:
    precision = Precision(name="mixed-x", weight_bits=8, activation_bits=8, weights={"h_s.9": 4})
    with pytest.raises(UserError, match=r"no layer 'h_s\.9'; there are h_s\.0, z_q"):
        precision.check_names({"h_s.0", "z_q"})
