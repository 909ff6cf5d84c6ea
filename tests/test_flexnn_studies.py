"""Studies of mode flexnn: rows add up, and flexible is at most every fixed dataflow."""

import json
from dataclasses import replace

import numpy as np
import pytest

from firemesh.emulator.energy import Activity, energy
from firemesh.emulator.flexnn import scheduler
from firemesh.emulator.flexnn.choice import densities
from firemesh.emulator.flexnn.dataflows import DATAFLOWS as RULES
from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import LayerDims
from firemesh.emulator.flexnn.emulation import FlexEmulation
from firemesh.emulator.flexnn.engine import run_layer
from firemesh.emulator.flexnn.plan import FlexStep, Search
from firemesh.emulator.flexnn.rules import broken
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import MachineError, machine
from firemesh.emulator.slots import BUSY, Cause
from firemesh.emulator.studies import eyeriss_rs, eyeriss_rs_job, flexnn
from firemesh.emulator.studies.flexnn_dataflows import FIXED, FLEXIBLE, Option, cases, totals
from firemesh.emulator.studies.flexnn_job import FlexJob
from firemesh.emulator.studies.flexnn_rigid import RIGID, rigid
from firemesh.emulator.studies.flexnn_runs import DATAFLOWS, OBJECTIVES, VARIANTS, job, variant
from firemesh.emulator.studies.job import Run
from firemesh.emulator.studies.published import published
from firemesh.models import synthetic
from firemesh.models.recipe import Recipe

SMALL = {
    "lenet5": None,
    "mobilenetv2": "block16_depthwise,block16_project",
    "resnet50": "conv2_1a,conv2_1b",
}
"""Layers that take little time, of networks of which flexible is compared."""


# Invented runs


def entry(name, cycles, dram, flows=None, busy=1):
    """Return a layer, or a candidate, that moves bytes of DRAM alone: 200 pJ each."""
    slots, size = np.zeros(len(Cause), int), np.zeros((len(Memory), 2), int)
    slots[Cause.LOAD], slots[Cause.EXECUTED] = cycles - busy, busy
    size[Memory.DRAM, 0] = dram
    tree = {
        "name": name, "tile": "vxv 1/1", "rounds": 1, "cycles": cycles, "flits": 0,
        "slots": slots.tolist(), "bytes": size.tolist(),
    }  # fmt: skip
    return tree | ({} if flows is None else {"dataflows": flows, "estimate": [cycles, 1.0]})


def invented(*layers, name=DATAFLOWS):
    return {job("vgg16", name).name: Run(1, 0, 1.0, list(layers), 0.0)}


@pytest.fixture
def two_layers():
    """Return a run of two layers; the second has no row stationary descriptor."""
    first, second = entry("a", 90, 10), entry("b", 50, 20)
    first["options"] = [
        entry("a", 100, 10, ["weight"]),
        entry("a", 90, 10, []),
        entry("a", 80, 40, ["output", "input", "none", "row"]),
    ]
    second["options"] = [entry("b", 50, 20, ["weight", "output", "input", "none"])]
    return invented(first, second)


def row_of(rows, **wanted):
    [found] = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return found


def test_a_dataflow_is_its_least_count_and_flexible_the_least_of_all(two_layers):
    rows = flexnn.report(two_layers).rows
    of = {flow: row_of(rows, objective="cycles", dataflow=flow) for flow in ("weight", FLEXIBLE)}
    assert (of["weight"]["cycles"], of[FLEXIBLE]["cycles"]) == (150, 130)
    assert of["weight"]["saving_of_flexible"] == pytest.approx(1 - 130 / 150)
    energies = {f: row_of(rows, objective="energy", dataflow=f)["dram_uj"] for f in FIXED}
    assert energies["weight"] == pytest.approx(200 * 30e-6)
    assert energies["output"] == pytest.approx(200 * 60e-6)


def test_a_dataflow_without_a_descriptor_is_told_and_compared_over_the_others(two_layers):
    report = flexnn.report(two_layers)
    row = row_of(report.rows, objective="energy", dataflow="row")
    assert row["layers_without"] == 1 and row["dram_uj"] == pytest.approx(200 * 40e-6)
    flexible, other = 200 * 10 + 1, 200 * 40 + 1
    assert row["saving_of_flexible"] == pytest.approx(1 - flexible / other)
    assert any("RS has no legal descriptor on 1 of vgg16's layers (b)" in n for n in report.notes)
    lines = report.texts["flexnn-layers.csv"].splitlines()
    assert len(lines) == 1 + 2 * len(OBJECTIVES) * 6


def test_components_of_a_row_add_up(two_layers):
    for row in flexnn.report(two_layers).rows:
        parts = [row[k] for k in row if k.endswith("_uj") and k != "energy_uj"]
        assert sum(parts) == pytest.approx(row["energy_uj"])


def test_a_run_that_is_worse_than_a_fixed_dataflow_is_an_error(two_layers):
    assert not [note for note in flexnn.report(two_layers).notes if "ERROR" in note]
    [run] = two_layers.values()
    worse = replace(run, layers=[entry("a", 90, 41) | {"options": run.layers[0]["options"]}])
    notes = flexnn.report({job("vgg16", DATAFLOWS).name: worse}).notes
    assert any("ERROR: vgg16 a, energy: WS 2,001 is below flexible 8,201" in n for n in notes)


def test_speed_ups_are_ratios_to_dense():
    runs = {}
    for n, name in enumerate(VARIANTS, 1):
        runs |= invented(entry("a", 60 // n, 1), entry("b", 120, 1), name=name)
    rows = flexnn.report(runs).rows
    assert len(rows) == len(VARIANTS)
    for n, name in enumerate(VARIANTS, 1):
        row = row_of(rows, variant=name)
        assert row["speedup"] == pytest.approx(180 / (60 // n + 120))
        assert (row["best_layer_speedup"]) == pytest.approx(60 / (60 // n))
        assert sum(row[f"slots_{cause.name.lower()}"] for cause in Cause) == pytest.approx(1)


# Real networks


@pytest.fixture(scope="module", params=SMALL)
def small_runs(request):
    """Return a small network, and its study's run for the dataflows."""
    recipe = Recipe(request.param, layers=SMALL[request.param])
    searched = replace(
        job("vgg16", DATAFLOWS), recipe=recipe,
        search=Search(OBJECTIVES[0], keep=2, beside=OBJECTIVES[1:]),
    )  # fmt: skip
    return recipe, searched.work()


def test_no_fixed_dataflow_is_better_on_any_layer(small_runs):
    """Compared with machines that have one dataflow, searched alone."""
    recipe, run = small_runs
    network, [image] = synthetic.network(recipe), synthetic.images(recipe, 1)
    n = 0
    for objective in OBJECTIVES:
        flexible = {
            case.layer: case.flexible.cost(objective)
            for case in cases(recipe.name, run)
            if case.objective == objective
        }
        for flow in FIXED:
            fixed = variant("").replace(array__dataflow=flow)
            emulation = FlexEmulation(network, fixed, search=Search(objective, keep=1))
            try:
                list(emulation.frames(image[None]))
            except MachineError:
                assert flow == "row"
                continue
            for name, [only] in emulation.options.items():
                cost = only.cost(objective)
                assert flexible[name] <= cost * (1 + 1e-12), (name, flow, objective)
                n += 1
    assert n >= len(OBJECTIVES) * (len(FIXED) - 1) * len(flexible)


def test_the_run_takes_the_least_count_and_costs_no_more(small_runs):
    recipe, run = small_runs
    found = cases(recipe.name, run)
    assert not [sentence for case in found for sentence in case.violations()]
    for case in found:
        if case.objective == OBJECTIVES[0]:
            assert case.run.tree["tile"] == case.flexible.tree["tile"]
            assert case.run.pj <= case.flexible.pj


def test_totals_are_sums_of_layers(small_runs):
    recipe, run = small_runs
    found = cases(recipe.name, run)
    for total in totals(found):
        own = [case.of_flow[total.flow] for case in found if case.objective == total.objective]
        able = [option for option in own if option is not None]
        assert total.cycles == sum(option.cycles for option in able)
        assert sum(total.parts.values()) == pytest.approx(sum(option.pj for option in able))
        assert len(total.without) == len(own) - len(able)


def test_a_run_with_options_is_the_same_in_json(small_runs):
    _, run = small_runs
    assert Run(**json.loads(json.dumps(vars(run)))) == run


def test_what_decides_a_run_is_in_its_identity():
    one = job("vgg16", "both")
    assert one.identity != replace(one, search=Search("cycles", keep=5)).identity
    assert json.loads(json.dumps(one.identity)) == one.identity


@pytest.mark.slow
@pytest.mark.parametrize("network", ["googlenet", "mobilenetv2"])
def test_no_fixed_dataflow_is_better_on_any_layer_of_a_network(network):
    wanted = Search("energy", keep=2)
    run = FlexJob(network, Recipe(network), machine("flexnn-edge"), search=wanted).work()
    found = [case for case in cases(network, run) if case.objective == "energy"]
    assert len(found) > 50
    assert not [sentence for case in found for sentence in case.violations()]


def test_options_of_a_search_without_fixed_dataflows_are_the_best_estimates():
    recipe = Recipe("lenet5")
    emulation = FlexEmulation(
        synthetic.network(recipe), variant(""), search=Search("cycles", keep=3, with_fixed=False)
    )
    list(emulation.frames(synthetic.images(recipe, 1)))
    assert {len(found) for found in emulation.options.values()} == {3}
    origins = {one.candidate.origin for found in emulation.options.values() for one in found}
    assert origins == {FLEXIBLE}
    steps = [step for step in emulation.plan.steps if isinstance(step, FlexStep)]
    for step in steps:
        best = min(emulation.options[step.name], key=lambda one: one.cycles)
        assert emulation.descriptors[step.name] == best.candidate.descriptor


@pytest.mark.parametrize("flow", RIGID)
def test_a_rigid_dataflow_has_its_partitions_and_is_one_of_the_candidates(flow):
    dims, described = LayerDims((1, 1, 12, 12, 24, 32, 3, 3), ifmap=(14, 14)), variant("")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (1, 32, 14, 14)).astype(np.int16)
    w = rng.integers(0, 2, (24, 32, 3, 3)).astype(np.int16)
    found = rigid(flow, dims, described, x, w)
    cut = Cut(found.descriptor, dims)
    rows, columns = (dim.name for dim in RIGID[flow])
    assert set(found.descriptor.rows) <= {rows} and set(found.descriptor.columns) <= {columns}
    assert found.descriptor.rows or found.descriptor.columns
    assert not list(broken(cut, described)) and RULES[flow](cut, 8) is None
    free = scheduler.search(dims, described, densities(x, w), "energy", flow, keep=1)
    assert free.candidates[0].estimate.energy_pj <= found.estimate.energy_pj


def test_rigid_dataflows_are_beside_the_others_for_energy():
    one = replace(job("vgg16", "rigid"), recipe=Recipe("lenet5", layers="conv1,conv2"))
    run = one.work()
    assert [len(layer["options"]) for layer in run.layers] == [len(RIGID)] * 2
    fixed, built = entry("conv1", 90, 10), job("vgg16", "rigid").name
    fixed["options"] = [entry("conv1", 80, 10, list(FIXED))]
    rows = flexnn.report(invented(fixed) | {built: run}).rows
    for number, flow in enumerate(RIGID):
        row = row_of(rows, objective="energy", dataflow=f"{flow}-rigid")
        assert row["cycles"] == run.layers[0]["options"][number]["cycles"]
        assert row["saving_of_flexible"] == pytest.approx(1 - 2001e-6 / row["energy_uj"])


# Eyeriss


def test_convolutions_of_alexnet_have_its_macs():
    frames = 3
    macs = sum(dims.macs for dims in eyeriss_rs_job.dims_of(frames).values())
    assert macs == frames * published("alexnet.dense_macs").value


def test_both_set_ups_have_the_same_bytes():
    def total(found):
        return found.rf.banks * found.rf.bank_bytes * found.array.n_vpes + found.sram.bytes

    assert total(eyeriss_rs_job.alike()) == total(eyeriss_rs_job.split())


def chained(order):
    """Return dims and descriptor of a reduction over three VPEs, in two blocks of channels."""
    dims = LayerDims((1, 1, 4, 4, 2, 6, 1, 1), ifmap=(4, 4))
    tree = {
        "block": {"OX": 4}, "rows": {"IC": 3}, "order": order, "reduction": "chain",
        "banks": {"if": 8, "fl": 4, "of": 4}, "sparsity": "dense",
    }  # fmt: skip
    return dims, Descriptor.parse(tree, "here")


@pytest.mark.parametrize("order, spills", [(("OY", "OC", "IC"), 0), (("IC", "OY", "OC"), 1)])
def test_bytes_of_psums_are_those_of_chains_and_spills(order, spills):
    dims, descriptor = chained(order)
    run = run_layer(
        Cut(descriptor, dims), eyeriss_rs_job.alike(), *eyeriss_rs_job.operands(dims)
    )  # fmt: skip
    points, blocks = 32, 2
    # two hops of a chain of three; a spilled psum leaves once and comes back once
    leaves = blocks if spills else 1
    assert eyeriss_rs_job.psum_bytes(run, dims) == (
        2 * 4 * points * spills, 4 * points * (2 * leaves + 2 * spills)
    )  # fmt: skip


@pytest.fixture(scope="module")
def eyeriss_runs():
    """Return runs of one small convolution in both set-ups, with few rounds counted as a batch."""
    small = {
        frames: {"conv3": LayerDims((frames, 1, 6, 6, 8, 4, 3, 3), pads=(1, 1), ifmap=(6, 6))}
        for frames in (eyeriss_rs_job.BATCH, eyeriss_rs_job.FEWER)
    }
    with pytest.MonkeyPatch.context() as patch:
        for module in (eyeriss_rs, eyeriss_rs_job):
            patch.setattr(module, "dims_of", lambda frames=eyeriss_rs_job.BATCH: small[frames])
        patch.setattr(eyeriss_rs_job, "MOST_ROUNDS", 300)
        jobs = [eyeriss_rs_job.job("conv3", setup) for setup in eyeriss_rs_job.SETUPS]
        runs = {one.name: one.work() for one in jobs}
        yield runs, eyeriss_rs.report(runs)


def test_levels_add_up_and_rs_is_the_measure(eyeriss_runs):
    _, report = eyeriss_runs
    for row in report.rows:
        parts = sum(row[f"{level}_pj"] for level in eyeriss_rs.LEVELS)
        assert parts == pytest.approx(row["counted_pj"])
        assert row["narrow_psums_pj"] <= row["counted_pj"]
        if row["layer"] == "all" and row["dataflow"] == "row":
            assert row["rs_advantage"] == row["rs_advantage_estimated"] == 1


def test_counts_of_dense_layers_are_their_estimates(eyeriss_runs):
    runs, report = eyeriss_runs
    frames = [entry["frames"] for run in runs.values() for entry in run.layers]
    assert set(frames) == {eyeriss_rs_job.BATCH, eyeriss_rs_job.FEWER}
    for row in report.rows:
        if row["layer"] != "all":
            assert row["counted_over_estimate"] == pytest.approx(1, abs=0.03)
            assert row["MAC_pj"] == pytest.approx(row["macs"])


def test_every_dataflow_of_a_set_up_is_counted_once(eyeriss_runs):
    runs, _ = eyeriss_runs
    for setup, flows in eyeriss_rs_job.SETUPS.items():
        [run] = [run for name, run in runs.items() if name.endswith(setup)]
        assert [entry["name"] for entry in run.layers] == list(flows)


def test_an_option_is_priced_as_a_layer_is():
    tree = entry("a", 10, 3)
    done = Activity(np.array(tree["bytes"]), np.array(tree["slots"]), 0)
    assert Option(tree).parts == energy(done, variant(""))
    assert Option(tree).pj == 3 * 200 + 1
    assert sum(tree["slots"][cause] for cause in BUSY) == 1
