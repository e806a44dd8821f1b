"""Both ends of a codec in one process: what is encoded is decoded, and what is not ours is refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import endpoints, latent_coding, mutants, reference, specimens
from harness.bitstream import Bitstream, pack, symbol_hash, unpack
from harness.build import Build, build
from harness.calibrate import forward, observe
from harness.calibration import Calibration
from harness.case import rng
from harness.cdf import CdfTables
from harness.codecs.base import Codec
from harness.errors import StreamError
from harness.images import to_pixels
from harness.library import Library
from harness.lowerings.base import Artifact
from harness.network import Abs, Convolution, Network
from harness.trace import Trace
from tests.video import tiny

U8 = NDArray[np.uint8]
WITH_MEANS, WITHOUT = "with means", "without means"
FAMILIES = [WITH_MEANS, WITHOUT]
SIZES = [(1, 1), (1, 65), (64, 64), (70, 33)]
ENDS = ("z_symbols", "scales_hat", "means_hat", "indexes", "y_symbols", "y_hat", "x_hat", "picture")


pytestmark = pytest.mark.usefixtures("one_thread")


def without_means(codec: Codec) -> Codec:
    """The same codec as a scale hyperprior: h_s gives scales only, h_a takes magnitudes."""
    h_s, h_a = codec.networks["h_s"], codec.networks["h_a"]
    last = h_s.layers[-1]
    assert isinstance(last, Convolution)
    half = len(last.bias) // 2
    scales = replace(last, weight=last.weight[:half], bias=last.bias[:half])
    networks = {
        **codec.networks,
        "h_s": replace(h_s, outputs=("scales_hat",), layers=(*h_s.layers[:-1], scales)),
        "h_a": replace(h_a, layers=(Abs(name="h_a.abs"), *h_a.layers)),
    }
    return replace(codec, networks=networks)


@cache
def codec_of(family: str) -> Codec:
    tiny = specimens.tiny_codec()
    return tiny if family == WITH_MEANS else without_means(tiny)


@cache
def ranges_of(family: str) -> Calibration:
    return observe(codec_of(family).networks["h_s"], [specimens.tiny_hyper_latent()])


@cache
def made(family: str, precision: str = "w8a8") -> Build:
    return build(codec_of(family), precision, {"h_s": ranges_of(family)})


def runner(of: Build) -> endpoints.Run:
    """A platform in this process: our reference for integers, torch for floats; it never sees the ONNX file."""

    def run(network: str, artifact: Artifact, feeds: endpoints.Arrays) -> endpoints.Arrays:
        (name,) = feeds
        assert name == artifact.input
        assert artifact is of.artifacts[network]
        if artifact.integer:
            assert of.integer is not None
            values = reference.run(of.integer, feeds[name])
            return {output: values[output] for output in artifact.outputs}
        return floats(of.codec.networks[network], feeds[name])

    return run


def floats(network: Network, x: NDArray[np.generic]) -> endpoints.Arrays:
    last = list(forward(network, x.astype(np.float32)).values())[-1]
    parts = np.split(last, len(network.outputs), axis=1)
    return dict(zip(network.outputs, parts, strict=True))


def changed(run: endpoints.Run, tensor: str, change: Callable[..., object]) -> endpoints.Run:
    """A platform that gives `change` of one output."""

    def other(network: str, artifact: Artifact, feeds: endpoints.Arrays) -> endpoints.Arrays:
        outputs = dict(run(network, artifact, feeds))
        if tensor in outputs:
            outputs[tensor] = np.asarray(change(outputs[tensor]), outputs[tensor].dtype)
        return outputs

    return other


def picture(height: int, width: int) -> U8:
    shape = (height, width, 3)
    return rng(f"endpoints/{shape}").integers(0, 256, shape, dtype=np.uint8)


def sent(family: str = WITH_MEANS, precision: str = "w8a8") -> endpoints.Encoded:
    build_ = made(family, precision)
    return endpoints.encode(build_, picture(70, 33), runner(build_))


def same(ours: Trace, theirs: Trace) -> bool:
    return ours.tensors == theirs.tensors


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "w8a8-qdq", "w8a8", "w4a8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_encoded_is_decoded(family: str, precision: str, size: tuple[int, int]) -> None:
    build_ = made(family, precision)
    encoded = endpoints.encode(build_, picture(*size), runner(build_))
    received = unpack(pack(encoded.bitstream))
    decoded = endpoints.decode(build_, received, runner(build_))
    assert decoded.problem == ""
    names = [t.name for t in decoded.trace.tensors]
    assert names == [n for n in ENDS if family == WITH_MEANS or n != "means_hat"]
    assert same(encoded.trace, decoded.trace)
    shown = decoded.trace.array("picture")
    assert (shown.shape, shown.dtype) == ((*size, 3), np.uint8)
    header = received.header
    assert (header.height, header.width) == size
    assert header.y_shape == decoded.trace["y_symbols"].shape[1:]
    assert header.z_shape == decoded.trace["z_symbols"].shape[1:]
    assert header.profile == ("float32" if precision == "fp32" else precision)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_specimen_is_worth_coding(family: str) -> None:
    """Otherwise the round trips above would show nothing."""
    trace = sent(family).trace
    for name in ("z_symbols", "indexes", "y_symbols", "picture"):
        assert len(np.unique(trace.array(name))) > 5, name
    tables = codec_of(family).y_tables
    symbols, indexes = trace.array("y_symbols"), trace.array("indexes")
    beyond = np.abs(symbols) > -tables.offset[indexes]
    assert beyond.any()  # escapes
    assert not beyond.all()


def test_y_hat_is_symbol_plus_mean_and_the_picture_is_that_of_x_hat() -> None:
    trace = sent().trace
    bits = made(WITH_MEANS).fraction_bits
    assert bits > 0
    expected = trace.array("y_symbols").astype(np.int64) * 2**bits + trace.array("means_hat")
    assert trace["y_hat"].dtype == "int32"
    assert (trace.array("y_hat") == expected).all()
    codec = codec_of(WITH_MEANS)
    x_hat = floats(codec.networks["g_s"], trace.array("y_hat") / np.float64(2**bits))["x_hat"]
    assert (trace.array("x_hat") == x_hat).all()
    assert (trace.array("picture") == to_pixels(x_hat.astype(np.float32))[:70, :33]).all()


def test_float_y_hat_is_one_float_addition() -> None:
    trace = sent(precision="fp32").trace
    symbols, means = trace.array("y_symbols"), trace.array("means_hat")
    assert (trace.array("y_hat") == symbols.astype(np.float32) + means).all()


def test_without_means_y_hat_is_the_symbols() -> None:
    for precision in ("fp32", "w8a8"):
        trace = sent(WITHOUT, precision).trace
        scale = 2 ** made(WITHOUT, precision).fraction_bits
        assert (trace.array("y_hat") == trace.array("y_symbols") * scale).all()


def test_the_integer_rate_is_nearly_the_float_one() -> None:
    whole = sent().bitstream.payload_bytes
    assert abs(whole - sent(precision="fp32").bitstream.payload_bytes) < 0.2 * whole


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_a_flipped_index_is_a_problem_and_still_a_picture(family: str, precision: str) -> None:
    build_ = made(family, precision)
    encoded = sent(family, precision)
    wrong = mutants.one_index_off(runner(build_))
    if precision == "fp32":  # indexes come from scales there
        wrong = changed(runner(build_), "scales_hat", lambda s: np.where(s == s.flat[0], 1e9, s))
    decoded = endpoints.decode(build_, encoded.bitstream, wrong)
    assert decoded.problem == "the y symbols do not match the stream's hash"
    assert [t.name for t in decoded.trace.tensors] == [t.name for t in encoded.trace.tensors]
    assert decoded.trace.array("picture").shape == (70, 33, 3)
    theirs, ours = decoded.trace.array("y_symbols"), encoded.trace.array("y_symbols")
    assert (theirs != ours).mean() > 0.3  # everything after it is lost


def test_a_flipped_index_that_costs_nothing_is_a_problem_too() -> None:
    """With one table for all scales a wrong index decodes the right symbols; it is still no match."""
    codec = codec_of(WITH_MEANS)
    rows = [np.repeat(a[20:21], len(a), axis=0) for a in codec.y_tables.to_arrays("y").values()]
    flat = replace(codec, y_tables=CdfTables(cdf=rows[0], length=rows[1], offset=rows[2]))
    build_ = build(flat, "w8a8", {"h_s": ranges_of(WITH_MEANS)})
    encoded = endpoints.encode(build_, picture(5, 5), runner(build_))
    decoded = endpoints.decode(build_, encoded.bitstream, mutants.one_index_off(runner(build_)))
    assert decoded.problem == "the CDF indexes do not match the stream's hash"
    assert decoded.trace["y_symbols"] == encoded.trace["y_symbols"]


def test_a_wrong_mean_is_no_problem_of_the_stream_but_in_the_trace() -> None:
    build_, encoded = made(WITH_MEANS), sent()
    decoded = endpoints.decode(
        build_, encoded.bitstream, changed(runner(build_), "means_hat", lambda m: m + 1)
    )
    assert decoded.problem == ""
    assert decoded.trace["y_symbols"] == encoded.trace["y_symbols"]
    assert decoded.trace["y_hat"] != encoded.trace["y_hat"]


@pytest.mark.parametrize("change", [lambda i: i + 64, lambda i: i.astype(np.int64) - 64])
def test_an_index_outside_of_the_tables_is_refused(change: Callable[..., object]) -> None:
    build_, encoded = made(WITH_MEANS), sent()
    wrong = changed(runner(build_), "indexes", change)
    with pytest.raises(StreamError, match="the tables have 64 rows"):
        endpoints.decode(build_, encoded.bitstream, wrong)
    with pytest.raises(StreamError, match="the tables have 64 rows"):
        endpoints.encode(build_, picture(8, 8), wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("codec", "another"),
        ("quality", 7),
        ("profile", "w4a4"),
        ("specification", bytes(32)),
        ("tables", bytes(32)),
    ],
)
def test_a_stream_of_something_else_is_refused_by_name(field: str, value: object) -> None:
    stream = sent().bitstream
    other = replace(stream, header=replace(stream.header, **{field: value}))
    with pytest.raises(StreamError, match=f"made with {field} ") as caught:
        endpoints.decode(made(WITH_MEANS), other, runner(made(WITH_MEANS)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["fp32", "w8a8-qdq", "w4a8"])
def test_a_stream_of_another_precision_is_refused(precision: str) -> None:
    with pytest.raises(StreamError, match=r"profile .*specification "):
        endpoints.decode(
            made(WITH_MEANS), sent(precision=precision).bitstream, runner(made(WITH_MEANS))
        )


def test_a_stream_of_the_other_family_is_refused() -> None:
    with pytest.raises(StreamError, match="specification"):
        endpoints.decode(made(WITH_MEANS), sent(WITHOUT).bitstream, runner(made(WITH_MEANS)))


@pytest.mark.parametrize(
    "lie",
    [
        {"height": 700},
        {"width": 65},
        {"height": 60},
        {"y_shape": (12, 8, 8)},
        {"y_shape": (13, 8, 4)},
        {"z_shape": (8, 1, 1)},
        {"z_shape": (9, 2, 1)},
        {"y_shape": (12, 4000, 1000), "z_shape": (8, 1000, 250)},
    ],
    ids=str,
)
def test_a_header_that_lies_about_shapes_is_refused(lie: dict[str, object]) -> None:
    stream = sent().bitstream
    forged = replace(stream, header=replace(stream.header, **lie))
    with pytest.raises(StreamError, match="the stream claims latents"):
        endpoints.decode(made(WITH_MEANS), unpack(pack(forged)), runner(made(WITH_MEANS)))


@pytest.mark.parametrize("cut", [1, 4, 8, 10**9])
@pytest.mark.parametrize("payload", ["payload_z", "payload_y"])
def test_a_cut_payload_is_refused_or_a_problem(payload: str, cut: int) -> None:
    stream = sent().bitstream
    short = replace(stream, **{payload: getattr(stream, payload)[:-cut]})
    outcome = what_becomes_of(short)
    assert "damaged" in outcome or "do not match the stream's hash" in outcome


@pytest.mark.parametrize("payload", ["payload_z", "payload_y"])
@pytest.mark.parametrize(
    "content", [bytes(64), b"\xff" * 64, bytes(range(1, 129))], ids=["zeros", "ones", "ramp"]
)
def test_a_made_up_payload_is_refused_or_a_problem(payload: str, content: bytes) -> None:
    assert what_becomes_of(replace(sent().bitstream, **{payload: content}))


@pytest.mark.parametrize("name", ["z_hash", "index_hash", "y_hash"])
def test_every_hash_is_checked(name: str) -> None:
    outcome = what_becomes_of(replace(sent().bitstream, **{name: bytes(16)}))
    assert {"z_hash": "z symbols", "index_hash": "CDF indexes", "y_hash": "y symbols"}[
        name
    ] in outcome


def what_becomes_of(stream: Bitstream) -> str:
    try:
        return endpoints.decode(made(WITH_MEANS), stream, runner(made(WITH_MEANS))).problem
    except StreamError as error:
        return str(error)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -123456.5, 3.5], ids=str)
def test_latents_of_any_value_make_the_round_trip(
    value: float, precision: str, family: str
) -> None:
    """NaN, infinities and symbols far outside of every table: coded, clamped, escaped, never lost."""
    build_ = made(family, precision)
    run = runner(build_)
    for latent in ("y", "z"):
        spiked = changed(
            run, latent, lambda y: np.where(np.arange(y.size).reshape(y.shape) % 7, y, value)
        )
        with np.errstate(all="ignore"):
            encoded = endpoints.encode(build_, picture(9, 9), spiked)
        decoded = endpoints.decode(build_, encoded.bitstream, run)
        assert decoded.problem == ""
        assert decoded.trace["y_symbols"] == encoded.trace["y_symbols"]
        assert decoded.trace["picture"] == encoded.trace["picture"]
        largest = np.abs(encoded.trace.array("y_symbols")).max()
        assert largest <= latent_coding.SYMBOL_LIMIT


def test_a_large_symbol_comes_back_as_it_was() -> None:
    build_ = made(WITHOUT)
    far = changed(runner(build_), "y", lambda y: np.full_like(y, -123456))
    encoded = endpoints.encode(build_, picture(3, 3), far)
    decoded = endpoints.decode(build_, encoded.bitstream, runner(build_))
    assert set(decoded.trace.array("y_symbols").flat) == {-123456}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scales_that_are_no_numbers_still_choose_a_table(value: float) -> None:
    build_ = made(WITH_MEANS, "fp32")
    odd = changed(runner(build_), "scales_hat", lambda s: np.full_like(s, value))
    encoded = endpoints.encode(build_, picture(3, 3), odd)
    assert set(encoded.trace.array("indexes").flat) == {0 if value == -np.inf else 63}
    assert endpoints.decode(build_, encoded.bitstream, odd).problem == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_reconstruction_of_no_numbers_is_a_picture(value: float) -> None:
    build_ = made(WITH_MEANS)
    odd = changed(runner(build_), "x_hat", lambda x: np.full_like(x, value))
    trace = endpoints.encode(build_, picture(3, 3), odd).trace
    assert set(trace.array("picture").flat) == {255 if value == np.inf else 0}


def test_decoded_symbols_cannot_be_changed_behind_the_cache() -> None:
    """Decodes are shared between platforms: nobody may write into them."""
    build_, stream = made(WITH_MEANS), sent().bitstream
    first = endpoints.decode(build_, stream, runner(build_)).trace
    with pytest.raises(ValueError, match="read-only"):
        first.array("y_symbols")[...] = 0
    assert symbol_hash(first.array("y_symbols")) == stream.y_hash
    assert same(endpoints.decode(build_, stream, runner(build_)).trace, first)


def test_an_integer_picture_is_checked_though_the_stream_lacks_its_hash() -> None:
    made = Library().build("mbt2018-mean/q3", "w8a8", scope="decoder")
    encoded = endpoints.encode(made, specimens.tiny_picture(), tiny.run)
    right = endpoints.decode(made, encoded.bitstream, tiny.run)
    assert right.problem == ""
    stripped = replace(encoded.bitstream, picture_hash=b"")
    assert "picture" in endpoints.decode(made, stripped, tiny.run).problem
