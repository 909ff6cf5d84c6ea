"""The search of descriptors: complete over its set, legal, and never worse than fixed dataflows."""

import itertools
from functools import cache

import numpy as np
import pytest
from candidate_set import candidates, completed, flows_of
from slow_estimate import Twin
from test_flexnn_estimate import energies

from firemesh.emulator.flexnn.dataflows import DATAFLOWS
from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import LayerDims
from firemesh.emulator.flexnn.estimate import Densities, estimate
from firemesh.emulator.flexnn.machine import FlexMachine
from firemesh.emulator.flexnn.rules import broken
from firemesh.emulator.flexnn.scheduler import (
    FLEXIBLE,
    OBJECTIVES,
    Kept,
    Search,
    candidates_for,
    search,
)
from firemesh.emulator.machine import MachineError
from firemesh.emulator.machine import machine as find_machine

CLOSE = 1 + 4e-6
"""The objective that is not sought decides ties: it weighs a millionth."""
EDGE = find_machine("flexnn-edge")
FLOWS = (None, *DATAFLOWS)


def small(**changes):
    """Return a machine on which small layers need tiles; changes are section__field."""
    tree = {
        "name": "small",
        "clock_hz": 10**9,
        "energy": "eyeriss",
        "array": {"rows": 2, "columns": 2, "lanes": 2},
        "rf": {"banks": 9, "bank_bytes": 8},
        "sram": {"bytes": 120, "read_bytes": 2, "write_bytes": 2},
        "sdn": {"column_bytes": 1, "drain_bytes": 1, "reduced_per_cycle": 1},
        "sparsity": {"modes": ["dense", "both"]},
        "dram": {"bytes_per_cycle": 1},
        "noc": {},
    }
    for name, value in changes.items():
        section, _, field = name.partition("__")
        if field:
            tree[section] = tree[section] | {field: value}
        else:
            tree[section] = value
    return FlexMachine.parse(tree, "small")


CASES = {
    "pointwise": (
        LayerDims((1, 1, 2, 1, 3, 4, 1, 1), ifmap=(2, 1)),
        small(array__reductions=["tree"]),
        Densities(0.5, 0.5),
    ),
    "strided": (
        LayerDims((1, 1, 1, 4, 3, 3, 1, 2), (1, 2), (1, 1), (0, 1), (1, 7)),
        small(array__columns=1, array__lane_modes=["vxv"], sram__bytes=60),
        Densities(0.3, 1.0),
    ),
    "depthwise": (
        LayerDims((1, 3, 2, 2, 1, 1, 2, 1), ifmap=(3, 2)),
        small(energy="mnf-table5", sparsity={"modes": ["both"], "barrier": "column"}),
        Densities(0.6, 0.9),
    ),
    "batch": (
        LayerDims((2, 1, 1, 1, 4, 5, 1, 1)),
        small(array__rows=3, sram__ports="shared", sram__bytes=70),
        Densities(1.0, 1.0),
    ),
    "mesh": (
        LayerDims((1, 1, 2, 2, 2, 2, 1, 1), ifmap=(2, 2)),
        small(
            sdn__kind="mesh",
            sdn__column_bytes=4,
            sdn__drain_bytes=4,
            noc__flit_bits=16,
            sdn__round_overhead_cycles=2,
            rf__banks=7,
        ),
        Densities(0.4, 0.4),
    ),
}


@cache
def everything(name):
    """Return all legal candidates of a case with their dataflows and estimates."""
    layer, machine, densities = CASES[name]
    return [
        (found, flows_of(found, layer, machine), estimate(Cut(found, layer), machine, densities))
        for found in candidates(layer, machine)
    ]


def least(priced, objective, flow):
    return min(e.cost(objective) for _, flows, e in priced if flow is None or flow in flows)


@pytest.mark.parametrize("name", CASES)
def test_no_candidate_of_the_set_is_better(name):
    priced = everything(name)
    assert len(priced) > 1000
    for objective in OBJECTIVES:
        for flow in FLOWS:
            found = search(*CASES[name], objective, flow)
            wanted = least(priced, objective, flow)
            best = found.candidates[0].estimate.cost(objective)
            assert wanted / CLOSE <= best <= wanted * CLOSE, (objective, flow)


@pytest.mark.parametrize("name", CASES)
def test_the_kept_ones_are_the_best_of_the_set(name):
    costs = {}
    for found, _, e in everything(name):
        # a search takes one of the orders with the same innermost loops, and one of the
        # sparsities that skip the same
        key = str((found.block, found.rows, found.columns, found.tile, found.lanes))
        costs.setdefault(key, []).append(e.energy_pj)
    found = search(*CASES[name], "energy", keep=12).candidates
    assert len(found) == 12
    distinct = sorted(min(values) for values in costs.values())
    kept = [candidate.estimate.energy_pj for candidate in found]
    assert kept == sorted(kept)
    assert kept[0] == pytest.approx(distinct[0], rel=4e-6)
    assert kept[-1] <= distinct[11] * CLOSE


def test_no_candidate_is_better_by_the_slow_twin_of_the_estimate():
    layer, machine = LayerDims((1, 1, 2, 1, 2, 3, 1, 1), ifmap=(2, 1)), small(sram__bytes=40)
    densities, pj = Densities(0.5, 0.7), energies(machine)
    costs = {flow: [] for flow in FLOWS}
    for found in candidates(layer, machine, is_all=True):
        cost = Twin(layer, found, machine, densities, pj).cost
        for flow in (None, *flows_of(found, layer, machine)):
            costs[flow].append((*cost, cost[0] * cost[1]))
    assert len(costs[None]) > 500
    for flow, all_costs in costs.items():
        for i, objective in enumerate(OBJECTIVES):
            found = search(layer, machine, densities, objective, flow, "all")
            wanted = min(cost[i] for cost in all_costs)
            assert found.candidates[0].estimate.cost(objective) == pytest.approx(wanted, rel=4e-6)


LAYERS = {
    "conv 7x7 s2": LayerDims((1, 1, 112, 112, 64, 3, 7, 7), (2, 2), (1, 1), (3, 3), (224, 224)),
    "conv 3x3": LayerDims((1, 1, 14, 14, 256, 256, 3, 3), pads=(1, 1), ifmap=(14, 14)),
    "conv 1x1": LayerDims((1, 1, 28, 28, 96, 192, 1, 1), ifmap=(28, 28)),
    "depthwise": LayerDims((1, 144, 56, 56, 1, 1, 3, 3), pads=(1, 1), ifmap=(56, 56)),
    "grouped": LayerDims((1, 2, 27, 27, 128, 48, 5, 5), pads=(2, 2), ifmap=(27, 27)),
    "linear": LayerDims((1, 1, 1, 1, 1000, 2048, 1, 1)),
    "batch": LayerDims((4, 1, 7, 7, 64, 48, 3, 3), pads=(1, 1), ifmap=(7, 7)),
}


@cache
def found_by_flow(name, objective):
    return {flow: search(LAYERS[name], EDGE, Densities(), objective, flow) for flow in FLOWS}


SOUGHT = list(zip(LAYERS, itertools.cycle(OBJECTIVES), strict=False))


@pytest.mark.parametrize(("name", "objective"), SOUGHT)
def test_a_flexible_descriptor_is_never_worse_than_a_fixed_dataflow(name, objective):
    found = found_by_flow(name, objective)
    best = {flow: f.candidates[0].estimate.cost(objective) for flow, f in found.items()}
    assert best[None] <= min(best.values()) * CLOSE


@pytest.mark.parametrize(("name", "objective"), SOUGHT)
def test_candidates_are_legal_keep_their_dataflow_and_are_told_apart(name, objective):
    layer = LAYERS[name]
    for flow, found in found_by_flow(name, objective).items():
        assert 1 <= len(found.candidates) <= 8
        costs = [candidate.estimate.cost(objective) for candidate in found.candidates]
        assert all(a <= b * CLOSE for a, b in zip(costs, costs[1:], strict=False))
        descriptors = [candidate.descriptor for candidate in found.candidates]
        assert all(descriptors.count(one) == 1 for one in descriptors)
        for candidate in found.candidates:
            cut = Cut(candidate.descriptor, layer)
            assert list(broken(cut, EDGE)) == []
            assert candidate.origin == (flow or FLEXIBLE)
            assert flow is None or DATAFLOWS[flow](cut, EDGE.array.lanes) is None
            assert candidate.estimate == estimate(cut, EDGE, Densities())


@pytest.mark.parametrize(("name", "objective"), SOUGHT)
def test_what_was_seen_is_pruned_or_priced(name, objective):
    for found in found_by_flow(name, objective).values():
        n = found.counts
        assert n.partitions > 0 and n.schedules_priced > 0
        over = n.blocks_over_banks + n.blocks_over_sram
        assert n.blocks == over + n.blocks_bounded + n.blocks_opened
        assert n.schedules == n.schedules_bounded + n.schedules_over_sram + n.schedules_priced


@pytest.mark.parametrize(("name", "objective"), SOUGHT)
def test_none_of_many_random_candidates_is_better(name, objective):
    """Draws partitions, blocks and tiles of the set; of a real layer it is too large to list."""
    rng, layer, n_tried = np.random.default_rng(7), LAYERS[name], 0
    best = found_by_flow(name, objective)[None].candidates[0].estimate.cost(objective)
    for fields in drawn(rng, layer, 300):
        for found in completed(fields, layer, EDGE):
            priced = estimate(Cut(found, layer), EDGE, Densities())
            n_tried += 1
            assert best <= priced.cost(objective) * CLOSE
            if rng.random() < 0.5:
                break
    assert n_tried > 50


def drawn(rng, layer, n):
    """Yield random fields of the set `candidate_set.raw`."""
    import candidate_set as s

    sizes = dict(zip(s.NAMES, layer.sizes, strict=True))
    parts = {}
    for mode in EDGE.array.lane_modes:
        units = {d: 1 for d in s.NAMES} | {"IC" if mode == "vxv" else "OC": EDGE.array.lanes}
        parts[mode] = units, list(s.partitions(sizes, units, EDGE.array, False))
    for _ in range(n):
        mode = str(rng.choice(list(parts)))
        units, options = parts[mode]
        rows, columns = options[rng.integers(len(options))]
        block, tile = {}, {}
        for d in s.NAMES:
            whole = units[d] * rows.get(d, 1) * columns.get(d, 1)
            quotient = s.over(sizes[d], whole)
            chosen = [1, quotient] if d in ("FY", "FX") else s.values(quotient, False)
            block[d] = units[d] * int(rng.choice(chosen[:3]))
            step = block[d] * rows.get(d, 1) * columns.get(d, 1)
            if d in s.TILED:
                values = s.values(s.over(sizes[d], step), False)
                tile[d] = min(step * int(rng.choice(values)), sizes[d])
        yield {
            "block": block, "rows": rows, "columns": columns, "tile": tile,
            "lanes": mode, "sparsity": str(rng.choice(EDGE.sparsity.modes)),
        }  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_kernel_finds_the_costs_of_the_estimate(objective):
    layer = LAYERS["conv 3x3"]
    seeker = Search(layer, EDGE, Densities(0.4, 0.6), objective)
    kept = Kept((FLEXIBLE,), (8,))
    seeker.run(kept)
    a, b = seeker.weights()
    for cost, candidate in zip(kept.cost[0], seeker.found(kept, FLEXIBLE), strict=True):
        e = candidate.estimate
        wanted = e.cost("edp") if objective == "edp" else a * e.cycles + b * e.energy_pj
        assert cost == pytest.approx(wanted, rel=1e-12)


def test_more_candidates_are_never_worse():
    layer = LayerDims((1, 1, 13, 1, 20, 24, 1, 1), ifmap=(13, 1))
    for objective in OBJECTIVES:
        few, many = (
            search(layer, EDGE, Densities(), objective, None, name) for name in ("default", "all")
        )
        assert many.counts.partitions > few.counts.partitions
        assert many.candidates[0].estimate.cost(objective) <= CLOSE * (
            few.candidates[0].estimate.cost(objective)
        )


def test_candidates_for_the_engine_are_the_best_and_each_dataflows_best_once():
    layer = LAYERS["linear"]
    found = candidates_for(layer, EDGE, Densities(), "energy")
    descriptors = [candidate.descriptor for candidate in found]
    assert all(descriptors.count(one) == 1 for one in descriptors)
    assert [candidate.origin for candidate in found[:8]] == [FLEXIBLE] * 8
    assert descriptors[:8] == [
        candidate.descriptor for candidate in found_by_flow("linear", "energy")[None].candidates
    ]
    for flow in DATAFLOWS:
        best = found_by_flow("linear", "energy")[flow].candidates[0].estimate.energy_pj
        ones = [
            candidate.estimate.energy_pj
            for candidate in found
            if DATAFLOWS[flow](Cut(candidate.descriptor, layer), EDGE.array.lanes) is None
        ]
        assert min(ones) == pytest.approx(best, rel=4e-6)
    only = candidates_for(layer, EDGE, Densities(), "energy", "row", keep=3)
    assert [candidate.origin for candidate in only] == ["row"] * 3


def test_descriptors_round_trip_through_yaml():
    import yaml

    for found in found_by_flow("grouped", "energy").values():
        for candidate in found.candidates:
            text = candidate.descriptor.to_yaml()
            assert Descriptor.parse(yaml.safe_load(text), "") == candidate.descriptor


@pytest.mark.parametrize(
    ("changes", "field", "wanted"),
    [
        ({"lane_modes": ["vxv"]}, "lanes", {"vxv"}),
        ({"lane_modes": ["mxm"]}, "lanes", {"mxm"}),
        ({"reductions": ["chain"]}, "reduction", {"chain"}),
        ({"reductions": ["tree"]}, "reduction", {"tree"}),
    ],
)
def test_a_restricted_array_restricts_the_set(changes, field, wanted):
    machine = EDGE.replace(**{f"array__{name}": value for name, value in changes.items()})
    found = search(LAYERS["conv 3x3"], machine, Densities(), keep=20)
    used = [candidate.descriptor for candidate in found.candidates]
    assert {getattr(descriptor, field) for descriptor in used} <= wanted or field == "reduction"
    for descriptor in used:
        assert list(broken(Cut(descriptor, LAYERS["conv 3x3"]), machine)) == []


@pytest.mark.parametrize("flow", DATAFLOWS)
def test_a_machine_with_one_dataflow_has_only_this(flow):
    machine = EDGE.replace(array__dataflow=flow)
    found = search(LAYERS["linear"], machine, Densities(), "energy")
    assert found.candidates[0].estimate.energy_pj == pytest.approx(
        found_by_flow("linear", "energy")[flow].candidates[0].estimate.energy_pj
    )
    assert {candidate.origin for candidate in found.candidates} == {flow}
    other = "weight" if flow != "weight" else "input"
    with pytest.raises(MachineError, match=f"^dataflow: flexnn-edge has {flow}, got '{other}'$"):
        search(LAYERS["linear"], machine, Densities(), "energy", other)


@pytest.mark.parametrize(
    ("modes", "densities", "wanted"),
    [
        (("dense", "activation", "weight", "both"), (0.5, 0.5), [3, 2, 1, 0]),
        (("dense", "activation", "weight", "both"), (0.5, 1.0), [1, 0]),
        (("dense", "activation", "weight", "both"), (1.0, 0.5), [2, 0]),
        (("both",), (1.0, 1.0), [3]),
        (("dense", "both"), (0.5, 1.0), [3, 0]),
    ],
)
def test_modes_that_skip_the_same_are_tried_once(modes, densities, wanted):
    names = ("dense", "activation", "weight", "both")
    machine = EDGE.replace(sparsity__modes=modes)
    seeker = Search(LAYERS["linear"], machine, Densities(*densities))
    found = [names.index(name) for name in seeker.sparsities()]
    assert sorted(found) == sorted(wanted) and found[-1] == wanted[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rf__banks": 3, "rf__bank_bytes": 1}, "into 3 sub-banks of 1 bytes"),
        ({"sram__bytes": 64}, "and 64 bytes of SRAM; give more"),
    ],
)
def test_a_layer_that_does_not_fit_is_one_sentence(change, message):
    with pytest.raises(MachineError) as caught:
        search(LAYERS["conv 3x3"], EDGE.replace(**change), Densities())
    told = str(caught.value)
    assert message in told and told.startswith("flexnn-edge: no descriptor of dataflow flexible")
    assert "OC=256" in told and "\n" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speed",), "^objective: must be one of cycles, energy, edp, got 'speed'$"),
        (("cycles", "best"), "^dataflow: must be one of weight, .*, got 'best'$"),
        (("cycles", None, "some"), "^candidates: must be one of default, all, got 'some'$"),
        (("cycles", None, "all", 0), "^keep: must be at least 1, got 0$"),
    ],
)
def test_a_wrong_name_is_told_with_the_known_ones(arguments, message):
    with pytest.raises(MachineError, match=message):
        search(LAYERS["linear"], EDGE, Densities(), *arguments)


def test_a_search_ends_when_its_tick_raises():
    calls = []

    def tick():
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(LAYERS["conv 3x3"], EDGE, Densities(), tick=tick)
    assert len(calls) == 3
