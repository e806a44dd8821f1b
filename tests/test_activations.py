"""Where activations lie: nothing that calibration saw is cut off, and no bit is wasted."""

import numpy as np
import pytest

from harness.activations import hidden, latent_entry, symbols_entry
from harness.calibration import ChannelRange
from harness.case import rng
from harness.reference import requantize
from harness.specification import MEDIAN_FRACTION_BITS


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
def test_every_symbol_that_was_seen_fits_and_half_the_steps_would_not(bits: int) -> None:
    """Integers are centred on 0, wherever the medians are."""
    generator = rng(f"activations/{bits}")
    medians = generator.integers(-900, 901, 64).astype(np.int32)
    symbols = generator.integers(-40, 41, (1, 64, 5, 5))
    z = symbols + medians[None, :, None, None] / 2.0**MEDIAN_FRACTION_BITS
    low, high = z.min(axis=(0, 2, 3)), z.max(axis=(0, 2, 3))
    entry, activation = symbols_entry(ChannelRange(low=low, high=high), medians, bits)
    got = requantize(symbols << MEDIAN_FRACTION_BITS, entry)
    step = activation.scale[None, :, None, None]
    assert np.abs(got * step - z).max() <= activation.scale.max() / 2
    assert (np.abs(got * step - z) <= step / 2).all()
    reach = np.maximum(np.abs(low), np.abs(high)) / activation.scale
    could_be_finer = activation.scale > 2.0 ** -(MEDIAN_FRACTION_BITS - 1)
    assert (2 * reach[could_be_finer] > 2 ** (bits - 1) - 1).all()


def test_wide_inputs_keep_no_more_bits_than_four_times_what_was_seen() -> None:
    y = ChannelRange(low=np.array([-20.0, -3.0]), high=np.array([11.0, 5.0]))
    entry, activation = latent_entry(y, 16, 4)
    assert activation.scale.tolist() == [2.0**-4] * 2
    # 20 * 16 = 320 was seen: 4 * 320 needs 11 bits beside the sign.
    assert (int(entry.low[0]), int(entry.high[0])) == (-2048, 2047)


@pytest.mark.parametrize("zero", [1, 2, 3, 77, 127])
def test_any_zero_of_eight_bits_can_be_had(zero: int) -> None:
    """The grid of another tool, [-zero, 255 - zero] steps of 0.25, is met exactly."""
    r = ChannelRange(low=np.array([-zero * 0.25]), high=np.array([(255 - zero) * 0.25]))
    got = hidden(r, 8, 0.01)
    assert (got.low, got.high, got.scale.tolist()) == (-zero, 255 - zero, [0.25])
