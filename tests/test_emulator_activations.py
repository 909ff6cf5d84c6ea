"""Activations in storage: nothing lost, entries apart, read in the order that the page names."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.emulator.activations import Activations, arrived, as_input, stored, volume
from firemesh.encoders.events import raster
from firemesh.models.network import Tensor

quick = settings(deadline=None)
every_order = pytest.mark.parametrize("order", ["row", "channel", "raster"])
BASES = st.integers(0, 10**6).map(lambda n: 8 * n)


@st.composite
def tensors(draw):
    """A tensor of rank 1 or 3 and its codes, some of them equal to its zero point."""
    sides = st.integers(1, 6)
    shape = draw(st.tuples(sides, sides, sides) | st.tuples(st.integers(1, 40)))
    dtype, low, high = draw(st.sampled_from((("int8", -128, 127), ("uint8", 0, 255))))
    zero = draw(st.sampled_from((low, 0, high, 5)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = rng.integers(low, high + 1, shape).astype(dtype)
    codes[rng.random(shape) < draw(st.sampled_from((0.0, 0.6, 1.0)))] = zero
    return Tensor("t", shape, dtype, 1.0, zero), codes


def arrivals(tensor, codes, seed):
    """Return (channel, y, x, code) of the activations, in a random order of arrival."""
    cube = codes.reshape(volume(tensor))
    channel, y, x = raster(cube, tensor.zero_point)
    order = np.random.default_rng(seed).permutation(len(channel))
    columns = (channel, y, x, cube[channel, y, x].astype(np.int64))
    return tuple(column[order] for column in columns)


def entries(activations):
    """Return (channel, y, x, code) of each activation, in reading order."""
    columns = (*activations.coordinates, activations.code)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@every_order
@quick
@given(case=tensors(), base=BASES)
def test_what_is_stored_is_read_back_whole(order, case, base):
    tensor, codes = case
    again = stored(tensor, codes, order, base).dense()
    assert again.dtype == codes.dtype
    assert np.array_equal(again, codes)


@every_order
@quick
@given(case=tensors(), base=BASES, seed=st.integers(0, 2**32 - 1))
def test_the_order_of_arrival_loses_nothing(order, case, base, seed):
    tensor, codes = case
    columns = arrivals(tensor, codes, seed)
    assert np.array_equal(arrived(tensor, *columns, order, base).dense(), codes)


@every_order
@quick
@given(case=tensors(), base=BASES, seed=st.integers(0, 2**32 - 1))
def test_entries_are_apart_aligned_and_inside_the_region(order, case, base, seed):
    tensor, codes = case
    address = arrived(tensor, *arrivals(tensor, codes, seed), order, base).address
    assert len(set(address.tolist())) == len(address)
    assert not ((address - base) % 8).any()
    assert all(base <= at <= base + 8 * (tensor.size - 1) for at in address)


KEYS = {
    "row": lambda entry: entry[1],
    "channel": lambda entry: entry[0],
    "raster": lambda entry: (entry[1], entry[2], entry[0]),
}


@every_order
@quick
@given(case=tensors(), base=BASES, seed=st.integers(0, 2**32 - 1))
def test_lists_are_read_one_after_another_each_in_order_of_arrival(order, case, base, seed):
    tensor, codes = case
    columns = arrivals(tensor, codes, seed)
    expected = list(zip(*(column.tolist() for column in columns), strict=True))
    expected.sort(key=KEYS[order])
    assert entries(arrived(tensor, *columns, order, base)) == expected


@every_order
@quick
@given(case=tensors(), base=BASES, seed=st.integers(0, 2**32 - 1))
def test_an_arrival_is_written_to_the_next_entry_of_its_list(order, case, base, seed):
    tensor, codes = case
    (channels, height, width), columns = volume(tensor), arrivals(tensor, codes, seed)
    expected, held = {}, Counter()
    for c, y, x, _ in zip(*(column.tolist() for column in columns), strict=True):
        at = {"row": y, "channel": c, "raster": None}[order]
        entry = {
            "row": y * channels * width + held[at],
            "channel": c * height * width + held[at],
            "raster": (y * width + x) * channels + c,
        }[order]
        held[at] += 1
        expected[c, y, x] = base + 8 * entry
    kept = arrived(tensor, *columns, order, base)
    got = {entry[:3]: at for entry, at in zip(entries(kept), kept.address.tolist(), strict=True)}
    assert got == expected


@quick
@given(case=tensors(), base=BASES)
def test_a_dense_tensor_is_stored_as_if_it_had_arrived_in_raster_order(case, base):
    tensor, codes = case
    cube = codes.reshape(volume(tensor))
    columns = (*raster(cube, tensor.zero_point), cube[raster(cube, tensor.zero_point)].astype(int))
    for order in KEYS:
        one, other = stored(tensor, codes, order, base), arrived(tensor, *columns, order, base)
        assert entries(one) == entries(other)
        assert np.array_equal(one.address, other.address)


@quick
@given(case=tensors(), base=BASES)
def test_the_networks_input_is_kept_and_read_in_raster_order(case, base):
    one, other = as_input(*case, base), stored(*case, "raster", base)
    assert entries(one) == entries(other) == sorted(entries(one), key=KEYS["raster"])
    assert np.array_equal(one.address, other.address)


@quick
@given(case=tensors(), base=BASES)
def test_a_new_shape_keeps_codes_and_addresses(case, base):
    tensor, codes = case
    flat = Tensor("flat", (tensor.size,), tensor.dtype, 1.0, tensor.zero_point)
    kept = stored(tensor, codes, "row", base)
    again = kept.renamed(flat)
    assert isinstance(again, Activations)
    assert np.array_equal(again.dense(), codes.ravel())
    assert np.array_equal(again.address, kept.address)
