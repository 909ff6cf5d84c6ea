"""The fire phase's order of work: every psum once, every output once and as soon as it is known."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mappings import mappings

from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.fire import fire_order
from firemesh.emulator.mnf.mapping import with_tile
from firemesh.emulator.shape import ConvShape, Pool
from firemesh.encoders.events import Window

quick = settings(deadline=None, max_examples=200)


@st.composite
def cases(draw):
    """A mapping, a number of fire lanes, and a pooling without windows of padding only."""
    mapping = draw(mappings())
    every = mapping.modules * mapping.lanes
    lanes = draw(st.sampled_from((every, every, mapping.lanes, 1)))
    if draw(st.sampled_from((False, False, True))):
        return mapping, lanes, Pool(), mapping.shape.window.ofmap
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, strides = draw(pair), draw(pair)
    pads = tuple(draw(st.integers(0, kernel[axis] - 1)) for axis in (0, 1))
    pool = Pool(kernel, strides, pads, draw(pair))
    pooled = []
    for axis in (0, 1):
        size = mapping.shape.window.ofmap[axis]
        n = 0
        while window(pool, axis, n, size):
            n += 1
        pooled.append(draw(st.sampled_from((n, max(n - 1, 1)))) if n else 0)
    if not all(pooled):
        return mapping, lanes, Pool(), mapping.shape.window.ofmap
    return mapping, lanes, pool, tuple(pooled)


def plain():
    """Return the mapping of two filters over 4 x 4 positions."""
    on = machine("mnf-tiny")
    shape = ConvShape(2, 1, 4, 4, 1, Window((1, 1), (1, 1), (1, 1), (0, 0), (4, 4)))
    return with_tile(shape, (1, 1), on.pe, on.n_pes)


def window(pool, axis, output, size):
    """Return the ofmap rows or columns that an output covers."""
    first = output * pool.strides[axis] - pool.pads[axis]
    return [
        at
        for at in range(size)
        if (at - first) % pool.dilations[axis] == 0
        and 0 <= (at - first) // pool.dilations[axis] < pool.kernel[axis]
    ]


def steps_of(first, places):
    """Return the places of each step as tuples."""
    return [
        [tuple(map(int, place)) for place in places[a:b]]
        for a, b in zip(first, first[1:], strict=False)
    ]


@quick
@given(case=cases())
def test_each_psum_position_is_read_in_exactly_one_step_and_no_step_is_empty(case):
    mapping, lanes, pool, pooled = case
    order = fire_order(mapping, lanes, pool, pooled)
    steps = steps_of(order.step_first, order.step)
    height, width = mapping.shape.window.ofmap
    assert all(steps)
    assert Counter(place for step in steps for place in step) == Counter(
        product(range(height), range(width))
    )


@quick
@given(case=cases())
def test_narrow_fire_lanes_read_one_position_per_step_in_raster_order(case):
    mapping, lanes, pool, pooled = case
    if lanes == mapping.modules * mapping.lanes:
        lanes = 1
    order = fire_order(mapping, lanes, pool, pooled)
    height, width = mapping.shape.window.ofmap
    assert steps_of(order.step_first, order.step) == [
        [place] for place in product(range(height), range(width))
    ]


@quick
@given(mapping=mappings())
def test_all_lanes_read_the_words_of_one_number_from_banks_of_their_own(mapping):
    lanes = mapping.modules * mapping.lanes
    order = fire_order(mapping, lanes, Pool(), mapping.shape.window.ofmap)
    numbers = []
    for step in steps_of(order.step_first, order.step):
        words = [
            mapping.word(0, f, *place)
            for place in step
            for f in range(0, mapping.filters, mapping.lanes)
        ]
        assert len({module for module, _ in words}) == len(words)
        assert len({word for _, word in words}) == 1
        numbers.append(words[0][1])
        assert step == sorted(step)
    assert numbers == sorted(set(numbers))


def check_outputs(mapping, lanes, pool, pooled):
    """Each output is complete once, at the step that reads the last psum of its window."""
    order = fire_order(mapping, lanes, pool, pooled)
    steps = steps_of(order.step_first, order.step)
    read = {place: i for i, step in enumerate(steps) for place in step}
    height, width = mapping.shape.window.ofmap
    expected = {
        (y, x): max(
            read[place] for place in product(window(pool, 0, y, height), window(pool, 1, x, width))
        )
        for y, x in product(range(pooled[0]), range(pooled[1]))
    }
    done = steps_of(order.done_first, order.done)
    assert len(done) == len(steps)
    found = [(output, i) for i, outputs in enumerate(done) for output in outputs]
    assert len(found) == len(expected)
    assert dict(found) == expected
    assert all(outputs == sorted(outputs) for outputs in done)


@quick
@given(case=cases())
def test_each_output_is_complete_once_at_the_step_that_reads_its_last_psum(case):
    check_outputs(*case)


@pytest.mark.parametrize("tile", [(3, 3), (3, 1), (1, 3), (1, 1)])
def test_all_lanes_complete_outputs_whose_last_psum_is_not_at_the_windows_end(tile):
    # with dilation 2 a bank takes every second row, so that row 2 is read before row 1
    on = machine("mnf-tiny").replace(pe__modules=9)
    shape = ConvShape(2, 1, 7, 7, 1, Window((2, 2), (1, 1), (2, 2), (0, 0), (5, 5)))
    mapping = with_tile(shape, tile, on.pe, on.n_pes)
    check_outputs(mapping, on.pe.multipliers, Pool((2, 2)), (4, 4))


@quick
@given(case=cases())
def test_chunks_cover_the_filters_of_each_pe_once_in_order_and_stay_in_a_word_or_a_group(case):
    mapping, lanes, pool, pooled = case
    order = fire_order(mapping, lanes, pool, pooled)
    assert (order.chunk_first[0], order.chunk_first[-1]) == (0, len(order.chunk))
    if lanes == 1:
        widest = 1
    else:
        widest = mapping.lanes if lanes == mapping.lanes else mapping.filters
    for pe in range(mapping.n_pes):
        chunks = order.chunk[order.chunk_first[pe] : order.chunk_first[pe + 1]].tolist()
        slots = [slot for first, size in chunks for slot in range(first, first + size)]
        assert slots == [
            group.number * mapping.filters + f
            for group in mapping.groups_of(pe)
            for f in range(group.size)
        ]
        for first, size in chunks:
            assert 0 < size <= widest
            assert first % widest == 0
            assert first // widest == (first + size - 1) // widest


@quick
@given(case=cases())
def test_most_outputs_is_what_the_fullest_step_completes_for_the_widest_chunk(case):
    mapping, lanes, pool, pooled = case
    order = fire_order(mapping, lanes, pool, pooled)
    done = [len(outputs) for outputs in steps_of(order.done_first, order.done)]
    assert order.most_outputs == max(done) * max(size for _, size in order.chunk.tolist())


@quick
@given(
    kernel=st.integers(1, 3), stride=st.integers(1, 3), pad=st.integers(0, 4),
    dilation=st.integers(1, 3), size=st.integers(1, 6), output=st.integers(0, 6),
    axis=st.integers(0, 1),
)  # fmt: skip
def test_a_pool_covers_what_its_window_meets(kernel, stride, pad, dilation, size, output, axis):
    pool = Pool(*((n, n) for n in (kernel, stride, pad, dilation)))
    assert pool.covered(axis, output, size) == window(pool, axis, output, size)


def test_the_default_pool_is_each_position_itself():
    assert [Pool().covered(0, at, 3) for at in range(3)] == [[0], [1], [2]]
    assert np.array_equal(fire_order(plain(), 1, Pool(), (4, 4)).done, np.argwhere(np.ones((4, 4))))
