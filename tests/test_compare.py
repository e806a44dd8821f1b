"""The one comparator: name, dtype, shape, bytes; no tolerance, nothing passes by not being there."""

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.compare import SCOPES, Comparison, compare
from harness.trace import DTYPES, TensorRecord, Trace

GATED = ("a", "b")


def trace(**arrays: NDArray[np.generic]) -> Trace:
    return Trace(
        tensors=tuple(TensorRecord.of(name, np.asarray(array)) for name, array in arrays.items()),
        environment={},
    )


def only(want: object, got: object) -> Comparison:
    return compare(trace(a=np.asarray(want)), trace(a=np.asarray(got)), ("a",))


def test_equal_traces_are_identical_and_counted() -> None:
    made = trace(a=np.arange(6).reshape(2, 3), b=np.float32(1))
    found = compare(made, made, GATED)
    assert found.first is found.first_gated is None
    assert found.compared_values == 7
    assert {n: (t.values, t.bytes, t.mismatched, t.gated) for n, t in found.tensors.items()} == {
        "a": (6, 48, 0, True), "b": (1, 4, 0, True),
    }  # fmt: skip


def test_environments_are_not_compared() -> None:
    made = trace(a=np.arange(3))
    assert (
        compare(made, Trace(tensors=made.tensors, environment={"runtime": "other"}), ("a",)).first
        is None
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_flipped_bit_of_any_dtype_is_found(dtype: str) -> None:
    want = np.zeros((2, 3, 4), dtype)
    got = want.copy()
    raw = got.reshape(-1).view(np.uint8)
    raw[17 * got.itemsize] ^= 1
    found = only(want, got).first_gated
    assert found is not None
    assert (found.kind, found.index, found.mismatched, found.values) == ("value", (1, 1, 1), 1, 24)


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (np.float32(0.0), np.float32(-0.0)),
        (np.float32("nan"), -np.float32("nan")),
        (np.float64(1), np.nextafter(np.float64(1), np.float64(2))),
        (np.bool_(False), np.bool_(True)),
    ],
    ids=["signed zero", "signs of NaN", "one ULP", "bool"],
)
def test_what_compares_equal_or_close_still_differs(want: object, got: object) -> None:
    assert only(want, got).first_gated is not None


def test_differing_bits_are_counted_where_values_can_be_paired() -> None:
    found = only(np.int32([0, 5, -1]), np.int32([0, 6, 0]))
    assert (found.tensors["a"].mismatched, found.tensors["a"].differing_bits) == (2, 2 + 32)
    assert only(np.float32(0.0), np.float32(-0.0)).tensors["a"].differing_bits == 1
    assert only(np.int32([1]), np.int32([1])).tensors["a"].differing_bits == 0
    assert only(np.int32([1]), np.int64([1])).tensors["a"].differing_bits == 0


def test_a_nan_equals_itself() -> None:
    assert only(np.array([np.nan, np.inf]), np.array([np.nan, np.inf])).first is None


@pytest.mark.parametrize(
    ("want", "got", "kind"),
    [
        (np.zeros(4, np.int8), np.zeros(4, np.int32), "dtype"),
        (np.zeros(4, np.int32), np.zeros(4, np.uint32), "dtype"),
        (np.zeros(4, np.int32), np.zeros(4, np.float32), "dtype"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "shape"),
        (np.zeros(1), np.zeros(()), "shape"),
        (np.zeros((0, 3)), np.zeros((3, 0)), "shape"),
        (np.zeros(0, np.int8), np.zeros(0, np.int16), "dtype"),
    ],
)
def test_equal_bytes_of_another_dtype_or_shape_differ(
    want: NDArray[np.generic], got: NDArray[np.generic], kind: str
) -> None:
    found = only(want, got).first_gated
    assert found is not None
    assert found.kind == kind
    assert found.mismatched == want.size


@pytest.mark.parametrize("gated", [True, False])
def test_a_tensor_on_one_side_only_differs(gated: bool) -> None:
    both, one = trace(a=np.zeros(2), b=np.zeros(3)), trace(a=np.zeros(2))
    scope = GATED if gated else ("a",)
    for left, right, kind in ((both, one, "missing"), (one, both, "unexpected")):
        found = compare(left, right, scope)
        assert found.first is not None
        assert (found.first.tensor, found.first.kind, found.first.gated) == ("b", kind, gated)
        assert (found.first_gated is not None) is gated
        assert found.tensors["b"].mismatched == 3


def test_a_gated_tensor_that_neither_has_differs() -> None:
    made = trace(a=np.zeros(2))
    found = compare(made, made, GATED).first_gated
    assert found is not None
    assert (found.tensor, found.kind) == ("b", "missing")


def test_the_first_divergence_is_in_graph_order_and_counts_what_agrees_before() -> None:
    want = trace(z=np.zeros(2), x=np.zeros(2), b=np.zeros(2), a=np.zeros(2))
    got = trace(a=np.ones(2), b=np.array([0.0, 1.0]), x=np.ones(2), z=np.zeros(2))
    found = compare(want, got, GATED)
    assert found.first is not None
    assert found.first_gated is not None
    assert (found.first.tensor, found.first.identical_before) == ("x", 1)
    assert (found.first_gated.tensor, found.first_gated.identical_before) == ("b", 1)


def test_a_message_is_the_start_of_debugging() -> None:
    want, got = np.zeros((1, 2, 3), np.int32), np.zeros((1, 2, 3), np.int32)
    got[0, 1, 0], got[0, 1, 2] = 7, -1
    assert (
        str(only(want, got).first)
        == "a[0, 1, 0]: expected 0, got 7 (2 of 6 differ; 0 earlier tensors identical)"
    )
    assert str(only(want, want.astype(np.int64)).first) == "a: expected int32, got int64"


def test_scopes_gate_what_they_claim() -> None:
    hyperprior = {"z_symbols", "means_hat", "indexes", "y_symbols", "y_hat"}
    assert {name: set(tensors) for name, tensors in SCOPES.items()} == {
        "hyperprior": hyperprior, "decoder": hyperprior | {"picture"},
    }  # fmt: skip
