from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firemesh.models.requantise import apply_threshold, requantise


def to_float32(value):
    """Round a Fraction to float32, nearest even, by exact comparison of candidates."""
    if value == 0:
        return np.float32(0)
    guess = np.float32(float(value))
    around = [np.nextafter(guess, np.float32(d)) for d in (-np.inf, np.inf)] + [guess]
    finite = [c for c in around if np.isfinite(c)]
    distance = [(abs(Fraction(float(c)) - value), int(c.view(np.uint32)) & 1, c) for c in finite]
    return min(distance, key=lambda item: item[:2])[2]


def half_even(value):
    return round(value)


def exact(acc, multiplier, zero_point, low, high):
    wide = to_float32(Fraction(acc))
    product = to_float32(Fraction(float(wide)) * Fraction(float(multiplier)))
    bounded = min(max(Fraction(float(product)), Fraction(-1000)), Fraction(1000))
    return min(max(half_even(bounded) + zero_point, low), high)


SUMS = st.integers(-(2**31), 2**31 - 1) | st.integers(-600, 600)
FACTORS = st.floats(2.0**-40, 2.0, width=32) | st.sampled_from([0.5, 0.25, 1.5, 0.125, 2.0**-9])


@given(SUMS, FACTORS, st.sampled_from(["int8", "uint8"]), st.data())
def test_requantise_equals_exact_rational_arithmetic_with_one_rounding_a_step(
    acc, multiplier, dtype, data
):
    info = np.iinfo(dtype)
    zero_point = data.draw(st.integers(info.min, info.max))
    low = data.draw(st.sampled_from([info.min, zero_point]))
    got = requantise(np.array([acc], np.int32), np.float32([multiplier]), zero_point, low, info.max)
    assert got[0] == exact(acc, np.float32(multiplier), zero_point, low, info.max)


def test_ties_round_to_even_before_the_zero_point_is_added():
    acc = np.array([[-5, -3, -1, 1, 3, 5]], np.int32)
    codes = requantise(acc, np.float32([0.5]), 3, -128, 127)
    assert codes.tolist() == [[1, 1, 3, 3, 5, 5]]


def test_the_multiplier_runs_along_the_given_axis():
    acc = np.full((2, 3, 4), 8, np.int32)
    factors = np.float32([1, 2, 3])
    moved = requantise(np.moveaxis(acc, 1, 0), factors, 0, -128, 127)
    assert (requantise(acc, factors, 0, -128, 127, 1) == np.moveaxis(moved, 0, 1)).all()


@given(st.integers(-128, 127), st.integers(0, 300), st.integers(-128, 127))
def test_threshold_silences_exactly_the_codes_within_it(code, threshold, zero_point):
    got = apply_threshold(np.array([code], np.int8), zero_point, threshold)
    assert got.dtype == np.int8
    assert got[0] == (zero_point if code - zero_point <= threshold else code)


def test_a_negative_threshold_is_refused():
    with pytest.raises(ValueError, match="threshold: must be 0 or more, got -1"):
        apply_threshold(np.zeros(1, np.int8), 0, -1)
