"""Study crossover: its numbers are those of the runs, and modes are equal where it says."""

import csv
import io
import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firemesh.emulator.energy import table
from firemesh.emulator.hybrid.decide import decide
from firemesh.emulator.hybrid.plan import make_choices
from firemesh.emulator.kinds import Memory
from firemesh.emulator.machine import machine
from firemesh.emulator.mnf.steps import MnfStep
from firemesh.emulator.slots import Cause
from firemesh.emulator.studies import crossover, crossover_tables, study
from firemesh.emulator.studies.crossover_job import SEARCH, CrossoverJob, conversion
from firemesh.emulator.studies.crossover_points import (
    Counted,
    Sides,
    Sum,
    of_mode,
    sides,
    with_executed,
)
from firemesh.emulator.studies.job import Run, execute
from firemesh.models import synthetic
from firemesh.models.architecture import Architecture
from firemesh.models.recipe import Recipe
from firemesh.models.specs import ConvSpec, PoolSpec

HYBRID = machine("hybrid-256")
SMALL = Architecture(
    name="small",
    title="three convolutions",
    shape=(4, 10, 10),
    layers=(
        ConvSpec("a", 20, 3, pad=1, pool=PoolSpec(2, 2)),
        ConvSpec("b", 16, 3, stride=2, pad=1),
        ConvSpec("c", 24, 1),
    ),
    source="chosen",
    is_part=True,
)
LOW, HIGH = 0.2, 0.7


def small_job(variant, density):
    rows = crossover.weight_rows(SMALL, HYBRID)
    recipe = Recipe("small", weights="rows:0.5", activations=density, own=SMALL, rows=rows)
    modes = ("mnf", "flexnn") if variant == crossover.BOTH else ("flexnn",)
    found = crossover.found_machine(variant)
    return CrossoverJob(f"{variant}-{density}", recipe, found, modes=modes)


@pytest.fixture(scope="module")
def runs():
    """Return runs of a small network by variant and density."""
    variants = (crossover.BOTH, *crossover.SKIPS)
    return {(v, d): execute(small_job(v, d)) for v, d in product(variants, (LOW, HIGH))}


@pytest.fixture(scope="module")
def decision():
    """Return the choice that a run decides between, by its own way."""
    recipe = small_job(crossover.BOTH, LOW).recipe
    network, [image] = synthetic.network(recipe), synthetic.images(recipe, 1)
    choices = make_choices(network, HYBRID, search=SEARCH)
    return choices, decide(choices, image)


# Runs


def test_a_run_is_the_same_in_json(runs):
    for run in runs.values():
        assert Run(**json.loads(json.dumps(vars(run)))) == run


def test_a_run_keeps_every_result_of_both_modes(runs, decision):
    by_mode = Counted(runs[crossover.BOTH, LOW].layers, HYBRID).by_mode
    for unit, of in decision[1].results.items():
        for mode, results in of.items():
            entries = by_mode[mode][unit]
            assert [entry["name"] for entry in entries] == [result.name for result in results]
            total, prices = Sum(entries, HYBRID), table("eyeriss")
            size = sum(result.bytes.sum(axis=(0, 2)) for result in results)
            slots = sum(result.slots.sum(axis=0) for result in results)
            flits = sum(int(result.link_flits.sum()) for result in results)
            assert total.cycles == sum(result.cycles for result in results)
            assert total.dram_bytes == size[Memory.DRAM]
            assert total.slots == dict(enumerate(slots))
            assert sum(slots) == total.cycles * 16 * 16
            pj = sum(
                size[memory] * prices.access_pj[memory.name.lower()].byte_pj
                for memory in Memory
                if memory != Memory.BUS
            )
            pj += (slots[Cause.EXECUTED] + slots[Cause.INEFFECTUAL]) * prices.mac_pj
            pj += (64 * flits + 8 * size[Memory.BUS]) * prices.hop_bit_pj
            assert total.pj == pytest.approx(pj) == pytest.approx(sum(total.components.values()))


def test_the_choice_of_a_report_is_that_of_the_machine(runs, decision):
    _, decided = decision
    counted = Counted(runs[crossover.BOTH, LOW].layers, HYBRID)
    assert counted.problem.layers == decided.problem.layers
    for mine, theirs in zip(counted.problem.tensors, decided.problem.tensors, strict=True):
        assert (mine.name, mine.consumers) == (theirs.producer, theirs.consumers)
        assert (mine.to_events, mine.to_zvc) == (theirs.to_events, theirs.to_zvc)
    assert counted.modes("cycles") == decided.modes


@pytest.mark.parametrize("active", [0, 7, 140])
def test_a_conversion_reads_one_form_and_writes_the_other(decision, active):
    tensor = decision[0].network.tensors["b_out"]
    n_zvc = min(active + -(-tensor.size // 8), tensor.size)
    if active >= 0.875 * tensor.size:
        n_zvc = tensor.size
    for form, wanted in (("zvc", [8 * active, n_zvc]), ("events", [n_zvc, 8 * active])):
        result = conversion(tensor, active, form, HYBRID)
        assert result.cycles == active + -(-n_zvc // 16)
        assert result.bytes[0, Memory.DRAM].tolist() == wanted == result.bytes.sum((0, 1)).tolist()


def test_the_tiles_of_weight_rows_are_those_of_the_mapping(decision):
    choices, _ = decision
    rows = crossover.weight_rows(SMALL, HYBRID)
    mapped = {s.name: s.mapping.tile for s in choices.mnf.steps if isinstance(s, MnfStep)}
    assert dict(rows.tiles) == mapped and len({*mapped.values()}) > 1
    assert (rows.pes, rows.multipliers) == (16, 16)


def test_a_variant_runs_mode_flexnn_alone_and_skips_what_it_says(runs):
    for variant in crossover.SKIPS:
        entries = runs[variant, LOW].layers
        assert {entry["mode"] for entry in entries} == {"flexnn"}
        ineffectual = sum(entry["slots"][Cause.INEFFECTUAL] for entry in entries)
        both = Counted(runs[crossover.BOTH, LOW].layers, HYBRID).by_mode["flexnn"]
        assert ineffectual > sum(
            e["slots"][Cause.INEFFECTUAL] for part in both.values() for e in part
        )
    jobs = [small_job(variant, LOW) for variant in (crossover.BOTH, *crossover.SKIPS)]
    identities = [json.dumps(job.identity, sort_keys=True) for job in jobs]
    assert len(set(identities)) == len(jobs)


# Laws


def executed(entries):
    return sum(entry["slots"][Cause.EXECUTED] for entry in entries)


@pytest.mark.parametrize("density", [LOW, HIGH])
def test_every_variant_multiplies_the_same_non_zeros(runs, density):
    by_mode = Counted(runs[crossover.BOTH, density].layers, HYBRID).by_mode
    for unit, entries in by_mode["mnf"].items():
        assert executed(entries) == executed(by_mode["flexnn"][unit]) > 0
        for variant in crossover.SKIPS:
            assert executed(of_mode(runs[variant, density].layers, "flexnn")[unit]) == executed(
                entries
            )


@pytest.mark.parametrize("variant", crossover.ONCE)
def test_what_does_not_look_at_activations_is_the_same_at_every_density(runs, variant):
    low, high = (of_mode(runs[variant, d].layers, "flexnn") for d in (LOW, HIGH))
    assert executed(low["b"]) < executed(high["b"])
    moved = with_executed(low, Counted(runs[crossover.BOTH, HIGH].layers, HYBRID))
    for unit, entries in high.items():
        for mine, wanted in zip(moved[unit], entries, strict=True):
            for key in ("name", "tile", "cycles", "slots", "bytes", "flits"):
                assert mine[key] == wanted[key]


# Equal points

X = (0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize(
    ("one", "other", "names", "places"),
    [
        ((1, 1, 1, 1), (2, 2, 2, 2), ("one",), ()),
        ((2, 2, 2, 2), (1, 1, 1, 1), ("other",), ()),
        ((1, 2, 3, 4), (2, 2.5, 2.5, 2.5), ("one", "other"), (0.25,)),
        ((0, 3, 0, 3), (1, 2, 1, 0), ("one", "other", "one", "other"), (0.15, 0.25, 0.325)),
        ((1, 2, 3, 4), (2, 2, 2, 2), ("one", "other"), (0.2,)),
        ((1, 2, 2, 4), (2, 2, 2, 2), ("one", "other"), (0.25,)),
        ((1, 2, 1, 1), (2, 2, 2, 2), ("one",), ()),
        ((2, 2, 1, 1), (2, 2, 2, 2), ("one",), ()),
        ((2, 2, 2, 2), (2, 2, 2, 2), ("",), ()),
    ],
)
def test_sides_change_where_curves_are_equal(one, other, names, places):
    found = sides(X, {"one": one, "other": other})
    assert found.names == names
    assert found.places == pytest.approx(places)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_between_two_places_the_lower_curve_is_the_one_that_is_named(pairs):
    x = list(range(len(pairs)))
    one, other = zip(*pairs, strict=True)
    found = sides(x, {"one": one, "other": other})
    assert len(found.names) == len(found.places) + 1
    assert list(found.places) == sorted(found.places)
    if found.names == ("",):
        assert one == other
        return
    for at in np.linspace(0, len(x) - 1, 97):
        difference = np.interp(at, x, one) - np.interp(at, x, other)
        name = found.names[sum(place < at for place in found.places)]
        if abs(difference) > 1e-9:
            assert name == ("one" if difference < 0 else "other")


def test_sides_in_words():
    assert Sides(("mnf",), ()).text == "mnf"
    assert Sides(("mnf", "flexnn", "mnf"), (0.234, 0.6)).text == "mnf to 0.23, flexnn to 0.60, mnf"
    assert Sides(("",), ()).text == "equal"


# Invented runs


def entry(unit, mode, cycles, dram, **more):
    """Return a layer that moves bytes of DRAM alone, 200 pJ each, and multiplies once a cycle."""
    slots, size = np.zeros(len(Cause), int), np.zeros((len(Memory), 2), int)
    slots[Cause.EXECUTED], slots[Cause.UNUSED] = 10, 256 * cycles - 10
    size[Memory.DRAM, 0] = dram
    return {
        "name": unit, "unit": unit, "mode": mode, "tile": "", "waves": 1, "cycles": cycles,
        "flits": 0, "slots": slots.tolist(), "bytes": size.tolist(), **more,
    }  # fmt: skip


def both_modes(mnf, flexnn, change=(5, 3)):
    """Return a run of a chain of layers, of (cycles, bytes) in either mode."""
    layers, last = [], len(mnf) - 1
    for n, (one, other) in enumerate(zip(mnf, flexnn, strict=True)):
        layers += [entry(f"l{n}", "flexnn", *other), entry(f"l{n}", "mnf", *one)]
        consumers = [f"l{n + 1}"] if n < last else []
        layers += [
            entry(f"l{n}", "convert", *change, to=form, consumers=consumers)
            | {"name": f"t{n} to {form}"}
            for form in ("events", "zvc")
        ]
    return Run(1, 0, 1.0, layers, 0.0)


CHAIN = [(10, 90), (80, 10), (10, 90)], [(40, 10), (40, 60), (40, 10)]
LATER = [(60, 90), (80, 80), (60, 90)], [(40, 10), (40, 60), (40, 10)]


@pytest.fixture
def invented():
    """Return runs at two densities, and a run of a variant at one."""
    first, second = crossover.DENSITIES[:2]
    return {
        crossover.job(crossover.BOTH, first).name: both_modes(*CHAIN),
        crossover.job(crossover.BOTH, second).name: both_modes(*LATER),
        crossover.job("activation", second).name: Run(
            1, 0, 1.0, [entry(f"l{n}", "flexnn", 50, 20) for n in range(3)], 0.0
        ),
    }


def lines(report, name):
    return list(csv.DictReader(io.StringIO(report.texts[name])))


def rows_of(report):
    return {(row["density"], row["variant"]): row for row in report.rows}


def test_totals_of_variants_and_choices(invented):
    rows = rows_of(crossover.report(invented))
    assert [name for density, name in rows if density == 0.1] == [
        "mnf", "both", "auto", "auto-energy", "auto-edp"]  # fmt: skip
    assert rows[0.2, "activation"]["cycles"] == 150
    assert (rows[0.1, "mnf"]["cycles"], rows[0.1, "both"]["cycles"]) == (100, 120)
    best = {"auto": [], "auto-energy": [], "auto-edp": []}
    mnf, flexnn = CHAIN
    for modes in product((0, 1), repeat=3):
        picked = [(mnf, flexnn)[mode][n] for n, mode in enumerate(modes)]
        changes = sum(a != b for a, b in zip(modes, modes[1:], strict=False))
        cycles = sum(c for c, _ in picked) + 5 * changes
        pj = 200 * (sum(b for _, b in picked) + 3 * changes) + 10 * (3 + changes)
        best["auto"].append((cycles, pj))
        best["auto-energy"].append((pj, cycles))
        best["auto-edp"].append((cycles * pj, cycles))
    auto = rows[0.1, "auto"]
    assert (auto["cycles"], auto["energy_uj"]) == pytest.approx(
        (min(best["auto"])[0], min(best["auto"])[1] * 1e-6)
    )
    assert (auto["layers_mnf"], auto["conversions"], auto["conversion_cycles"]) == (2, 2, 10)
    assert auto["dram_bytes"] == 90 + 60 + 90 + 2 * 3
    assert rows[0.1, "auto-energy"]["energy_uj"] == pytest.approx(
        min(best["auto-energy"])[0] * 1e-6
    )
    edp = rows[0.1, "auto-edp"]
    assert edp["cycles"] * edp["energy_uj"] == pytest.approx(min(best["auto-edp"])[0] * 1e-6)


def test_parts_of_a_row_add_up(invented):
    for row in crossover.report(invented).rows:
        parts = [row[key] for key in row if key.startswith("slots_")]
        assert len(parts) == len(Cause) and sum(parts) == pytest.approx(1)
        components = {crossover_tables.key(name) for name in crossover_tables.PARTS}
        assert sum(row[key] for key in components) == pytest.approx(row["energy_uj"])
        assert row["useful"] == pytest.approx(row["executed"] / (256 * row["cycles"]))


def test_layers_and_equal_points_have_files_of_their_own(invented):
    report = crossover.report(invented)
    layers = lines(report, "crossover-layers.csv")
    assert len(layers) == 3 * 2 + 3 * 3
    first = layers[0]
    assert (first["layer"], first["variant"], first["auto_mode"]) == ("l0", "mnf", "mnf")
    assert first["auto_energy_mode"] == "flexnn"
    assert (first["mnf_less_flexnn_cycles"], first["conversion_cycles"]) == ("-30", "5")
    points = {(line["layer"], line["of"]): line for line in lines(report, "crossover-points.csv")}
    assert len(points) == 2 * 4
    network = points["network", "cycles"]
    assert network["lower"] == "mnf flexnn"
    assert float(network["equal_at"]) == pytest.approx(0.1 + 0.1 * 20 / 100)
    assert points["l1", "cycles"] == {
        "layer": "l1", "of": "cycles", "lower": "flexnn", "equal_at": ""}  # fmt: skip
    assert points["l1", "energy"]["lower"] == "mnf flexnn"


def test_products_that_differ_between_variants_are_told(invented):
    assert any(note.startswith("checked") for note in crossover.report(invented).notes)
    name = crossover.job("activation", 0.2).name
    invented[name].layers[1]["slots"][Cause.EXECUTED] = 11
    notes = crossover.report(invented).notes
    assert [note for note in notes if note.startswith("ERROR: density 0.2, l1:")]
    assert not any(note.startswith("checked") for note in notes)


def test_a_figure_is_drawn_of_what_there_is(tmp_path, invented):
    for name, draw in crossover.report(invented).figures.items():
        draw(tmp_path / f"{name}.svg")
    text = (tmp_path / "crossover.svg").read_text("utf-8")
    assert "equal at 0.12" in text and "conv" not in text


def test_without_a_run_of_both_modes_there_is_a_report_of_nothing():
    run = Run(1, 0, 1.0, [entry("l0", "flexnn", 9, 9)], 0.0)
    [density] = crossover.densities("dense")
    report = crossover.report({crossover.job("dense", density).name: run})
    assert not report.rows and not report.figures and report.notes


# The study


def test_an_interrupted_study_reports_what_is_finished_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(crossover, "DENSITIES", (LOW, HIGH))
    monkeypatch.setattr(crossover, "job", small_job)
    finished = []

    def interrupt(name):
        finished.append(name)
        if len(finished) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.reproduce(crossover.STUDY, tmp_path, workers=0, done=interrupt)
    assert finished == ["modes-0.2", "modes-0.7"]
    part = list(csv.DictReader((tmp_path / "crossover.csv").open()))
    assert {row["variant"] for row in part} == {"mnf", "both", *crossover_tables.AUTOS}
    begun = []
    study.reproduce(crossover.STUDY, tmp_path, workers=0, started=begun.extend)
    assert begun == ["dense-0.7", "activation-0.2", "activation-0.7", "weight-0.7"]
    whole = list(csv.DictReader((tmp_path / "crossover.csv").open()))
    assert len(whole) == 2 * len(crossover_tables.VARIANTS)
    known = {(row["density"], row["variant"]): row for row in whole}
    for density in (LOW, HIGH):
        of = {name: known[str(density), name] for name in crossover_tables.VARIANTS}
        assert int(of["auto"]["cycles"]) <= min(int(of[n]["cycles"]) for n in ("mnf", "both"))
        assert float(of["auto-energy"]["energy_uj"]) <= min(
            float(of[name]["energy_uj"]) for name in ("mnf", "both", "auto")
        )
        assert len({row["executed"] for row in of.values()}) == 1
    assert known["0.2", "dense"]["cycles"] == known["0.7", "dense"]["cycles"]
    assert known["0.2", "dense"]["useful"] < known["0.7", "dense"]["useful"]
    assert (tmp_path / "crossover.png").stat().st_size > 5000
