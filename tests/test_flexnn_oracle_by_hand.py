"""The oracle of mode `flexnn` against timetables, slots and accesses made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from oracle_flexnn import run_layer
from small_flexnn import descriptor_of, machine_of, nonzero_slots, of_rows, pointwise, totals

TWO_ROUNDS = [[1, 1, 1, 4]], [[2], [1]]


@pytest.mark.parametrize("overhead", [0, 1])
def test_two_rounds_by_hand(overhead):
    # Loads: IF 4 bytes, FL 1: max(1 + 1 words, 5/2) = 3; FL: 1. Drains: 4 bytes, 1 a cycle.
    # Job 0 moves 4 and 2 bytes: filled 2. Rounds 5..9 and 9..13, drains 9..13, 13..17, job 17..19.
    machine = machine_of(round_overhead_cycles=overhead)
    done = pointwise(*TWO_ROUNDS, descriptor_of(OX=4), machine)
    assert done.psums[0, :, 0].tolist() == [[2, 2, 2, 8], [1, 1, 1, 4]]
    first, second = done.rounds
    assert (first.load, second.load, first.drain, second.drain) == (3, 1, 4, 4)
    assert (first.loads, second.loads) == (("IF", "FL"), ("FL",))
    assert (first.loaded, first.begun, first.finished) == (5, 5, 9 + overhead)
    assert (first.drained, second.loaded, second.begun) == (13 + overhead, 6, 9 + overhead)
    assert (second.finished, second.drained) == (13 + 2 * overhead, 17 + 2 * overhead)
    assert done.cycles == 19 + 2 * overhead
    assert done.jobs == [(2, 2), (done.cycles, 2)]
    expected = {"dram": 4, "fill": 3 + 2 * overhead, "executed": 8, "drain_bound": 4}
    assert nonzero_slots(done) == expected
    assert (done.hops, done.reduced) == (4 + 2 + 8, 0)
    assert totals(done)["storage", "read"] == 3 + 2


@pytest.mark.parametrize(("ports", "cycles", "load"), [("separate", 24, 0), ("shared", 25, 1)])
def test_a_shared_port_drains_before_it_loads(ports, cycles, load):
    machine = machine_of(ports=ports)
    done = pointwise([[1, 1, 1, 4]], [[2], [1], [1]], descriptor_of(OX=4), machine)
    assert (done.cycles, done.slots["load"][0]) == (cycles, load)


def test_four_rounds_that_spill_by_hand():
    # Loads 2, 1, 6, 5 (psums 8 bytes each); computes 2; drains 8, 8, 2, 2.
    # Round 2 loads when round 0 is drained, 14; round 3 when round 1 is, 22.
    descriptor = descriptor_of(OX=2, order=["IC", "OC"])
    done = pointwise([[1, 2], [3, 4]], [[1, 1], [2, 1]], descriptor, machine_of())
    assert done.psums[0, :, 0].tolist() == [[4, 6], [5, 8]]
    assert [this.load for this in done.rounds] == [2, 1, 6, 5]
    assert [this.drain for this in done.rounds] == [8, 8, 2, 2]
    assert [this.reloads for this in done.rounds] == [None, None, 0, 1]
    assert [this.begin for this in done.rounds] == [2, 4, 14, 22]
    assert [this.loaded for this in done.rounds] == [4, 5, 20, 27]
    assert [this.begun for this in done.rounds] == [4, 6, 20, 27]
    assert [this.finished for this in done.rounds] == [6, 8, 22, 29]
    assert [this.drained for this in done.rounds] == [14, 22, 24, 31]
    assert done.cycles == 32
    expected = {"dram": 3, "fill": 2, "executed": 8, "load": 12 + 5, "drain_bound": 2}
    assert nonzero_slots(done) == expected
    assert done.hops == (3 + 1 + 11 + 9) + (8 + 8 + 2 + 2)
    sizes = totals(done, "bytes")
    assert sizes["rf_of", "write"] == 8 * 4 + 16  # windows and reloads
    assert sizes["rf_of", "read"] == 4 * 8
    assert sizes["storage", "write"] == 8 + 20


def test_three_tiles_by_hand():
    # Job 1 begins when round 0 is loaded, 4; job 2 writes tile 0 and begins when it is drained, 6.
    descriptor = descriptor_of(tile={"OX": 1})
    done = pointwise([[1, 2, 3]], [[1]], descriptor, machine_of())
    assert done.jobs == [(2, 2), (5, 1), (8, 2), (13, 2)]
    assert [this.load for this in done.rounds] == [2, 1, 1]
    assert [this.loaded for this in done.rounds] == [4, 6, 9]
    assert [this.drained for this in done.rounds] == [6, 8, 11]
    assert nonzero_slots(done) == {"dram": 5, "fill": 2, "executed": 3, "load": 2, "drain_bound": 1}
    assert totals(done)["dram", "read"] == 4 and totals(done)["dram", "write"] == 3


def test_a_job_waits_until_the_tile_two_before_is_drained():
    # Job 2 reads 4 bytes and writes 4 that have left at 13.
    done = pointwise([[1] * 12], [[1]], descriptor_of(OX=4, tile={"OX": 4}), machine_of())
    assert done.jobs == [(2, 2), (6, 1), (15, 2), (27, 2)]
    assert [this.begun for this in done.rounds] == [5, 9, 17]
    assert [this.drained for this in done.rounds] == [13, 17, 25]
    expected = {"dram": 6, "fill": 3, "load": 2, "executed": 12, "drain_bound": 4}
    assert nonzero_slots(done) == expected


def test_a_job_waits_until_the_tile_before_begins_to_be_worked_on():
    # Tiles of a reduction: nothing leaves before the end. Jobs begin when 6 and 12 are loaded.
    descriptor = descriptor_of(OX=8, tile={"IC": 1})
    done = pointwise([[1] * 8] * 3, [[1] * 3], descriptor, machine_of(column_bytes=8))
    assert done.jobs == [(3, 3), (9, 3), (15, 3), (40, 2)]
    assert [this.loaded for this in done.rounds] == [6, 12, 18]
    assert [this.begun for this in done.rounds] == [6, 14, 22]


def test_the_first_round_of_a_tile_waits_for_dram_though_it_loads_nothing():
    # Tiles 1 and 2 lie in the padding. Job 2 writes tile 0, drained at 6.
    done = of_rows([[1]], [[1]], 3, descriptor_of(tile={"OY": 1}), machine_of())
    assert [this.load for this in done.rounds] == [2, 0, 0]
    assert done.jobs == [(2, 2), (4, 0), (7, 1), (11, 2)]
    assert [this.loaded for this in done.rounds] == [4, 4, 7]
    assert [this.begun for this in done.rounds] == [4, 5, 7]
    expected = {"dram": 5, "fill": 2, "executed": 1, "ineffectual": 2, "drain_bound": 1}
    assert nonzero_slots(done) == expected


def test_who_waits_only_for_the_drain_does_not_wait_for_a_barrier():
    # Rounds 1 and 2 are padding. VPE 0 ends round 1 at 6, VPE 1 begins it at 11; drained[0] is 13.
    descriptor = descriptor_of(IC=7, columns={"OX": 2}, sparsity="activation")
    machine = machine_of(1, 2, column_bytes=16, read_bytes=16, bytes_per_cycle=64)
    done = of_rows([[0, 1]] * 6 + [[1, 1]], [[1] * 7], 3, descriptor, machine)
    assert [this.compute for this in done.rounds] == [[1, 7], [1, 1], [1, 1]]
    assert [this.start for this in done.rounds] == [[4, 4], [5, 11], [13, 13]]
    expected = {"dram": 3, "fill": 2, "executed": 1, "empty": 2, "drain_bound": 7 + 3}
    assert nonzero_slots(done) == expected


@pytest.mark.parametrize("barrier", ["vpe", "column", "array"])
def test_domains_by_hand(barrier):
    # Filter 0 works in VPE 0 for 2 cycles, in VPE 1 for an empty window; filter 1 the reverse.
    # IF 5 bytes, FL 3: loads 3 and 1, DRAM 2 + 2; drains 2. Both rounds are loaded at 7 and 8.
    x, w = [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 1, 0, 0], [0, 0, 1, 1]]
    descriptor = descriptor_of(IC=4, columns={"OX": 2}, sparsity="both")
    done = pointwise(x, w, descriptor, machine_of(1, 2, column_bytes=4, barrier=barrier))
    assert [this.compute for this in done.rounds] == [[2, 1], [1, 2]]
    assert [this.loaded for this in done.rounds] == [7, 8]
    common = {"dram": 5, "fill": 3, "executed": 2, "empty": 1}
    if barrier == "array":
        assert [this.begun for this in done.rounds] == [7, 9]
        assert [this.finished for this in done.rounds] == [9, 11]
        slots = {**common, "barrier": 1, "drain_bound": 2}
    else:  # a column is a VPE here
        assert [this.start for this in done.rounds] == [[7, 7], [9, 8]]
        assert [this.finished for this in done.rounds] == [9, 10]
        slots = {**common, "drain_bound": 3}
    assert nonzero_slots(done, 0) == nonzero_slots(done, 1) == slots
    assert done.cycles == 14
    assert done.hops == (3 + 3) * 2 + 3 * 2 + 4


def test_a_vpe_waits_for_a_slower_domain_and_then_for_the_load():
    # VPE 0 takes 1 cycle a round, VPE 1 takes 3.
    x = [[0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1]]
    descriptor = descriptor_of(IC=3, columns={"OX": 2}, sparsity="activation", order=["OX"])
    done = pointwise(x, [[1, 1, 1]], descriptor, machine_of(1, 2, column_bytes=4))
    assert [this.compute[:2] for this in done.rounds] == [[1, 3]] * 3
    # Boxes: array 4 + 1 bytes; columns 1 + 1 and 3 + 1; FL 3. Load 0: max(2 + 1, 7/4) = 3, then 2.
    assert [this.load for this in done.rounds] == [3, 2, 2]
    # Job 0: IF 12 + 3 = 15 bytes, FL 3: filled 4 + 1 = 5.
    assert [this.begin for this in done.rounds] == [5, 8, 11]
    assert [this.start for this in done.rounds] == [[8, 8], [10, 11], [13, 14]]
    # Drains take 2: drained 13, 16, 19; VPE 0 ends at 9, 11, 14.
    assert [this.drained for this in done.rounds] == [13, 16, 19]
    # VPE 0: 9..10 load; 11..13 load; 14..17 barrier.
    first = {"dram": 5 + 2, "fill": 3, "executed": 3, "load": 1 + 2, "barrier": 3, "drain_bound": 2}
    assert nonzero_slots(done, 0) == first
    assert nonzero_slots(done, 1) == {"dram": 7, "fill": 3, "executed": 9, "drain_bound": 2}
    assert done.cycles == 21


def test_waiting_for_another_domains_start_is_a_barrier():
    # Round 2's load begins with round 1 of VPE 1, at 15: until then VPE 0 waits for the barrier.
    x = [[0, 1, 0, 1, 0, 1]] * 6 + [[1] * 6]
    descriptor = descriptor_of(IC=7, columns={"OX": 2}, sparsity="activation")
    machine = machine_of(1, 2, column_bytes=16, read_bytes=16, bytes_per_cycle=64)
    done = pointwise(x, [[1] * 7], descriptor, machine)
    assert [this.compute for this in done.rounds] == [[1, 7]] * 3
    assert [this.load for this in done.rounds] == [2, 1, 1]
    # filled 2; loaded 4, 5; VPE 0: 4..5, 5..6; VPE 1: 4..11, 11..18. Round 2: 11, loaded 12.
    assert [this.start for this in done.rounds] == [[4, 4], [5, 11], [13, 18]]
    assert [this.begin for this in done.rounds] == [2, 4, 11]
    # drained[0] = 13: VPE 0 waits 6..11 barrier, ..12 load, ..13 drain; then 14..25 barrier.
    slots = nonzero_slots(done, 0)
    assert slots == {
        "dram": 3, "fill": 2, "executed": 3, "barrier": 5 + 11, "load": 1, "drain_bound": 1 + 2,
    }  # fmt: skip


def test_short_and_absent_blocks_wait_for_rounding():
    # Filters 0..3 of 5 and 4: VPE 1 has 2 and none; VPE 0 has 2 and 1. K is 2, then 1.
    x, w = [[1]], [[1]] * 5
    descriptor = descriptor_of(OC=2, columns={"OC": 2})
    done = pointwise(x, w, descriptor, machine_of(1, 2, barrier="array"))
    assert [this.compute for this in done.rounds] == [[2, 2], [1, None]]
    assert (done.slots["rounding"], done.slots["barrier"]) == ([0, 1], [0, 0])
    # Filters 0..1 and 2: VPE 1 has a short block, of one window.
    done = pointwise(x, w[:3], descriptor, machine_of(1, 2, barrier="array"))
    assert [this.compute for this in done.rounds] == [[2, 1]]
    assert (done.slots["rounding"], done.slots["barrier"]) == ([0, 1], [0, 0])


def test_a_vpe_without_work_is_sent_nothing():
    descriptor = descriptor_of(columns={"OC": 2}, order=["OC", "OX"])
    done = pointwise([[1, 1]], [[1]] * 3, descriptor, machine_of(1, 2))
    assert [this.loads for this in done.rounds] == [("IF", "FL"), ("IF",), ("IF", "FL"), ("IF",)]
    assert [done.counts[1 + v, "rf_if", "write"] for v in range(2)] == [4, 2]
    assert [done.counts[1 + v, "rf_fl", "write"] for v in range(2)] == [2, 1]


def test_a_block_of_padded_channels_is_not_short():
    # 5 channels, blocks of 8: VPE 0 has 1 pair, VPE 1 two in lanes 0 and 1.
    x = [[1, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    descriptor = descriptor_of(IC=8, columns={"OX": 2}, sparsity="activation")
    done = pointwise(x, [[1] * 5], descriptor, machine_of(1, 2, 4, barrier="array"))
    assert [this.compute for this in done.rounds] == [[1, 2]]
    assert (done.slots["rounding"], done.slots["barrier"]) == ([1, 2], [4, 0])


def test_lanes_by_hand():
    # vxv: 5 channels are c = 2 for lanes 0, 1, one for lane 2, none for lane 3; 2 cycles.
    machine = machine_of(1, 1, 4)
    done = pointwise([[1], [0], [1], [1], [1]], [[1] * 5], descriptor_of(IC=8), machine)
    assert [this.compute for this in done.rounds] == [[2]]
    slots = {cause: done.slots[cause][0] for cause in
             ("executed", "ineffectual", "imbalance", "rounding")}  # fmt: skip
    assert slots == {"executed": 4, "ineffectual": 1, "imbalance": 1, "rounding": 2}
    # mxm: runs of 4 and 1 output channels, 5 cycles each.
    descriptor = descriptor_of(IC=5, OC=8, lanes="mxm")
    done = pointwise([[1], [0], [1], [1], [1]], [[1] * 5] * 5, descriptor, machine)
    assert [this.compute for this in done.rounds] == [[10]]
    assert (done.slots["rounding"], done.slots["imbalance"]) == ([15], [0])
    assert (done.slots["executed"], done.slots["ineffectual"]) == ([20], [5])
    assert done.counts[1, "rf_if", "read"] == 10 and done.counts[1, "rf_fl", "read"] == 25
    assert (done.counts[1, "rf_of", "write"], done.bytes[1, "rf_of", "write"]) == (2, 16 + 4)
    # Bitmaps of 5 positions: of one sub-bank, and of four lanes.
    descriptor = descriptor_of(IC=5, OC=4, lanes="mxm", sparsity="both")
    done = pointwise([[1], [0], [1], [1], [1]], [[1, 1, 0, 1, 1]] * 4, descriptor, machine)
    assert [this.compute for this in done.rounds] == [[3]]
    assert done.bytes[1, "bitmap_if", "read"] == 1 and done.bytes[1, "bitmap_fl", "read"] == 3
    assert done.counts[1, "rf_if", "read"] == 3 and done.counts[1, "rf_fl", "read"] == 12


def test_skipping_by_hand():
    # Lane 0: channels 0, 1, lane 1: channels 2, 3. Pairs: activations both non-zero, 1 and 2.
    x, w = [[1], [0], [2], [3]], [[1, 1, 1, 0]]
    cycles = {}
    for sparsity in ("dense", "activation", "weight", "both"):
        descriptor = descriptor_of(IC=4, sparsity=sparsity)
        done = pointwise(x, w, descriptor, machine_of(1, 1, 2))
        lost = done.slots["ineffectual"][0], done.slots["imbalance"][0]
        cycles[sparsity] = (done.rounds[0].compute[0], *lost)
        assert done.psums.item() == 3
    expected = {"dense": (2, 2, 0), "activation": (2, 1, 1), "weight": (2, 1, 1), "both": (1, 0, 0)}
    assert cycles == expected
    descriptor = descriptor_of(IC=4, sparsity="both")  # shares of .75 do not pay below .75
    done = pointwise(x, w, descriptor, machine_of(1, 1, 2, pays_below=0.75))
    assert done.rounds[0].compute == [2] and (1, "bitmap_if", "write") not in done.counts


@pytest.mark.parametrize(("kind", "depth"), [("tree", 2), ("chain", 3)])
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_reductions_by_hand(kind, depth, axis):
    # m = 3 points, 2 a cycle: depth + 2, and 3 bytes to drain.
    x, w = [[1, 2, 3]] * 4, [[1, 2, 3, 4]]
    shape = (4, 1) if axis == "rows" else (1, 4)
    machine = machine_of(*shape, reduced_per_cycle=2)
    descriptor = descriptor_of(OX=3, reduction=kind, **{axis: {"IC": 4}})
    done = pointwise(x, w, descriptor, machine, accesses=True)
    assert done.psums[0, 0, 0].tolist() == [10, 20, 30]
    (this,) = done.rounds
    left = [access for access in done.accesses if access[0] >= this.leave and access[1] == 0]
    assert left[0] == (this.leave + depth + 2, 0, "storage", "write", 3)
    assert (this.tree, this.drain) == (depth + 2, depth + 2 + 3)
    assert done.reduced == 3 * 3
    assert [done.bytes[1 + v, "rf_of", "read"] for v in range(4)] == [12] * 4
    # A VPE takes 3 + 1 bytes; SRAM sends 12 + 4 in 3 + 1 words; a column takes 16, or 4.
    assert (this.load, done.hops) == (8 if axis == "rows" else 4, 16 + 3)


def test_a_dimension_over_both_axes_has_neighbouring_blocks_in_a_column():
    # Column j of 2 holds columns 2j and 2j + 1 of the ofmap in its rows: p = 2b + a.
    x, w = [[0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]], [[1, 1, 1]]
    descriptor = descriptor_of(IC=3, rows={"OX": 2}, columns={"OX": 2}, sparsity="activation")
    done = pointwise(x, w, descriptor, machine_of(2, 3))
    assert [this.compute for this in done.rounds] == [[1, 2, None, 3, 1, None]]
    assert done.slots["unused"] == [0, 0, done.cycles] * 2
    # Column 0 takes 3 + 1 bytes of IF, column 1 takes 3 + 1, and 3 of FL each.
    assert [done.counts[v, "bitmap_if", "write"] for v in (1, 2, 4, 5)] == [1] * 4
    assert (done.rounds[0].load, done.hops) == (4, 6 + 4 * (1 + 3) + 4)


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_psums_come_back_only_to_the_first_of_a_reduction(axis):
    # IC: 2 partitions x 2 blocks; OC outside changes in between, so that psums of 2 points spill.
    x = [[0, 0], [1, 2]] * 2
    descriptor = descriptor_of(OX=2, order=["IC", "OC"], sparsity="activation", **{axis: {"IC": 2}})
    machine = machine_of(*((2, 1) if axis == "rows" else (1, 2)))
    done = pointwise(x, [[1] * 4] * 2, descriptor, machine)
    assert [this.loads for this in done.rounds[2:]] == [("IF", "FL", "psums"), ("FL", "psums")]
    written = [done.bytes[1 + v, "rf_of", "write"] for v in range(2)]
    assert written == [2 * 8, 4 * 8]  # the windows of VPE 0 are empty
    # One column takes it all: IF 2 + 1, FL 2, psums 8. Or column 0: 0 + 1, 1, 8; 1: 2 + 1, 1.
    assert done.rounds[2].load == (7 if axis == "rows" else 5)


def test_psums_are_reduced_when_they_leave():
    done = pointwise([[1]] * 4, [[1] * 4], descriptor_of(rows={"IC": 2}), machine_of(2, 1))
    assert [this.drain for this in done.rounds] == [0, 1 + 1 + 1]
    assert done.reduced == 1
    assert [this.leave for this in done.rounds] == [None, done.rounds[1].finished]


def test_digits_of_a_row_are_in_the_order_of_the_dimensions_the_last_one_fastest():
    x, w = [[1, 1], [0, 1], [0, 1]], [[1, 1, 1], [2, 2, 2]]
    descriptor = descriptor_of(IC=3, rows={"OC": 2, "OX": 2}, sparsity="activation")
    done = pointwise(x, w, descriptor, machine_of(4, 1))
    assert [this.compute for this in done.rounds] == [[1, 1, 3, 3]]


def test_rounds_and_tiles_follow_their_orders_and_then_that_of_the_dimensions():
    def blocks(**fields):
        done = pointwise([[1, 2, 3, 4]], [[1]] * 2, descriptor_of(**fields), machine_of())
        return [(this.ranges["OX"][0], this.ranges["OC"][0]) for this in done.rounds]

    assert blocks(OX=2) == [(0, 0), (0, 1), (2, 0), (2, 1)]
    assert blocks(OX=2, order=["OC"]) == [(0, 0), (2, 0), (0, 1), (2, 1)]
    assert blocks(OX=2, order=["OX", "OC"]) == blocks(OX=2)
    tile = {"OX": 2, "OC": 1}
    inside = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1)]
    assert blocks(tile=tile) == inside
    inside = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 1), (3, 1)]
    assert blocks(tile=tile, tile_order=["OC"]) == inside


def test_multicast_reads_the_sram_once_and_counts_each_vpe_on_the_bus():
    descriptor = descriptor_of(rows={"OC": 2}, columns={"OX": 2})
    done = pointwise([[1, 2]], [[1], [1]], descriptor, machine_of(2, 2))
    assert done.bytes[0, "storage", "read"] == 2 + 2 + 4  # and what DRAM writes
    assert done.hops == 4 * (1 + 1) + 4
    assert {done.counts[1 + v, "rf_if", "write"] for v in range(4)} == {1}


def test_the_padding_is_neither_loaded_nor_skipped_where_activations_are_dense():
    x, w = np.ones((1, 1, 2, 2), int), np.ones((1, 1, 3, 3), int)
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1), "groups": 1, "ofmap": (2, 2)}
    descriptor = descriptor_of(OX=2, OY=2, FX=3, FY=3)
    done = run_layer(x, w, shape, descriptor, machine_of())
    assert done.bytes[0, "dram", "read"] == 4 + 9
    assert done.bytes[1, "rf_if", "write"] == 4 and done.bytes[1, "rf_if", "read"] == 36
    assert (done.slots["executed"], done.slots["ineffectual"]) == ([16], [20])
    assert done.psums.reshape(-1).tolist() == [4] * 4


def test_balance_takes_filters_with_more_weights_first():
    w = [[1, 0, 0], [1, 1, 1], [0, 0, 2], [1, 1, 0]]
    for balance, computes in ((False, [1, 3, 1, 2]), (True, [3, 2, 1, 1])):
        descriptor = descriptor_of(IC=3, balance=balance, sparsity="weight")
        done = pointwise([[1], [2], [4]], w, descriptor, machine_of())
        assert [this.compute[0] for this in done.rounds] == computes
        assert done.psums.reshape(-1).tolist() == [1, 7, 8, 3]


def test_boxes_of_a_group_are_its_own():
    x = np.array([1, 0, 1, 1]).reshape(1, 4, 1, 1)
    w = np.array([[1, 1], [0, 1]]).reshape(2, 2, 1, 1)
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 2, "ofmap": (1, 1)}
    y_nonzero = np.array([True, False]).reshape(1, 2, 1, 1)
    descriptor = descriptor_of(IC=2, sparsity="both", tile={"G": 1})
    done = run_layer(x, w, shape, descriptor, machine_of(), y_nonzero)
    assert done.psums.reshape(-1).tolist() == [1, 1]
    assert done.bytes[1, "rf_if", "write"] == 1 + 2 and done.counts[1, "rf_if", "write"] == 2
    assert done.bytes[1, "rf_fl", "write"] == 2 + 1 and done.counts[1, "rf_fl", "write"] == 2
    assert done.bytes[0, "dram", "read"] == (1 + 1) + (2 + 1) + (2 + 1) + (1 + 1)
    assert done.bytes[0, "dram", "write"] == (1 + 1) + (0 + 1)


def test_outputs_leave_dram_compressed_where_it_pays():
    y_nonzero = np.array([1, 0, 0, 0], bool).reshape(1, 1, 1, 4)
    for sparsity, n_bytes in (("both", 1 + 1), ("activation", 2), ("weight", 4), ("dense", 4)):
        descriptor = descriptor_of(OX=4, sparsity=sparsity)
        done = pointwise([[1, 1, 1, 1]], [[1]], descriptor, machine_of(), y_nonzero=y_nonzero)
        assert done.bytes[0, "dram", "write"] == n_bytes
        assert done.bytes[0, "storage", "write"] == 4 + 4 + 1  # the drain, and IF and FL


@pytest.mark.parametrize("sparsity", ["dense", "both"])
def test_every_access_of_a_small_layer_by_hand(sparsity):
    done = pointwise([[3], [0]], [[2, 5]], descriptor_of(IC=2, sparsity=sparsity), machine_of(),
                     accesses=True)  # fmt: skip
    jobs = [
        (0, 0, "dram", "read", 2),
        (0, 0, "storage", "write", 2),
        (1, 0, "dram", "read", 2),
        (1, 0, "storage", "write", 2),
    ]
    loads = [
        (2, 0, "storage", "read", 2),
        (2, 1, "rf_fl", "write", 2),
        (3, 0, "storage", "read", 2),
    ]
    pair = [(4, 1, "acc", "write", 4), (4, 1, "rf_fl", "read", 1), (4, 1, "rf_if", "read", 1)]
    end = [
        (0, 1, "rf_of", "read", 4),
        (0, 0, "storage", "write", 1),
        (1, 0, "storage", "read", 1),
        (1, 0, "dram", "write", 1),
    ]
    if sparsity == "dense":
        loads.append((2, 1, "rf_if", "write", 2))
        pair += [(5, *access[1:]) for access in pair]
        pair.append((5, 1, "rf_of", "write", 4))
        finished = 6
    else:  # one non-zero and its bitmap; the weights are dense
        loads += [(2, 1, "rf_if", "write", 1), (2, 1, "bitmap_if", "write", 1)]
        pair += [(4, 1, "bitmap_if", "read", 1), (4, 1, "rf_of", "write", 4)]
        finished = 5
    end = [(finished + cycle, *rest) for cycle, *rest in end]
    assert done.accesses == sorted(jobs + loads + pair + end)
    assert done.cycles == finished + 2 and done.psums.item() == 6


def test_accesses_are_listed_only_when_asked_for():
    assert pointwise([[3]], [[2]], descriptor_of(), machine_of()).accesses is None
