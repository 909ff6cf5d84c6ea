"""How evenly PEs share work, from slots and accesses one by one."""

import json
import math
import statistics
from collections import defaultdict

import pytest
from analysed_traces import TRACES, accesses_of, chosen, ended, trace_of

import firemesh
from firemesh.traces.analyses.balance import MEASURES, balance

CASES = (
    *((name, {}) for name in TRACES),
    ("mnf", {"layer": ("conv2", "fc2"), "unit": ("pe1", "pe11", "pe7", "storage")}),
    ("mnf", {"cycles": (100, 700)}),
    ("mnf", {"cycles": (386, 389)}),
    ("frames", {"frame": 1, "cycles": (1000, 1744)}),
    ("streamed", {"cycles": (1234, 5678)}),
    ("flexnn", {"cycles": (50, 1200)}),
    ("hybrid", {"cycles": (300, 2000)}),
)


def rendered(trace, layer=None, unit=None, frame=None, cycles=None, **memory):
    """Return PEs; measure -> (layer, unit) -> amount; layer -> cycles, and those of waiting."""
    low, high = cycles or (0, 10**18)
    kinds = dict(zip(trace.units, trace.table("units")["kind"].tolist(), strict=True))
    pes = [one for one in unit or trace.units if kinds[one] == b"pe"]
    found = {measure: defaultdict(float) for measure in MEASURES}
    idle = trace.table("causes")["is_idle"].tolist()
    busy, length, wait = defaultdict(float), defaultdict(float), defaultdict(float)
    parts = {}
    for number, (of, one, _, first, end) in enumerate(trace.segments.tolist()):
        inside = min(end, high) - max(first, low)
        if inside > 0 and frame in (None, of) and (not layer or trace.layers[one] in layer):
            parts[number] = trace.layers[one], inside / (end - first)
            length[trace.layers[one]] += inside
    for segment, of, cause, count in trace.table("slots").tolist():
        if segment in parts and trace.units[of] in pes:
            name, part = parts[segment]
            if not idle[cause]:
                amount = count * part / trace.attribute("multipliers")
                found["busy"][name, trace.units[of]] += amount
                busy[segment, trace.units[of]] += amount
            if trace.causes[cause] == "executed":
                found["executed"][name, trace.units[of]] += count * part
    for segment, (name, _) in parts.items():
        mine = [busy[segment, pe] for pe in pes]
        wait[name] += max(mine) - statistics.fmean(mine)
    selection = dict(layer=layer, unit=unit, frame=frame, cycles=cycles, **memory)
    for one in accesses_of(trace, **selection):
        found["accesses"][one.layer, one.unit] += 1
        found["bytes"][one.layer, one.unit] += one.size
    return pes, found, length, wait


@pytest.mark.parametrize("name, selection", CASES)
def test_rows_compare_the_pes_of_each_layer(name, selection):
    with firemesh.open_trace(trace_of(name)) as trace:
        pes, amounts, length, wait = rendered(trace, **selection)
        found = {measure: balance(trace, chosen(**selection), measure) for measure in MEASURES}
        layers = [layer for layer in trace.layers if layer in length]
    for measure, one in found.items():
        mine = {layer: [amounts[measure][layer, pe] for pe in pes] for layer in layers}
        assert one.rows["layer"].tolist() == [layer for layer in layers if sum(mine[layer])]
        for row in one.rows:
            of = mine[row["layer"]]
            mean = statistics.fmean(of)
            assert row["cycles"] == pytest.approx(length[row["layer"]])
            assert row["pes"] == sum(amount > 0 for amount in of)
            assert row["mean"] == pytest.approx(mean)
            assert row["max_over_mean"] == pytest.approx(max(of) / mean)
            assert row["min_over_mean"] == pytest.approx(min(of) / mean)
            assert row["cv"] == pytest.approx(statistics.pstdev(of) / mean, abs=1e-9)
            assert row["busiest"] == pes[[one == pytest.approx(max(of)) for one in of].index(True)]
            assert row["wait_cycles"] == pytest.approx(wait[row["layer"]], abs=1e-9)
            share = wait[row["layer"]] / length[row["layer"]]
            assert row["wait_share"] == pytest.approx(share, abs=1e-9)
        assert one.facts["wait_cycles"] == pytest.approx(sum(wait.values()))
        whole = [sum(amounts[measure][layer, pe] for layer in layers) for pe in pes]
        if sum(whole):
            most = max(whole) / statistics.fmean(whole)
            assert one.facts["max_over_mean"] == pytest.approx(most)
    series = found["busy"].series
    assert len(series) == len(layers) * len(pes)
    for row in series:
        for measure in MEASURES:
            assert row[measure] == pytest.approx(amounts[measure][row["layer"], row["unit"]])


@pytest.mark.parametrize(
    "selection", ({"memory": "psum"}, {"memory": ("weight", "bias"), "op": "read"})
)
@pytest.mark.parametrize("cycles", (None, (100, 700)))
def test_memories_and_operations_are_heeded_where_accesses_are_compared(selection, cycles):
    with firemesh.open_trace(trace_of("mnf")) as trace:
        found = balance(trace, chosen(cycles=cycles, **selection), "bytes")
        _, amounts, _, _ = rendered(trace, cycles=cycles, **selection)
    for row in found.series:
        assert row["bytes"] == amounts["bytes"][row["layer"], row["unit"]]
    assert math.isfinite(found.facts["max_over_mean"]) and len(found.rows) > 2


@pytest.mark.parametrize("name", ("mnf", "flexnn", "hybrid"))
def test_the_command_prints_writes_and_draws(capsys, tmp_path, name):
    csv, png = tmp_path / "b.csv", tmp_path / "b.png"
    code, out, err = ended(capsys, "balance", trace_of(name), "--out", csv, "--plot", png)
    assert (code, err) == (0, "") and "conv1" in out
    assert csv.read_text().startswith("layer,unit,busy,executed,accesses,bytes")
    assert png.read_bytes().startswith(b"\x89PNG")
    told = json.loads(ended(capsys, "balance", trace_of(name), "--of", "bytes", "--json")[1])
    assert told["of"] == "bytes" and told["rows"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--of", "joy"), "of: must be one of busy, executed, accesses, bytes, got joy"),
        (("--memory", "psum"), "memory: slots are of no memory; leave it out, or compare"),
        (("--op", "read", "--of", "executed"), "op: slots are of no operation; leave it out"),
        (("--unit", "storage"), "unit: storage is no PE"),
        (("--memory", "dram2", "--of", "bytes"), "memory: must be one of storage"),
    ],
)
def test_what_cannot_be_is_told(capsys, arguments, sentence):
    code, out, err = ended(capsys, "balance", trace_of("mnf"), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and sentence in err


def test_layers_in_which_no_pe_works_are_refused(capsys, tmp_path):
    arguments = ("--layer", "conv1_pool", "--plot", tmp_path / "b.png")
    code, out, err = ended(capsys, "balance", trace_of("flexnn"), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "of: busy of all selected PEs is 0; select what they work in" in err
    assert not (tmp_path / "b.png").exists()
