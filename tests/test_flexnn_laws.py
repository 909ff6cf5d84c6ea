"""Laws of mode flexnn: closed form, bounds, slots, traffic, and whole networks."""

import itertools

import numpy as np
import pytest
from flexnn_networks import described, parsed
from scipy import stats
from small_descriptors import dimension_sizes, random_descriptor, random_layer, random_machine

from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import Dim, LayerDims, sizes
from firemesh.emulator.flexnn.engine import run_layer
from firemesh.emulator.flexnn.machine import FlexMachine
from firemesh.emulator.flexnn.timeline import Mark
from firemesh.emulator.flexnn.wires import Load
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import machine
from firemesh.emulator.slots import Cause


def speed_up(width, lanes, density):
    """W / E[max of L Binomial(W, p)]: `shared/flexnn.md`, section 3, in exact sums."""
    k = np.arange(width)
    return width / (1 - stats.binom.cdf(k, width, density) ** lanes).sum()


def one_window_a_round(barrier, width, lanes, rounds, rng):
    """Return the speed-up of rounds of one window whose bitmaps are every VPE's own.

    Each VPE has a frame, and in each round a channel block of its own; weights are dense.
    """
    rows = columns = 16
    block = {"N": 1, "G": 1, "OY": 1, "OX": 1, "OC": 1, "FY": 1, "FX": 1, "IC": width * lanes}
    tree = {
        "name": "ideal", "clock_hz": 1, "energy": "eyeriss",
        "array": {"rows": rows, "columns": columns, "lanes": lanes},
        "rf": {"banks": 4096, "bank_bytes": 4096},
        "sram": {"bytes": 2**40, "read_bytes": 8192, "write_bytes": 8192},
        "sdn": {"column_bytes": 8192, "drain_bytes": 8192, "reduced_per_cycle": 65536},
        "sparsity": {"pays_below": 1.0, "empty_window_cycles": 0, "barrier": barrier},
        "dram": {"bytes_per_cycle": 8192},
    }  # fmt: skip
    flex = FlexMachine.parse(tree, "ideal")
    n, channels = rows * columns, width * lanes * rounds
    layer = LayerDims(sizes({"N": n, "IC": channels, "OC": 1}))
    descriptor = Descriptor.parse(
        {
            "block": block, "rows": {"N": rows}, "columns": {"N": columns}, "order": ["IC"],
            "banks": {"if": 1000, "fl": 1000, "of": 1000}, "sparsity": "activation",
        },
        "ideal",
    )  # fmt: skip
    x = (rng.random((n, channels, 1, 1)) < 0.25).astype(np.int16)
    run = run_layer(Cut(descriptor, layer), flex, x, np.ones((1, channels, 1, 1), np.int16))
    return width * rounds / run.taken.sum(axis=0).mean()


CLOSED = list(itertools.product(("vpe", "column", "array"), (8, 16, 32, 64), (4, 8)))


@pytest.mark.paper
@pytest.mark.parametrize(("barrier", "width", "lanes"), CLOSED)
def test_rounds_of_one_window_take_what_the_closed_form_says(barrier, width, lanes):
    rng = np.random.default_rng([width, lanes])
    rounds = 60
    in_domain = {"vpe": lanes, "column": 16 * lanes, "array": 256 * lanes}[barrier]
    got = one_window_a_round(barrier, width, lanes, rounds, rng)
    assert got == pytest.approx(speed_up(width, in_domain, 0.25), rel=0.03)


@pytest.mark.paper
def test_the_closed_form_is_the_published_tables():
    """`shared/flexnn.md`, section 3: 16 x 16, p = .25; two decimals."""
    for lanes, width, wanted in (
        (4, 8, (2.44, 1.57, 1.26)), (4, 64, (3.27, 2.62, 2.29)),
        (8, 8, (2.10, 1.47, 1.22)), (8, 64, (3.04, 2.52, 2.24)),
    ):  # fmt: skip
        for vpes, value in zip((1, 16, 256), wanted, strict=True):
            assert speed_up(width, lanes * vpes, 0.25) == pytest.approx(value, abs=0.006)


def small_run(seed):
    rng = np.random.default_rng(seed)
    tree = random_machine(rng)
    kind = ("plain", "grouped", "depthwise", "pointwise", "linear")[seed % 5]
    x, w, shape = random_layer(rng, kind, 1 + seed % 2)
    of = dimension_sizes(x, w, shape)
    dims = LayerDims(
        sizes(of), tuple(shape["strides"]), tuple(shape["dilations"]), tuple(shape["pads"]),
        x.shape[2:],
    )  # fmt: skip
    cut, flex = Cut(parsed(random_descriptor(rng, of, tree)), dims), described(tree)
    x, w = x.astype(np.int16), w.astype(np.int16)
    return run_layer(cut, flex, x, w, lambda psum: psum != 0, True), cut, flex, (x, w)


@pytest.mark.parametrize("seed", range(60))
def test_slots_add_up_and_no_layer_is_faster_than_its_bounds(seed):
    run, cut, flex, _ = small_run(seed)
    lanes, vpes = flex.array.lanes, flex.array.n_vpes
    assert (run.slots.sum(axis=1) == lanes * run.cycles).all()
    executed = int(run.slots[:, Cause.EXECUTED].sum())
    dram = run.bytes[0, Memory.DRAM].sum()
    array_reads = run.loads[:, [Load.IF, Load.FL, Load.PSUM]].sum()
    assert run.cycles >= executed / (vpes * lanes)
    assert run.cycles >= array_reads / flex.sram.read_bytes
    assert run.cycles >= dram / flex.dram.bytes_per_cycle
    # no round is shorter than its compute, and no load or drain shorter than its words
    taken = run.each.max(axis=1)
    assert (run.marks[:, Mark.FINISHED] - run.marks[:, Mark.BEGUN] >= 0).all()
    assert (run.marks[:, Mark.FINISHED] >= run.start.min(axis=1) + taken).all()
    loads = run.loads[:, Load.CYCLES]
    assert (run.marks[:, Mark.LOADED] - run.marks[:, Mark.BEGIN] >= loads * (loads > 0)).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_same_run_twice_is_the_same(seed):
    one, two = small_run(seed)[0], small_run(seed)[0]
    assert one.cycles == two.cycles
    for name in ("psum", "slots", "counts", "bytes", "marks", "loads"):
        assert np.array_equal(getattr(one, name), getattr(two, name))


def full_tiling(**changes):
    """A dense 1 x 1 convolution that fills a 4 x 4 array of 8 lanes in every round."""
    flex = machine("flexnn-edge").replace(array__rows=4, array__columns=4, **changes)
    layer = LayerDims(sizes({"OY": 8, "OX": 8, "OC": 32, "IC": 16}), ifmap=(8, 8))
    descriptor = Descriptor.parse(
        {
            "block": {"OY": 2, "OX": 4, "OC": 8, "IC": 16}, "rows": {"OC": 4},
            "columns": {"OY": 4}, "order": ["OX"], "banks": {"if": 5, "fl": 3, "of": 8},
        },
        "full",
    )  # fmt: skip
    return Cut(descriptor, layer), flex


def test_a_dense_pointwise_layer_with_a_full_tiling_uses_every_lane():
    cut, flex = full_tiling()
    x = np.ones((1, 16, 8, 8), np.int16)
    run = run_layer(cut, flex, x, np.ones((32, 16, 1, 1), np.int16))
    in_compute = run.slots.sum(axis=0)[
        [Cause.EXECUTED, Cause.INEFFECTUAL, Cause.ROUNDING, Cause.IMBALANCE, Cause.EMPTY]
    ]
    assert in_compute.tolist() == [cut.layer.macs, 0, 0, 0, 0]


@pytest.mark.parametrize("empty", [0, 1])
def test_activations_that_are_all_zero_cost_empty_windows_only(empty):
    cut, flex = full_tiling(sparsity__empty_window_cycles=empty)
    x = np.zeros((1, 16, 8, 8), np.int16)
    run = run_layer(cut, flex, x, np.ones((32, 16, 1, 1), np.int16))
    lost = run.slots.sum(axis=0)
    assert lost[[Cause.EXECUTED, Cause.INEFFECTUAL, Cause.IMBALANCE]].sum() == 0
    windows = cut.layer.sizes[Dim.OY] * cut.layer.sizes[Dim.OX] * cut.layer.sizes[Dim.OC]
    assert lost[Cause.EMPTY] == empty * windows * flex.array.lanes


@pytest.mark.parametrize(("parts", "depth"), [(1, None), (2, 1), (4, 2), (8, 3), (16, 4)])
def test_partitions_of_channels_give_the_trees_depth(parts, depth):
    flex = machine("flexnn-edge")
    layer = LayerDims(sizes({"OC": 1, "IC": 128}))
    descriptor = Descriptor.parse(
        {
            "block": {"IC": 8}, "rows": {"IC": parts}, "order": ["IC"],
            "banks": {"if": 1, "fl": 1, "of": 1}, "sparsity": "dense",
        },
        "tree",
    )  # fmt: skip
    run = run_layer(
        Cut(descriptor, layer), flex, np.ones((1, 128, 1, 1), np.int16),
        np.ones((1, 128, 1, 1), np.int16),
    )  # fmt: skip
    assert run.loads[-1, Load.TREE] == (0 if depth is None else depth + 1)


def test_balance_changes_the_order_of_filters_and_no_sum():
    rng = np.random.default_rng(3)
    cut, flex = full_tiling()
    balanced = Cut(cut.descriptor.model_copy(update={"balance": True}), cut.layer)
    x = rng.integers(0, 9, (1, 16, 8, 8)).astype(np.int16)
    w = rng.integers(-9, 9, (32, 16, 1, 1)) * (
        rng.random((32, 1, 1, 1)) < rng.random((32, 16, 1, 1))
    )
    runs = [
        run_layer(c, flex, x, w.astype(np.int16), lambda psum: psum > 0) for c in (cut, balanced)
    ]
    assert np.array_equal(runs[0].psum, runs[1].psum)
    order = runs[1].layer.x.filter
    nonzero = np.count_nonzero(w.reshape(32, -1), axis=1)[order]
    assert (np.diff(nonzero) <= 0).all() and sorted(order) == list(range(32))
