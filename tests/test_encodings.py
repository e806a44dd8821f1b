"""AIMET encodings: what is written is read, into the same integers; what is malformed or of something else is one line."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.activations import hidden
from harness.calibration import Calibration, ChannelRange
from harness.calibrators.base import Problem
from harness.encodings import (
    VERSIONS,
    Encoding,
    Encodings,
    calibration_of,
    encodings_of,
    precision_of,
    read_encodings,
)
from harness.encodings import file as files
from harness.errors import UserError
from harness.network import Network
from harness.precision import Precision
from harness.roles import Kind, levels, roles
from harness.specimens import N
from tests.calibrators.posed import (
    H_S,
    MIXED,
    PER_TENSOR,
    calibrated,
    pose_g_s,
    pose_h_s,
    with_relus,
)

MEDIANS = np.arange(-300, -300 + 75 * N, 75, dtype=np.int32)
# Without means: a scale hyperprior.
SCALES_ONLY = replace(H_S, outputs=("scales_hat",))
POSED: dict[str, Callable[[str], Problem]] = {
    "h_s": lambda precision: pose_h_s(precision, MIXED),
    "h_s, one scale for weights": lambda precision: pose_h_s(precision, PER_TENSOR),
    "h_s with ReLUs": lambda precision: pose_h_s(precision, MIXED, network=with_relus(H_S)),
    "h_s with medians": lambda precision: pose_h_s(precision, MIXED, medians=MEDIANS),
    "h_s of scales": lambda precision: pose_h_s(precision, MIXED, network=SCALES_ONLY),
    "g_s": lambda precision: pose_g_s(precision, MIXED),
}
PRECISIONS = ["w2a2", "w4a4-o4", "w8a8", "w12a12", "w16a16", "w5a11"]
SOURCE = "encodings x.json"


def reread(encodings: Encodings) -> Encodings:
    return Encodings.parse(encodings.to_bytes().decode(), SOURCE)


@pytest.mark.parametrize("rule", ["min-max", "tf-enhanced", "percentile"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("posed", POSED)
def test_a_calibration_comes_back_as_the_same_integers(
    posed: str, precision: str, rule: str
) -> None:
    problem = POSED[posed](precision)
    found = calibrated(rule, problem)
    wanted = problem.quantize(found, None).digest
    for version in VERSIONS:
        written = encodings_of(found, problem.network, problem.precision, version)
        read = reread(written)
        assert read == written
        back = calibration_of(read, problem.network, problem.precision)
        assert problem.quantize(back, None).digest == wanted
        assert back.calibrator == found.calibrator
        again = encodings_of(back, problem.network, problem.precision, version)
        assert again.to_bytes() == written.to_bytes()


def example(
    version: str = "1.0.0", precision: str = "w4a8", posed: str = "h_s"
) -> dict[str, object]:
    """A valid file, as JSON."""
    problem = POSED[posed](precision)
    found = calibrated("tf-enhanced", problem)
    text = encodings_of(found, problem.network, problem.precision, version).to_bytes()
    return dict(json.loads(text))


EXAMPLES = {version: example(version) for version in VERSIONS}


def parsed(raw: object) -> Encodings:
    return Encodings.parse(json.dumps(raw), SOURCE)


def of_aimet(version: str) -> dict[str, object]:
    """As aimet-onnx 2.42 writes them: offsets are floats, scales float32 values, and there is a producer."""
    if version == "0.6.1":
        entry = {"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "max": 8.999999653547993, "min": 0.0,
                 "offset": 0.0, "scale": 0.0352941162884235}  # fmt: skip
        weights = {**entry, "is_symmetric": "True", "scale": 0.0009699276997707784, "offset": -128.0,
                   "min": -0.12415074557065964, "max": 0.12318081787088886}  # fmt: skip
        sections: tuple[object, object] = ({"h_s.1": [entry]}, {"h_s.0.weight": [weights, weights]})
    else:
        plain = {"bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": False, "name": "h_s.1",
                 "offset": [-3.0], "scale": [0.03734588250517845]}  # fmt: skip
        weights = {**plain, "enc_type": "PER_CHANNEL", "is_sym": True, "name": "h_s.0.weight",
                   "offset": [-128.0, -128.0], "scale": [0.0026339988689869642, 0.002822405658662319]}  # fmt: skip
        sections = ([plain], [weights])
    return {
        "activation_encodings": sections[0],
        "param_encodings": sections[1],
        "producer": {"package": "aimet-onnx", "version": "2.42.0"},
        "quantizer_args": {"activation_bitwidth": 8, "quant_scheme": "post_training_tf_enhanced"},
        "version": version,
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_comes_back_with_the_same_values(version: str) -> None:
    for raw in (of_aimet(version), EXAMPLES[version]):
        assert json.loads(parsed(raw).to_bytes()) == raw


@pytest.mark.parametrize("posed", POSED)
def test_one_version_becomes_the_other_without_loss(posed: str) -> None:
    old, new = (parsed(example(version, posed=posed)) for version in VERSIONS)
    assert reread(replace(old, version="1.0.0")) == new
    assert reread(replace(new, version="0.6.1")) == old


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_hidden_grid_of_a_file_is_ours(bits: int) -> None:
    """At every offset that `hidden` offers (7 and 8 bits: some)."""
    rng = np.random.default_rng(bits)
    problem = pose_h_s(f"w8a{bits}", MIXED)
    base = parsed(example(precision=f"w8a{bits}"))
    spacing = max(2 ** (bits - 1) // 64 * 2, 1)
    for offset in range(0, -(2 ** (bits - 1)) - 1, -spacing):
        scale = float(np.float32(rng.lognormal()))
        grid = replace(base.activations["h_s.1"], scales=(scale,), offsets=(offset,))
        found = calibration_of(
            replace(base, activations={**base.activations, "h_s.1": grid}), H_S, problem.precision
        )
        got = hidden(found["h_s.1"], bits, 0.01)
        assert (got.low, got.scale.tolist()) == (offset, [scale] * N)


def test_the_input_and_the_outputs_land_where_the_file_says_or_just_above() -> None:
    problem = pose_h_s("w8a8-o8", MIXED)
    base = parsed(example(precision="w8a8-o8"))
    grid = Encoding(bits=8, symmetric=True, scales=(0.125,), offsets=(-128,), per_channel=False)
    sigma = Encoding(bits=8, symmetric=False, scales=(0.25,), offsets=(0,), per_channel=False)
    given = {**base.activations, "z_hat": grid, "scales_hat": sigma, "means_hat": grid}
    net = problem.quantize(
        calibration_of(replace(base, activations=given), H_S, problem.precision), None
    )
    assert set(net.entry.shift.tolist()) == {8 - 3}
    assert (net.sigma_fraction_bits, net.mean_fraction_bits) == (2, 3)


def test_one_encoding_of_the_last_layer_serves_both_outputs() -> None:
    problem = pose_h_s("w8a8-o8", MIXED)
    base = parsed(example(precision="w8a8-o8"))
    both = Encoding(bits=8, symmetric=False, scales=(0.125,), offsets=(-100,), per_channel=False)
    given = {n: e for n, e in base.activations.items() if n not in H_S.outputs} | {"h_s.4": both}
    net = problem.quantize(
        calibration_of(replace(base, activations=given), H_S, problem.precision), None
    )
    # Sigma to 155 / 8 in 8 bits, means to 155 / 8 in 7 and a sign.
    assert (net.sigma_fraction_bits, net.mean_fraction_bits) == (3, 2)


def test_scales_of_weights_are_the_steps() -> None:
    """With a hidden step and an input that land exactly, integers are the float weights by the scale, rounded."""
    problem = pose_h_s("w8a8", MIXED)
    found = calibration_of(parsed(example(precision="w8a8")), H_S, problem.precision)
    net = problem.quantize(found, None)
    for convolution, layer in zip(H_S.convolutions, net.convolutions, strict=True):
        scales = np.array(
            parsed(example(precision="w8a8")).parameters[f"{convolution.name}.weight"].scales
        )
        ideal = np.clip(convolution.weight / scales[:, None, None, None], -127, 127)
        # The multiplier makes steps a little coarser: 1/128, or more where accumulators leave it fewer bits.
        ratio = (ideal * layer.weight).sum() / np.square(layer.weight, dtype=float).sum()
        assert ratio * 1.001 >= 1
        assert ratio < 1.05


def test_strict_symmetric_offsets_are_read_as_what_they_are() -> None:
    """Ours stop a step above AIMET's lowest integer, as its strict ones do: the same calibration comes of both."""
    raw = copy.deepcopy(EXAMPLES["1.0.0"])
    for entry in raw["param_encodings"]:  # type: ignore[attr-defined]
        entry["offset"] = [offset + 1 for offset in entry["offset"]]
    problem = pose_h_s("w4a8", MIXED)
    digests = {
        problem.quantize(calibration_of(parsed(each), H_S, problem.precision), None).digest
        for each in (raw, EXAMPLES["1.0.0"])
    }
    assert len(digests) == 1


def test_what_a_file_has_beyond_our_needs_is_not_used() -> None:
    """Biases, ranges before a rectifier, what is inside a GDN: AIMET writes them."""
    problem = pose_g_s("w8a8", MIXED)
    base = encodings_of(calibrated("min-max", problem), problem.network, problem.precision)
    extra = Encoding(bits=8, symmetric=True, scales=(0.5,), offsets=(-128,), per_channel=False)
    bias = replace(extra, bits=32, offsets=(-(2**31),))
    more = replace(
        base,
        activations={
            **base.activations,
            "g_s.1.square": extra,
            "g_s.3.root": extra,
            "x_hat": extra,
        },
        parameters={
            **base.parameters,
            "g_s.0.bias": bias,
            "g_s.1.gamma": extra,
            "g_s.1.beta": bias,
        },
    )
    digests = {
        problem.quantize(calibration_of(each, problem.network, problem.precision), None).digest
        for each in (base, reread(more))
    }
    assert len(digests) == 1


def test_what_a_gdn_reads_has_16_bits_whatever_the_file_says() -> None:
    problem = pose_g_s("w8a8", MIXED)
    base = encodings_of(calibrated("min-max", problem), problem.network, problem.precision)
    coarse = Encoding(bits=8, symmetric=False, scales=(0.1,), offsets=(-136,), per_channel=False)
    found = calibration_of(
        replace(base, activations={**base.activations, "g_s.0": coarse}),
        problem.network,
        problem.precision,
    )
    assert found["g_s.0"].low[0] == pytest.approx(-13.6)
    assert found["g_s.0"].high[0] == pytest.approx(11.9)
    problem.quantize(found, None)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("posed", POSED)
def test_the_bits_of_a_file_are_a_precision(posed: str, precision: str) -> None:
    problem = POSED[posed](precision)
    written = encodings_of(calibrated("min-max", problem), problem.network, problem.precision)
    got = precision_of(written, problem.network)
    if posed == "g_s":
        assert got == Precision.parse(precision.split("-", maxsplit=1)[0])
    else:
        assert got == problem.precision


def test_mixed_bits_are_a_table_of_exceptions(tmp_path: Path) -> None:
    mixed = Precision(
        name="mixed-some", weight_bits=8, activation_bits=6, weights={"h_s.2": 4}, activations={"h_s.0": 3},
    )  # fmt: skip
    problem = replace(pose_h_s("w8a8", MIXED), precision=mixed)
    written = encodings_of(calibrated("min-max", problem), H_S, mixed)
    path = tmp_path / "some.json"
    path.write_bytes(written.to_bytes())
    assert precision_of(Encodings.read(path), H_S) == mixed
    assert read_encodings(path, H_S).precision == "mixed-some"
    assert read_encodings(path, H_S, mixed).precision == "mixed-some"


@pytest.mark.parametrize("rule", ["min-max", "mse"])
def test_ranges_per_channel_are_more_than_a_file_can_say(rule: str) -> None:
    problem = pose_h_s("w4a4")
    with pytest.raises(
        UserError, match=r"z_hat has a range for each channel, .*--activations-per tensor"
    ):
        encodings_of(calibrated(rule, problem), H_S, problem.precision)


def test_integer_weights_and_biases_are_more_than_a_file_can_say() -> None:
    found = calibrated("min-max", pose_h_s("w8a8", MIXED))
    biased = replace(found, precision="w8a8", biases={"h_s.0": np.ones(N)})
    with pytest.raises(UserError, match="integer weights and biases of its own"):
        encodings_of(biased, H_S, Precision.parse("w8a8"))


def test_a_calibration_of_another_precision_or_network_is_refused() -> None:
    found = calibrated("mse", pose_h_s("w4a4", MIXED))
    with pytest.raises(UserError, match="this calibration is of w4a4, not w8a8"):
        encodings_of(found, H_S, Precision.parse("w8a8"))
    with pytest.raises(UserError, match="the ranges are of another network"):
        encodings_of(replace(found, tensors={}), H_S, Precision.parse("w4a4"))


def entry_of(raw: dict[str, object], section: str, name: str) -> dict[str, object]:
    """The (first) entry of a tensor, of either version."""
    found = raw[section]
    if isinstance(found, dict):
        return dict.__getitem__(found, name)[0]  # type: ignore[no-any-return]
    assert isinstance(found, list)
    return next(each for each in found if each["name"] == name)


Change = Callable[[dict[str, object]], object]


def setting(section: str, name: str, **fields: object) -> Change:
    return lambda raw: entry_of(raw, section, name).update(fields)


A, P = "activation_encodings", "param_encodings"
BAD: list[tuple[str, Change, str]] = [
    ("1.0.0", lambda r: r.update(version="0.7.0"), r"version '0\.7\.0'; 0\.6\.1 and 1\.0\.0 are read"),
    ("1.0.0", lambda r: r.update(version=["1.0.0"]), "version "),
    ("1.0.0", lambda r: r.pop("version"), "version None"),
    ("1.0.0", lambda r: r.pop(P), "no param_encodings"),
    ("1.0.0", lambda r: r.update({A: {}}), "activation_encodings is no list, as version 1.0.0 has it"),
    ("0.6.1", lambda r: r.update({A: []}), "activation_encodings is no object, as version 0.6.1 has it"),
    ("0.6.1", lambda r: r[A].update({"h_s.1": []}), "'h_s.1': not a list of encodings"),  # type: ignore[attr-defined]
    ("0.6.1", lambda r: r[A].update({"h_s.1": [1]}), "'h_s.1': no encoding"),  # type: ignore[attr-defined]
    ("0.6.1", lambda r: r[A].pop("h_s.1"), "no encoding of activation 'h_s.1'"),  # type: ignore[attr-defined]
    ("0.6.1", lambda r: r[P].pop("h_s.2.weight"), r"no encoding of parameter 'h_s\.2\.weight'"),  # type: ignore[attr-defined]
    ("0.6.1", lambda r: r[A].update({"g_s.1": r[A]["h_s.1"]}), "activation 'g_s.1' is none of h_s: the encodings are of another"),  # type: ignore[index,attr-defined]
    ("0.6.1", lambda r: r[P].update({"h_s.9.weight": r[P]["h_s.2.weight"]}), "parameter 'h_s.9.weight' is none of h_s"),  # type: ignore[index,attr-defined]
    ("0.6.1", lambda r: r[P]["h_s.2.weight"].pop(), r"'h_s\.2\.weight' has 7 scales, not 1 or 8"),  # type: ignore[index]
    ("0.6.1", lambda r: r[P]["h_s.2.weight"][1].update(bitwidth=5), "channels differ in bitwidth"),  # type: ignore[index]
    ("0.6.1", lambda r: r[A]["h_s.1"].append(r[A]["h_s.3"][0]), "'h_s.1' has a scale for each channel"),  # type: ignore[index]
    ("1.0.0", lambda r: r[A].append(dict(r[A][0])), "'z_hat' is there twice"),  # type: ignore[index,attr-defined]
    ("1.0.0", lambda r: r[A].append(7), "an entry of activation_encodings has no name"),  # type: ignore[attr-defined]
    ("1.0.0", lambda r: r[A][0].pop("name"), "an entry of activation_encodings has no name"),  # type: ignore[index]
    *((v, setting(A, "h_s.1", dtype=d), "dtype .*; only") for v in VERSIONS for d in ("float", "FLOAT", None, [])),
    *((v, setting(A, "h_s.1", scale=x if v == "0.6.1" else [x]), "'h_s.1': scale")
      for v in VERSIONS for x in (0, -1.0, 1e300, 1e-300, "1", None, True, [])),
    *((v, setting(A, "h_s.1", offset=x if v == "0.6.1" else [x]), "'h_s.1': offset")
      for v in VERSIONS for x in (0.5, 1, -256, "0", None, 1e30)),
    ("0.6.1", setting(P, "h_s.0.weight", is_symmetric="False", offset=-3), "differ in bitwidth or is_symmetric"),
    ("1.0.0", setting(P, "h_s.0.weight", is_sym=False), r"'h_s\.0\.weight' is asymmetric"),
    ("1.0.0", setting(P, "h_s.0.weight", offset=[0] * 8), "offset 0, which no symmetric grid of 4 bits has"),
    ("0.6.1", setting(A, "z_hat", offset=-100), "offset -100, which no symmetric grid of 8 bits has"),
    ("0.6.1", setting(A, "h_s.1", is_symmetric=True), "is_symmetric True is neither"),
    ("0.6.1", setting(A, "h_s.1", is_symmetric=[]), "is_symmetric .* is neither"),
    ("1.0.0", setting(A, "h_s.1", is_sym="False"), "is_sym 'False' is neither true nor false"),
    ("0.6.1", setting(A, "h_s.1", max=1000.0), "'h_s.1': max 1000.0, but scale and offset make it"),
    ("0.6.1", setting(A, "h_s.1", min=None), "'h_s.1': min None is no number"),
    ("1.0.0", setting(A, "h_s.1", enc_type="PER_BLOCK"), "enc_type 'PER_BLOCK'; PER_TENSOR and PER_CHANNEL are read"),
    ("1.0.0", setting(A, "h_s.1", enc_type={}), "enc_type "),
    ("1.0.0", setting(A, "h_s.1", scale=[0.5, 0.5]), "2 scales and 1 offsets"),
    ("1.0.0", setting(A, "h_s.1", scale=[0.5, 0.5], offset=[0, 0]), "2 scales for a whole tensor"),
    ("1.0.0", setting(A, "h_s.1", scale=[], offset=[]), "0 scales and 0 offsets"),
    ("1.0.0", setting(A, "h_s.1", scale=0.5), "scale and offset are no lists"),
    ("1.0.0", setting(A, "h_s.1", zero_point_shift=[0.5]), "unknown field 'zero_point_shift'"),
    ("1.0.0", lambda r: entry_of(r, A, "h_s.1").pop("bw"), "'h_s.1': no bw"),
    ("1.0.0", setting(A, "h_s.1", bw=4, offset=[0]), "'h_s.1' has 4 bits, not the 8 of w4a8; the file is of precision mixed-x"),
    ("1.0.0", setting(P, "h_s.0.weight", bw=8, offset=[-128] * 8), r"'h_s\.0\.weight' has 8 bits, not the 4 of w4a8"),
    ("1.0.0", setting(A, "h_s.1", bw=0), "0 bits; 1 to 32 are possible"),
    ("1.0.0", setting(A, "h_s.1", bw=10**400), "bw is not finite"),
    ("1.0.0", setting(A, "scales_hat", bw=8), "outputs of h_s differ in bits"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "change", "message"), BAD)
def test_what_is_wrong_with_a_file_is_one_line(version: str, change: Change, message: str) -> None:
    raw = copy.deepcopy(EXAMPLES[version])
    change(raw)
    with pytest.raises(UserError, match=message) as caught:
        calibration_of(parsed(raw), H_S, Precision.parse("w4a8"))
    assert str(caught.value).startswith(SOURCE)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("bits", [1, 17, 32])
def test_bits_that_no_specification_has_are_one_line(bits: int) -> None:
    raw = copy.deepcopy(EXAMPLES["1.0.0"])
    for entry in raw[A]:  # type: ignore[attr-defined]
        entry.update(bw=bits, offset=[-(2 ** (bits - 1)) if entry["is_sym"] else 0])
    with pytest.raises(UserError, match=f"'z_hat' has {bits} bits; 2 to 16 are possible"):
        precision_of(parsed(raw), H_S)
    with pytest.raises(UserError, match="bits"):
        calibration_of(parsed(raw), H_S, Precision.parse("w4a8"))


def test_a_relu_has_no_offset() -> None:
    network = with_relus(H_S)
    with pytest.raises(
        UserError, match=r"'h_s\.1' comes out of a ReLU, so its offset is 0, not -\d"
    ):
        calibration_of(parsed(EXAMPLES["1.0.0"]), network, Precision.parse("w4a8"))


def test_encodings_of_another_network_are_one_line() -> None:
    problem = pose_g_s("w4a8")
    with pytest.raises(
        UserError, match=r"'h_s\.1' is none of g_s: the encodings are of another network"
    ):
        calibration_of(parsed(EXAMPLES["0.6.1"]), problem.network, problem.precision)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not an object with version"),
        (b"null", "not an object with version"),
        (b'{"version": "1.0.0", "version": "1.0.0"}', "'version' is there twice"),
        (b'{"version": NaN}', "NaN is no number"),
        (b'{"version": -Infinity}', "-Infinity is no number"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 5000, "not JSON"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_json_is_one_line(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read_encodings(path, H_S)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"cannot read encodings .*none\.json: No such file"):
        read_encodings(tmp_path / "none.json", H_S)
    with pytest.raises(UserError, match=r"cannot read encodings .*: Is a directory"):
        read_encodings(tmp_path, H_S)
    monkeypatch.setattr(files, "MAX_BYTES", 3)
    (tmp_path / "e.json").write_text("    ")
    with pytest.raises(UserError, match="larger than 3 bytes"):
        read_encodings(tmp_path / "e.json", H_S)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["0.6.1", "1.0.0", "h_s.1", "INT", "int", "True", "PER_TENSOR"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["version", A, P, "name", "bw", "bitwidth", "dtype", "scale", "offset", "is_sym", "h_s.1"]),
        inner, max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


def outcome(text: str) -> Calibration | str:
    """A calibration that quantizes, or one line."""
    problem = pose_h_s("w4a8", MIXED)
    message = ""
    try:
        found = calibration_of(Encodings.parse(text, SOURCE), H_S, problem.precision)
        problem.quantize(found, None)
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    return message or found


@given(raw=ANYTHING)
@settings(max_examples=200, deadline=None)
def test_no_json_is_a_traceback(raw: object) -> None:
    assert isinstance(outcome(json.dumps(raw)), str)


def places(raw: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The way to every value within."""
    found = [at]
    if isinstance(raw, dict):
        found += [p for key, value in raw.items() for p in places(value, (*at, key))]
    if isinstance(raw, list):
        found += [p for key, value in enumerate(raw) for p in places(value, (*at, key))]
    return found


@given(data=st.data(), version=st.sampled_from(VERSIONS))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_change_to_a_file_is_a_traceback(data: st.DataObject, version: str) -> None:
    """A value becomes another one, or goes: then the file still means a calibration, or it is one line."""
    raw = copy.deepcopy(EXAMPLES[version])
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(places(raw)[1:]))
        inner: object = raw
        for key in place[:-1]:
            inner = inner[key]  # type: ignore[index]
        assert isinstance(inner, dict | list)
        if data.draw(st.booleans()):
            inner[place[-1]] = data.draw(ANYTHING)  # type: ignore[index]
        else:
            del inner[place[-1]]  # type: ignore[arg-type]
    outcome(json.dumps(raw))


@given(exponents=st.lists(st.floats(-70, 12), min_size=3, max_size=3), offset=st.integers(-255, 0))
@settings(max_examples=100, deadline=None)
def test_no_scale_is_a_traceback(exponents: list[float], offset: int) -> None:
    """However wild the scales: a calibration that quantizes, or one line."""
    raw = copy.deepcopy(EXAMPLES["1.0.0"])
    scales = [2.0**e for e in exponents]
    entry_of(raw, A, "h_s.1").update(scale=[scales[0]], offset=[offset])
    entry_of(raw, A, "z_hat").update(scale=[scales[1]])
    entry_of(raw, P, "h_s.2.weight").update(scale=[scales[2]] * N)
    outcome(json.dumps(raw))


def test_a_file_has_ranges_for_the_quantized_controls_too() -> None:
    """They want every tensor; before a rectifier it is what its output suggests, if the file does not say."""
    problem = pose_h_s("w8a8", MIXED)
    found = calibrated("min-max", problem)
    written = encodings_of(found, H_S, problem.precision)
    back = calibration_of(written, H_S, problem.precision)
    assert set(back.tensors) == set(found.tensors)
    assert back["h_s.0"].high == pytest.approx(found["h_s.0"].high)
    assert back["h_s.0"].low == pytest.approx(-found["h_s.0"].high)
    said = Encoding(bits=8, symmetric=False, scales=(0.1,), offsets=(-90,), per_channel=False)
    more = replace(written, activations={**written.activations, "h_s.0": said})
    back = calibration_of(more, H_S, problem.precision)
    assert (back["h_s.0"].low[0], back["h_s.0"].high[0]) == pytest.approx((-9.0, 16.5))


def test_roles_cover_every_output_once() -> None:
    for network in (H_S, SCALES_ONLY, pose_g_s().network):
        held = roles(network, Precision.parse("w4a8"))
        assert [r.name for r in held if r.kind in {Kind.OUTPUT, Kind.PIXELS}] == list(
            network.outputs
        )
        assert held[0].name == network.input
        assert [r.bits for r in held if r.kind is Kind.INNER] == [16] * (
            3 if network.name == "g_s" else 0
        )
    assert [levels(bits) for bits in (2, 4, 8, 16)] == [1, 7, 127, 32767]


def test_a_dead_tensor_can_be_written() -> None:
    problem = pose_h_s("w8a8", MIXED)
    found = calibrated("min-max", problem)
    dead = {n: ChannelRange(low=0 * r.low, high=0 * r.high) for n, r in found.tensors.items()}
    network = Network(
        name="h_s", input="z_hat", outputs=H_S.outputs,
        layers=tuple(
            replace(each, weight=0 * each.weight) if hasattr(each, "weight") else each for each in H_S.layers
        ),
    )  # fmt: skip
    posed = pose_h_s("w8a8", MIXED, network=network)
    calibration = replace(found, tensors=dead)
    back = calibration_of(
        encodings_of(calibration, network, posed.precision), network, posed.precision
    )
    assert posed.quantize(back, None).digest == posed.quantize(calibration, None).digest
