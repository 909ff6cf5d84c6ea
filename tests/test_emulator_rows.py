"""Weight rows: every weight once, in its place; what is zero is dropped; pointers find the rows."""

from collections import Counter
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mappings import mappings, place_of, tiles_of

from firemesh.emulator.rows import weight_rows

quick = settings(deadline=None)


def random_weights(shape, seed):
    """Return weights in which whole tiles, and single weights, are zero."""
    rng = np.random.default_rng(seed)
    size = (shape.filters, shape.group_channels, *shape.window.kernel)
    weight = rng.integers(-255, 256, size).astype(np.int16)
    weight[rng.random(size) < rng.choice((0.0, 0.5, 0.95))] = 0
    return weight


def row_places(mapping, rows):
    """Yield (PE, channel of the PE, phase, row) of each row, from the pointers."""
    n_phases = mapping.shape.window.strides[0] * mapping.shape.window.strides[1]
    for pe in range(mapping.n_pes):
        first = int(rows.pointer_first[pe])
        for entry in range(first, int(rows.pointer_first[pe + 1])):
            for row in range(int(rows.pointer[entry]), int(rows.pointer[entry + 1])):
                yield pe, (entry - first) // n_phases, (entry - first) % n_phases, row


@quick
@given(mapping=mappings(), seed=st.integers(0, 2**32 - 1), is_dense=st.booleans())
def test_the_rows_hold_every_weight_once_at_the_byte_of_its_position_and_filter(
    mapping, seed, is_dense
):
    shape, (a, b) = mapping.shape, mapping.tile
    weight = random_weights(shape, seed)
    rows = weight_rows(mapping, weight, is_dense)
    kernels = {}
    for axis in (0, 1):
        for k in range(shape.window.kernel[axis]):
            kernels[axis, *place_of(shape, axis, k)] = k
    rebuilt, times = np.zeros_like(weight), np.zeros(weight.shape, int)
    for pe, channel, phase, row in row_places(mapping, rows):
        number, tap_y, tap_x = map(int, rows.place[row])
        group = mapping.groups_of(pe)[number]
        assert rows.group_rank[pe, group.conv_group] == channel // shape.group_channels
        left = rows.weight[row].astype(int)
        for i, j, f in product(range(a), range(b), range(group.size)):
            ky = kernels.get((0, phase // shape.window.strides[1], tap_y + i))
            kx = kernels.get((1, phase % shape.window.strides[1], tap_x + j))
            if ky is not None and kx is not None:
                at = group.first + f, channel % shape.group_channels, ky, kx
                rebuilt[at] = rows.weight[row, i * b + j, f]
                times[at] += 1
                left[i * b + j, f] = 0
        assert not left.any(), "a byte without a weight must be zero"
    assert np.array_equal(rebuilt, weight)
    assert times.max() <= 1
    assert not is_dense or times.min() == 1


@quick
@given(mapping=mappings(), seed=st.integers(0, 2**32 - 1))
def test_exactly_the_rows_that_are_all_zero_are_dropped(mapping, seed):
    weight = random_weights(mapping.shape, seed)
    every, kept = (weight_rows(mapping, weight, is_dense) for is_dense in (True, False))
    survives = every.weight.any(axis=(1, 2))
    assert np.array_equal(kept.weight, every.weight[survives])
    assert np.array_equal(kept.place, every.place[survives])
    at = [list(row_places(mapping, rows)) for rows in (every, kept)]
    assert [place[:3] for place in at[1]] == [p[:3] for p in at[0] if survives[p[3]]]
    per_channel = len(tiles_of(mapping.shape, mapping.tile)) * mapping.shape.group_channels
    assert len(every.weight) == per_channel * len(mapping.groups)


@quick
@given(mapping=mappings(), seed=st.integers(0, 2**32 - 1), is_dense=st.booleans())
def test_pointers_and_first_rows_cover_all_rows_of_each_pe_in_order(mapping, seed, is_dense):
    rows = weight_rows(mapping, random_weights(mapping.shape, seed), is_dense)
    places = list(row_places(mapping, rows))
    assert [row for *_, row in places] == list(range(len(rows.weight)))
    of_pe = Counter(pe for pe, *_ in places)
    assert np.diff(rows.first).tolist() == [of_pe[pe] for pe in range(mapping.n_pes)]
    assert (int(rows.first[0]), int(rows.first[-1])) == (0, len(rows.weight))
    for pe, channel, phase, row in places[1:]:
        before = places[row - 1]
        if before[:3] == (pe, channel, phase):
            assert tuple(rows.place[row - 1]) < tuple(rows.place[row])
    shape = mapping.shape
    for pe in range(mapping.n_pes):
        held = {group.conv_group for group in mapping.groups_of(pe)}
        n_channels = len(held) * shape.group_channels
        n_phases = shape.window.strides[0] * shape.window.strides[1]
        assert rows.pointer_first[pe + 1] - rows.pointer_first[pe] == n_channels * n_phases
        ranks = [int(rows.group_rank[pe, group]) for group in range(shape.groups)]
        assert sorted(rank for rank in ranks if rank >= 0) == list(range(len(held)))
        assert [rank >= 0 for rank in ranks] == [group in held for group in range(shape.groups)]


@quick
@given(mapping=mappings(), seed=st.integers(0, 2**32 - 1))
def test_effectual_counts_the_weights_of_a_position_that_are_not_zero(mapping, seed):
    rows = weight_rows(mapping, random_weights(mapping.shape, seed), True)
    for row, position in product(range(len(rows.weight)), range(rows.weight.shape[1])):
        weights = rows.weight[row, position].tolist()
        assert rows.effectual[row, position] == sum(weight != 0 for weight in weights)
