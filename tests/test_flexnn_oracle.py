"""The oracle of mode `flexnn` against direct convolution and its own laws, on random layers."""

from __future__ import annotations

import functools
import math
from collections import Counter

import numpy as np
import pytest
from oracle_flexnn import run_layer
from small_descriptors import (
    DIMS,
    REDUCTION,
    dimension_sizes,
    random_descriptor,
    random_layer,
    random_machine,
)
from small_flexnn import descriptor_of, machine_of, pointwise, totals

KINDS = ("plain", "plain", "grouped", "depthwise", "pointwise", "linear")
SEEDS = range(120)
every_seed = pytest.mark.parametrize("seed", SEEDS)


def convolution(x, w, shape) -> np.ndarray:
    """Convolve a padded ifmap, kernel position by kernel position."""
    (sy, sx), (dy, dx), (top, left) = (shape[key] for key in ("strides", "dilations", "pads"))
    oh, ow = shape["ofmap"]
    n_filters, n_channels, fy, fx = w.shape
    height, width = (oh - 1) * sy + (fy - 1) * dy + 1, (ow - 1) * sx + (fx - 1) * dx + 1
    padded = np.zeros((*x.shape[:2], max(height, x.shape[2] + top), max(width, x.shape[3] + left)))
    padded = padded.astype(np.int64)
    padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    result = np.zeros((len(x), n_filters, oh, ow), np.int64)
    each = n_filters // shape["groups"]
    for g in range(shape["groups"]):
        own = padded[:, g * n_channels : (g + 1) * n_channels]
        for j, i in np.ndindex(fy, fx):
            part = own[:, :, j * dy :: sy, i * dx :: sx][:, :, :oh, :ow]
            filters = slice(g * each, (g + 1) * each)
            result[:, filters] += np.einsum("ncyx,kc->nkyx", part, w[filters, :, j, i])
    return result


@functools.cache
def random_case(seed: int):
    rng = np.random.default_rng(seed)
    x, w, shape = random_layer(rng, KINDS[seed % len(KINDS)], n_frames=1 + seed % 2)
    machine = random_machine(rng)
    sizes = dimension_sizes(x, w, shape)
    descriptor = random_descriptor(rng, sizes, machine)
    y_nonzero = rng.random((len(x), len(w), *shape["ofmap"])) < rng.choice([0.2, 0.9])
    done = run_layer(x, w, shape, descriptor, machine, y_nonzero, accesses=True)
    return x, w, shape, descriptor, machine, y_nonzero, done


@every_seed
def test_psums_are_those_of_a_direct_convolution(seed):
    x, w, shape, *_, done = random_case(seed)
    assert done.psums.dtype == np.int32
    np.testing.assert_array_equal(done.psums, convolution(x, w, shape).astype(np.int32))


def test_psums_wrap():
    machine = machine_of()
    descriptor = descriptor_of()
    done = pointwise([[2**20], [2**20]], [[2**10, 2**10]], descriptor, machine)
    assert done.psums.item() == -(2**31)
    done = pointwise([[2**20], [2**20]], [[2**10 + 1, 2**10]], descriptor, machine)
    assert done.psums.item() == -(2**31) + 2**20


@every_seed
def test_slots_add_up_to_lanes_times_cycles_in_each_vpe(seed):
    *_, machine, _, done = random_case(seed)
    array = machine["array"]
    columns = list(zip(*done.slots.values(), strict=True))
    assert len(columns) == array["rows"] * array["columns"]
    assert {sum(slots) for slots in columns} == {array["lanes"] * done.cycles}
    assert min(min(slots) for slots in columns) >= 0


@every_seed
def test_every_pair_is_worked_through_once(seed):
    x, w, shape, descriptor, machine, _, done = random_case(seed)
    n_macs = math.prod(dimension_sizes(x, w, shape).values())
    both = convolution((x != 0).astype(int), (w != 0).astype(int), shape).sum()
    pairs = {"executed": both, "all": n_macs}
    pays_below = machine["sparsity"]["pays_below"]
    skips = [
        descriptor["sparsity"] in (which, "both")
        and np.count_nonzero(values) / values.size < pays_below
        for which, values in (("activation", x), ("weight", w))
    ]
    if all(skips):
        pairs["all"] = both
    elif skips[0]:
        pairs["all"] = convolution((x != 0).astype(int), np.ones_like(w), shape).sum()
    elif skips[1]:
        pairs["all"] = math.prod(shape["ofmap"]) * len(x) * np.count_nonzero(w)
    executed, ineffectual = sum(done.slots["executed"]), sum(done.slots["ineffectual"])
    assert (executed, executed + ineffectual) == (pairs["executed"], pairs["all"])
    counts = totals(done)
    assert counts["acc", "write"] == counts["rf_fl", "read"] == pairs["all"]
    if descriptor["lanes"] == "vxv":
        assert counts["rf_if", "read"] == pairs["all"]


@every_seed
def test_rounds_of_the_array_cover_each_mac_once_and_follow_each_other(seed):
    x, w, shape, *_, done = random_case(seed)
    covered = 0
    for this in done.rounds:
        covered += math.prod(high - low for low, high in this.ranges.values())
        assert 0 <= this.loaded <= this.begun <= this.finished <= done.cycles
    assert covered == math.prod(dimension_sizes(x, w, shape).values())
    for before, after in zip(done.rounds, done.rounds[1:], strict=False):
        assert before.ranges != after.ranges
        assert before.loaded <= after.loaded and before.drained <= after.drained
        if after.load:
            assert after.begin >= before.begun
    for first, third in zip(done.rounds, done.rounds[2:], strict=False):
        assert third.begun >= first.drained


@every_seed
def test_what_leaves_is_each_output_once_and_every_spilled_psum_comes_back(seed):
    *_, machine, y_nonzero, done = random_case(seed)
    final = sum(this.drained_bytes for this in done.rounds if this.drain and this.ends)
    spilled = sum(this.drained_bytes for this in done.rounds if this.drain and not this.ends)
    assert final == y_nonzero.size
    back = [done.rounds[this.reloads] for this in done.rounds if this.reloads is not None]
    assert sum(this.drained_bytes for this in back) == spilled
    assert all(not this.ends and this.drain for this in back)


@every_seed
def test_ports_move_a_word_a_cycle_and_nothing_happens_after_the_layer(seed):
    *_, descriptor, machine, _, done = random_case(seed)
    n_lanes = machine["array"]["lanes"]
    at_once = Counter()
    for cycle, unit, memory, op, _ in done.accesses:
        assert 0 <= cycle < done.cycles
        at_once[cycle, unit, memory, op] += 1
    most = Counter()
    for (_, _, memory, op), n in at_once.items():
        most[memory, op] = max(most[memory, op], n)
    limits = {
        ("storage", "read"): 2,  # the array's port and the DRAM's
        ("storage", "write"): 2,
        ("rf_if", "read"): n_lanes if descriptor["lanes"] == "vxv" else 1,
        ("rf_fl", "read"): n_lanes,
        ("acc", "write"): n_lanes,
        ("rf_of", "write"): 2,  # a window and a load
    }
    assert not [key for key, n in most.items() if n > limits.get(key, 1)]


@every_seed
def test_dram_moves_every_output_once_and_a_word_a_cycle_of_its_jobs(seed):
    *_, descriptor, machine, y_nonzero, done = random_case(seed)
    counts, sizes = totals(done), totals(done, "bytes")
    n_words = counts["dram", "read"] + counts["dram", "write"]
    assert n_words == sum(length for _, length in done.jobs)
    share = y_nonzero.mean()
    written = y_nonzero.size
    if (
        descriptor["sparsity"] in ("activation", "both")
        and share < (machine["sparsity"]["pays_below"])
    ):
        n_tiles = len({tuple(d.items()) for d in of_tiles(done)})
        least = int(y_nonzero.sum()) + math.ceil(y_nonzero.size / 8)
        assert least <= sizes["dram", "write"] < least + n_tiles
    else:
        assert sizes["dram", "write"] == written


def of_tiles(done):
    return [{d: this.bounds[d] for d in ("N", "G", "OY", "OX", "OC")} for this in done.rounds]


@every_seed
def test_descriptors_are_legal(seed):
    x, w, shape, descriptor, machine, *_ = random_case(seed)
    sizes, array = dimension_sizes(x, w, shape), machine["array"]
    block, rows, columns, lanes = (descriptor[k] for k in ("block", "rows", "columns", "lanes"))
    lane_dimension = "IC" if lanes == "vxv" else "OC"
    assert block[lane_dimension] % array["lanes"] == 0
    n_tiles = {}
    for d in DIMS:
        unit = array["lanes"] if d == lane_dimension else 1
        assert 1 <= block[d] <= math.ceil(sizes[d] / unit) * unit
        step = block[d] * rows.get(d, 1) * columns.get(d, 1)
        tile = descriptor["tile"].get(d, sizes[d])
        assert tile == sizes[d] or (tile < sizes[d] and tile % step == 0)
        n_tiles[d] = math.ceil(sizes[d] / tile)
    assert math.prod(rows.values()) <= array["rows"]
    assert math.prod(columns.values()) <= array["columns"]
    reduced = [math.prod(parts.get(d, 1) for d in REDUCTION) for parts in (rows, columns)]
    assert 1 in reduced
    assert descriptor["reduction"] == "chain" or max(reduced).bit_count() == 1
    if sizes["OC"] == sizes["IC"] == 1 and sizes["G"] > 1:
        assert lanes == "vxv"
    order = [*descriptor["tile_order"], *(d for d in DIMS if d not in descriptor["tile_order"])]
    cut = [d for d in order if n_tiles[d] > 1]
    assert not [
        d for i, d in enumerate(cut) if d not in REDUCTION and set(cut[:i]) & set(REDUCTION)
    ]


def test_random_cases_reach_what_the_page_tells_of():
    reached = Counter()
    for seed in SEEDS:
        *_, descriptor, machine, _, done = random_case(seed)
        rows, columns = descriptor["rows"], descriptor["columns"]
        reached[descriptor["lanes"]] += 1
        reached[machine["sparsity"]["barrier"]] += 1
        reached["tiles"] += len(done.jobs) > 2
        reached["spill"] += any(this.reloads is not None for this in done.rounds)
        for axis, parts in (("rows", rows), ("columns", columns)):
            n = math.prod(parts.get(d, 1) for d in REDUCTION)
            reached[axis, descriptor["reduction"]] += n > 1
        reached["both axes"] += any(rows.get(d, 1) > 1 and columns.get(d, 1) > 1 for d in DIMS)
        reached["partial order"] += 0 < len(descriptor["order"]) < len(DIMS)
        for cause, slots in done.slots.items():
            reached[cause] += any(slots)
        reached["bitmap_if"] += totals(done)["bitmap_if", "read"] > 0
        reached["bitmap_fl"] += totals(done)["bitmap_fl", "read"] > 0
    names = ["vxv", "mxm", "vpe", "column", "array", "tiles", "spill", "both axes"]
    names += ["partial order", "bitmap_if", "bitmap_fl", *done.slots]
    names += [(axis, kind) for axis in ("rows", "columns") for kind in ("tree", "chain")]
    assert not [name for name in names if reached[name] < 3], reached


@pytest.mark.parametrize("lanes", ["vxv", "mxm"])
def test_a_dense_1x1_layer_of_full_blocks_loses_no_slot_while_it_computes(lanes):
    machine = machine_of(2, 3, 4)
    rng = np.random.default_rng(5)
    x, w = rng.integers(1, 9, (8, 6)), rng.integers(1, 9, (16, 8))
    x[0], w[:, 1] = 0, 0
    block = {"IC": 8, "OC": 4, "OX": 2}
    fields = {"rows": {"OC": 2}, "columns": {"OX": 3}, "lanes": lanes, **block}
    done = pointwise(x, w, descriptor_of(**fields), machine)
    assert [this.compute for this in done.rounds] == [[16] * 6] * 2
    for cause in ("unused", "rounding", "imbalance", "empty", "barrier"):
        assert done.slots[cause] == [0] * 6
    assert done.slots["executed"] == [2 * 16 * 4 * 3 // 4] * 6
    assert done.slots["ineffectual"] == [2 * 16 * 4 // 4] * 6


@pytest.mark.parametrize("lanes", ["vxv", "mxm"])
@pytest.mark.parametrize("empty", [0, 1])
def test_zero_activations_cost_only_empty_windows(lanes, empty):
    machine = machine_of(1, 2, 2, empty_window_cycles=empty)
    x, w = np.zeros((4, 6), int), np.ones((4, 4), int)
    fields = {"columns": {"OX": 2}, "lanes": lanes, "sparsity": "both"}
    done = pointwise(x, w, descriptor_of(IC=4, OC=4, OX=3, **fields), machine)
    n_windows = 3 * (4 if lanes == "vxv" else 2)
    assert [this.compute for this in done.rounds] == [[empty * n_windows] * 2]
    assert done.slots["empty"] == [2 * empty * n_windows] * 2
    for cause in ("executed", "ineffectual", "imbalance", "rounding"):
        assert done.slots[cause] == [0, 0]
    assert not done.psums.any()
    counts = totals(done)
    bitmaps = counts["bitmap_if", "read"], counts["bitmap_fl", "read"]
    assert bitmaps == (2 * empty * n_windows, 0)  # weights are dense
    assert not counts["rf_if", "read"] + counts["acc", "write"] + counts["rf_of", "write"]
