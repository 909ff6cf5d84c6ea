"""Weight rows: every weight once, in its place; what is zero is dropped; pointers find the rows."""

from collections import Counter
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_mappings import mappings, place_of

from firemesh.emulator.mnf.rows import packed, weight_rows

quick = settings(deadline=None, max_examples=150)
SEEDS = st.integers(0, 2**32 - 1)


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


def fill(mapping, rows):
    """Return the dense tensor of the rows, and how often each weight is in them."""
    shape, strides = mapping.shape, mapping.shape.window.strides
    kernels = {}
    for axis in (0, 1):
        for k in range(shape.window.kernel[axis]):
            kernels[axis, *place_of(shape, axis, k)] = k
    size = (shape.filters, shape.group_channels, *shape.window.kernel)
    rebuilt, times = np.zeros(size, int), np.zeros(size, int)
    for pe, channel, phase, row in row_places(mapping, rows):
        for position, (tap_y, tap_x, slot, n) in enumerate(rows.place[row].tolist()):
            weights = rows.weight[row, position].tolist()
            if slot < 0:
                assert not any(weights), "bytes of a position that does not exist are zero"
                continue
            assert not any(weights[n:]), "bytes of filters that do not exist are zero"
            number, f = divmod(slot, mapping.filters)
            group = mapping.groups_of(pe)[number]
            assert f + n <= group.size
            assert rows.group_rank[pe, group.conv_group] == channel // shape.group_channels
            ky = kernels[0, phase // strides[1], tap_y]
            kx = kernels[1, phase % strides[1], tap_x]
            for i in range(n):
                at = group.first + f + i, channel % shape.group_channels, ky, kx
                rebuilt[at] = weights[i]
                times[at] += 1
    return rebuilt, times


def run_of(mapping, phase, place):
    """Return (run, byte position in the run) of a tap, from the text of the page."""
    if mapping.is_linear:
        columns = mapping.shape.taps(1)[phase % mapping.shape.window.strides[1]]
        return divmod(place[0] * columns + place[1], mapping.modules)
    (run_y, a), (run_x, b) = (divmod(place[axis], mapping.tile[axis]) for axis in (0, 1))
    return (run_y, run_x), a * mapping.tile[1] + b


@quick
@given(mapping=mappings(), seed=SEEDS, is_dense=st.booleans())
def test_the_rows_hold_every_weight_once_and_without_all_zero_rows_every_one_that_counts(
    mapping, seed, is_dense
):
    weight = random_weights(mapping.shape, seed)
    rebuilt, times = fill(mapping, weight_rows(mapping, weight, is_dense))
    assert np.array_equal(rebuilt, weight)
    assert times.max() <= 1
    assert not is_dense or times.min() == 1


@quick
@given(mapping=mappings(), seed=SEEDS, is_dense=st.booleans())
def test_a_row_holds_one_run_of_one_filter_group_each_tap_at_its_place(mapping, seed, is_dense):
    rows = weight_rows(mapping, random_weights(mapping.shape, seed), is_dense)
    for pe, _, phase, row in row_places(mapping, rows):
        exists = rows.place[row, :, 2] >= 0
        places = [run_of(mapping, phase, place) for place in rows.place[row, exists, :2].tolist()]
        assert [position for _, position in places] == np.flatnonzero(exists).tolist()
        assert len({run for run, _ in places}) == 1
        ((slot, n),) = {tuple(pair) for pair in rows.place[row, exists, 2:].tolist()}
        assert slot % mapping.filters == 0
        assert n == mapping.groups_of(pe)[slot // mapping.filters].size


@quick
@given(mapping=mappings(), seed=SEEDS)
def test_exactly_the_rows_that_are_all_zero_are_dropped(mapping, seed):
    weight = random_weights(mapping.shape, seed)
    every, kept = (weight_rows(mapping, weight, is_dense) for is_dense in (True, False))
    survives = every.weight.any(axis=(1, 2))
    assert np.array_equal(kept.weight, every.weight[survives])
    assert np.array_equal(kept.place, every.place[survives])
    at = [list(row_places(mapping, rows)) for rows in (every, kept)]
    assert [place[:3] for place in at[1]] == [p[:3] for p in at[0] if survives[p[3]]]


@quick
@given(mapping=mappings(), seed=SEEDS, is_dense=st.booleans())
def test_rows_lie_by_pe_channel_phase_filter_group_and_run(mapping, seed, is_dense):
    rows = weight_rows(mapping, random_weights(mapping.shape, seed), is_dense)
    keys = []
    for pe, channel, phase, row in row_places(mapping, rows):
        place = next(p for p in rows.place[row].tolist() if p[2] >= 0)
        run, _ = run_of(mapping, phase, place)
        keys.append((pe, channel, phase, place[2] // mapping.filters, run))
    assert keys == sorted(set(keys))


def check_pointers(mapping, rows):
    """Pointers and first rows cover all rows of each PE in order, a pointer per phase."""
    shape, places = mapping.shape, list(row_places(mapping, rows))
    assert [row for *_, row in places] == list(range(len(rows.weight)))
    of_pe = Counter(pe for pe, *_ in places)
    assert rows.first[0] == 0
    assert np.diff(rows.first).tolist() == [of_pe[pe] for pe in range(mapping.n_pes)]
    assert len(rows.pointer) == rows.pointer_first[-1] + 1
    for pe in range(mapping.n_pes):
        held = {group.conv_group for group in mapping.groups_of(pe)}
        n_phases = shape.window.strides[0] * shape.window.strides[1]
        n_pointers = rows.pointer_first[pe + 1] - rows.pointer_first[pe]
        assert n_pointers == len(held) * shape.group_channels * n_phases
        ranks = [int(rows.group_rank[pe, group]) for group in range(shape.groups)]
        assert [rank for rank in ranks if rank >= 0] == list(range(len(held)))
        assert [rank >= 0 for rank in ranks] == [group in held for group in range(shape.groups)]


@quick
@given(mapping=mappings(), seed=SEEDS, is_dense=st.booleans())
def test_pointers_cover_all_rows_of_each_pe(mapping, seed, is_dense):
    rows = weight_rows(mapping, random_weights(mapping.shape, seed), is_dense)
    check_pointers(mapping, rows)
    check_pointers(mapping, packed(rows))


@quick
@given(mapping=mappings(), seed=SEEDS, is_dense=st.booleans())
def test_effectual_counts_the_weights_of_a_position_that_are_not_zero(mapping, seed, is_dense):
    rows = weight_rows(mapping, random_weights(mapping.shape, seed), True)
    rows = rows if is_dense else packed(rows)
    for row, position in product(range(len(rows.weight)), range(rows.weight.shape[1])):
        weights = rows.weight[row, position].tolist()
        assert rows.effectual[row, position] == sum(weight != 0 for weight in weights)


@quick
@given(mapping=mappings(has_linear=False), seed=SEEDS, is_dense=st.booleans())
def test_packing_keeps_the_weights_that_count_in_order_and_fills_all_rows_but_the_last(
    mapping, seed, is_dense
):
    weight = random_weights(mapping.shape, seed)
    rows = weight_rows(mapping, weight, is_dense)
    new = packed(rows)
    rebuilt, times = fill(mapping, new)
    assert np.array_equal(rebuilt, weight)
    assert np.array_equal(times, (weight != 0).astype(int))
    width = mapping.modules * mapping.lanes
    assert new.weight.shape[1:] == (width, 1)
    for entry in range(len(rows.pointer) - 1):
        before = rows.weight[rows.pointer[entry] : rows.pointer[entry + 1]].ravel()
        before = before[before != 0].tolist()
        after = new.weight[new.pointer[entry] : new.pointer[entry + 1]].ravel().tolist()
        assert after == before + [0] * (-len(before) % width)
