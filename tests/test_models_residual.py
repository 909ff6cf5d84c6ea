"""Calibration of additions against counting codes, and of layers whose values are often equal."""

import numpy as np
import pytest

from firemesh.models.calibration import PEAK_CODE, centred, density, thresholds
from firemesh.models.layers import ModelError
from firemesh.models.network import Tensor
from firemesh.models.operators import add
from firemesh.models.requantise import requantise
from firemesh.models.residual import MIDDLE, _least_sums, calibrate_residual

SHAPE = (8, 12, 12)


def case(seed, zero_point):
    """Return input, sums, shortcut and its codes; channels have means of their own."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 4000, (SHAPE[0], 1, 1))
    sums = (rng.normal(0, 5000, SHAPE) + means).astype(np.int32)
    codes = np.abs(rng.normal(0, 40, SHAPE)) * (rng.random(SHAPE) < 0.3)
    if zero_point:
        codes = rng.normal(zero_point, 40, SHAPE)
    x = Tensor("x", (4, 12, 12), "uint8", float(rng.uniform(0.001, 0.1)))
    shortcut = Tensor("b", SHAPE, "uint8", float(rng.uniform(0.001, 0.1)), zero_point)
    return x, sums, shortcut, np.clip(np.rint(codes), 0, 255).astype(np.uint8)


def codes_of(found, sums, shortcut, codes):
    """Return the codes of branch and sum, computed as the network does."""
    biased = sums + found.bias[:, None, None]
    factor = np.full(SHAPE[0], found.multiplier)
    branch = requantise(biased, factor, MIDDLE, 0, 255).astype(np.uint8)
    params = [(tensor.scale, tensor.zero_point) for tensor in (found.branch, shortcut)]
    return branch, add(branch[None], codes[None], *params, found.total)[0]


@pytest.mark.parametrize("share", [0.05, 0.233, 0.58, 0.9, 1.0])
@pytest.mark.parametrize("zero_point", [0, MIDDLE])
@pytest.mark.parametrize("seed", range(3))
def test_the_sum_fires_at_the_target_density_in_every_channel(seed, zero_point, share):
    x, sums, shortcut, codes = case(seed, zero_point)
    found = calibrate_residual(("c", "s"), x, sums, shortcut, codes, share)
    total = codes_of(found, sums, shortcut, codes)[1]
    assert found.total.zero_point == 0 and found.branch.zero_point == MIDDLE
    assert abs(density(total) - share) * total.size <= 2.001  # sums that are equal
    each = np.count_nonzero(total, axis=(1, 2)) / total[0].size
    assert abs(each - share).max() <= 0.02


@pytest.mark.parametrize("zero_point", [0, MIDDLE])
def test_without_relu_branch_and_sum_reach_127_codes_from_the_middle(zero_point):
    x, sums, shortcut, codes = case(3, zero_point)
    found = calibrate_residual(("c", "s"), x, sums, shortcut, codes, None)
    assert found.branch.scale == pytest.approx(shortcut.scale, rel=1e-6)
    assert (found.bias == centred(sums).bias).all()
    for values in codes_of(found, sums, shortcut, codes):
        far = np.sort(abs(values.astype(int) - MIDDLE), axis=None)[int(0.999 * values.size)]
        assert far == PEAK_CODE
    assert found.total.zero_point == MIDDLE


@pytest.mark.parametrize("multiplier", [1e-5, 0.0123, 0.75])
def test_least_sums_give_their_code_and_one_less_does_not(multiplier):
    branch = Tensor("a", SHAPE, "uint8", 1.0, MIDDLE)
    factor = np.asarray([np.float32(multiplier)])
    least = _least_sums(factor[0], branch)

    def code(sums):
        return requantise(sums[None].astype(np.int32), factor, MIDDLE, 0, 255)[0]

    every = np.arange(1, 256)
    assert (code(least[every]) >= every).all() and (code(least[every] - 1) < every).all()
    assert least[0] == -(2**31) and least[256] == 2**31


def test_an_addition_without_any_contrast_is_refused_in_one_sentence():
    x, sums, shortcut, codes = case(0, 0)
    with pytest.raises(ModelError, match="layer c: no output can be above the others; use a"):
        calibrate_residual(("c", "s"), x, 0 * sums, shortcut, 0 * codes, 0.05)


def test_what_equal_values_leave_is_shared_among_the_channels():
    """The last channel's largest values are equal and more than its share."""
    rng = np.random.default_rng(0)
    values = np.stack([rng.permutation(400) for _ in range(16)]).astype(np.int32)
    values[15] = np.minimum(values[15], 200)
    plain, topped = (
        (values > thresholds(values, 0.3, has_ties)[:, None]).sum(axis=1)
        for has_ties in (False, True)
    )
    assert plain.tolist() == [120] * 15 + [0]
    assert topped.sum() == 16 * 120 and topped[15] == 0 and np.ptp(topped[:15]) <= 2
