import tracemalloc
from collections import Counter
from fractions import Fraction
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firemesh.models.prune import prune_rows, weight_rows

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def layers(draw):
    groups = draw(st.integers(1, 3))
    shape = (
        groups * draw(st.integers(1, 9)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 5)),
    )
    return shape, dict(
        filters_per_group=draw(st.integers(1, 4)),
        tile=draw(PAIR),
        pes=draw(st.integers(1, 5)),
        strides=draw(PAIR),
        dilations=draw(PAIR),
        groups=groups,
    )


def row_of(shape, rule, k, c, ky, kx):
    """Return (PE, channel, row) of a weight, one weight at a time, from the text of the rule."""
    per_group = shape[0] // rule["groups"]
    group, local = divmod(k, per_group)
    groups_of_filters = -(-per_group // rule["filters_per_group"])
    filter_group = local // rule["filters_per_group"]
    pe = (group * groups_of_filters + filter_group) % rule["pes"]
    tiles = []
    for position, run, stride, dilation in zip(
        (ky, kx), rule["tile"], rule["strides"], rule["dilations"], strict=True
    ):
        u = stride // gcd(stride, dilation)
        tiles.append((position * dilation % stride, position // u // run))
    return pe, group * shape[1] + c, (group, filter_group, *tiles)


def rows_of(shape, rule):
    """Return the positions of every row by (PE, channel, row)."""
    rows = {}
    for position in np.ndindex(shape):
        rows.setdefault(row_of(shape, rule, *position), []).append(position)
    return rows


@given(layers())
def test_rows_partition_the_weights_as_the_rule_says(layer):
    shape, rule = layer
    got = weight_rows(shape, **rule)
    rows = rows_of(shape, rule)
    assert len(rows) == got.pe.size == got.channel.size
    for (pe, channel, _), positions in rows.items():
        numbers = {int(got.row[p]) for p in positions}
        assert len(numbers) == 1
        number = numbers.pop()
        assert (got.pe[number], got.channel[number]) == (pe, channel)
        assert len(positions) <= rule["filters_per_group"] * rule["tile"][0] * rule["tile"][1]


@settings(deadline=None)
@given(layers(), st.integers(0, 20), st.booleans(), st.integers(0, 99))
def test_balanced_keeps_whole_rows_and_the_exact_count_per_pe_and_channel(
    layer, twentieths, is_scored, seed
):
    shape, rule = layer
    density = Fraction(twentieths, 20)
    weight = np.random.default_rng(seed).normal(size=shape)
    score = np.abs(weight) if is_scored else None
    mask = prune_rows(weight, float(density), **rule, seed=seed, score=score)
    kept, rows = Counter(), Counter()
    for (pe, channel, _), positions in rows_of(shape, rule).items():
        states = {bool(mask[p]) for p in positions}
        assert len(states) == 1
        rows[pe, channel] += 1
        kept[pe, channel] += states.pop()
    for pe in range(rule["pes"]):
        carried = Fraction(0)
        for channel in range(shape[1] * rule["groups"]):
            carried += density * rows[pe, channel]
            assert kept[pe, channel] == int(carried)
            carried -= int(carried)


@given(layers(), st.integers(0, 20), st.integers(0, 99))
def test_random_keeps_whole_rows_and_the_exact_count_per_layer(layer, twentieths, seed):
    shape, rule = layer
    density = Fraction(twentieths, 20)
    mask = prune_rows(np.zeros(shape), density, **rule, seed=seed, rule="random")
    states = [{bool(mask[p]) for p in row} for row in rows_of(shape, rule).values()]
    assert all(len(state) == 1 for state in states)
    assert sum(state.pop() for state in states) == int(density * len(states))


@given(layers(), st.integers(0, 99))
def test_a_score_keeps_no_row_below_a_dropped_one_of_the_same_pe_and_channel(layer, seed):
    shape, rule = layer
    score = np.random.default_rng(seed).integers(0, 50, shape)
    mask = prune_rows(score, 0.5, **rule, score=score)
    kept, dropped = {}, {}
    for (pe, channel, _), positions in rows_of(shape, rule).items():
        total = sum(score[p] for p in positions)
        side = kept if mask[positions[0]] else dropped
        side.setdefault((pe, channel), []).append(total)
    for key in kept.keys() & dropped.keys():
        assert min(kept[key]) >= max(dropped[key])


def test_a_matrix_is_a_kernel_of_one_position():
    weight = np.random.default_rng(0).normal(size=(64, 128))
    rule = dict(density=0.5, filters_per_group=27, tile=(1, 1), pes=11, seed=3)
    flat, deep = (prune_rows(w, **rule) for w in (weight, weight[:, :, None, None]))
    assert (flat == deep[:, :, 0, 0]).all()


def test_the_seed_decides_and_repeats():
    rule = dict(density=0.5, filters_per_group=3, tile=(3, 3), pes=11)
    weight = np.zeros((66, 16, 3, 3))
    first, again, other = (prune_rows(weight, **rule, seed=s) for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_a_float_density_means_its_decimal_number():
    weight = np.zeros((1000, 1))
    rule = dict(filters_per_group=1, tile=(1, 1), pes=1)
    assert [prune_rows(weight, d, **rule).sum() for d in (0.501, 0.29, 0.57)] == [501, 290, 570]


def test_pruning_takes_a_few_bytes_per_weight():
    """An index per weight takes 8: too much for the 103 M weights of VGG-16's fc6."""
    weight = np.zeros((27 * 40, 2048), np.int8)
    tracemalloc.start()
    prune_rows(weight, 0.5, filters_per_group=27, tile=(1, 1), pes=11)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * weight.size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(density=1.5), "density: must be 0..1, got 1.5"),
        (dict(rule="best"), "rule: must be one of balanced, random, got 'best'"),
        (dict(score=np.zeros((1, 2))), "score: must have the weight's shape"),
        (dict(pes=0), "sizes must be positive"),
        (dict(groups=3), "groups: must divide the 4 filters, got 3"),
    ],
)
def test_a_wrong_parameter_is_refused(changes, message):
    fields = dict(density=0.5, filters_per_group=3, tile=(1, 1), pes=2)
    with pytest.raises(ValueError, match=message):
        prune_rows(np.zeros((4, 2, 1, 1)), **{**fields, **changes})
