"""Energy is bytes times the table's prices, in the cycles of the accesses."""

import json
import math
from collections import defaultdict

import pytest
from analysed_traces import TRACES, accesses_of, chosen, ended, trace_of

import firemesh
from firemesh.traces.analyses.energy import energy

CASES = (
    *((name, {}) for name in TRACES),
    ("mnf", {"layer": ("conv2", "fc2"), "unit": ("pe1", "pe11", "storage")}),
    ("mnf", {"cycles": (100, 700)}),
    ("mnf", {"unit": "storage"}),
    ("frames", {"frame": 1, "cycles": (1000, 1744)}),
    ("streamed", {"cycles": (1234, 5678)}),
    ("flexnn", {"cycles": (50, 1200)}),
    ("hybrid", {"cycles": (300, 2000), "unit": ("storage", "pe2", "router1")}),
)


def wanted(names, trace_names):
    """Return the names that are wanted, None for all."""
    return trace_names if names is None else [names] if isinstance(names, str) else names


def rendered(trace, layer=None, unit=None, frame=None, cycles=None):
    """Yield (layer, component, read or write or nothing, cycle, pJ), cycle by cycle."""
    memories = {
        name.decode(): {"read": read, "write": write}
        for _, name, *_, read, write in trace.table("memories").tolist()
    }
    selection = {"layer": layer, "unit": unit, "frame": frame, "cycles": cycles}
    for one in accesses_of(trace, **selection):
        yield one.layer, one.memory, one.op, one.cycle, one.size * memories[one.memory][one.op]
    low, high = cycles or (0, 10**18)
    units, causes = wanted(unit, trace.units), trace.table("causes")
    multipliers = trace.attribute("multipliers")
    pj = defaultdict(float)
    for segment, of, cause, count in trace.table("slots").tolist():
        if trace.units[of] in units:
            if causes["is_busy"][cause]:
                pj[segment, "mac"] += count * trace.attribute("mac_pj")
            if causes["is_idle"][cause]:
                pj[segment, "idle"] += count / multipliers * trace.attribute("idle_cycle_pj")
    for segment, link, count in trace.table("flits").tolist():
        if trace.units[trace.table("links")["source"][link]] in units:
            pj[segment, "noc"] += count * trace.attribute("flit_pj")
    for (segment, component), amount in pj.items():
        of, one, _, first, end = trace.segments[segment].tolist()
        name = trace.layers[one]
        if name in wanted(layer, trace.layers) and frame in (None, of):
            for cycle in range(max(first, low), min(end, high)):
                yield name, component, None, cycle, amount / (end - first)


@pytest.mark.parametrize("name, selection", CASES)
def test_energy_lies_where_accesses_and_waves_lie(name, selection):
    with firemesh.open_trace(trace_of(name)) as trace:
        found = energy(trace, chosen(**selection), 17)
        of_layers = energy(trace, chosen(**selection), 1, "layer")
        by, layers, bins, spent = [defaultdict(float) for _ in range(4)]
        width, low = found.facts["bin_cycles"], int(found.series["cycle"][0])
        for layer, component, op, cycle, pj in rendered(trace, **selection):
            by[component, op] += pj
            layers[layer, component] += pj
            bins[(cycle - low) // width, component] += pj
            spent[layer] += pj
        clock = trace.attribute("clock_hz")
    total = sum(spent.values())
    assert found.facts["total_pj"] == pytest.approx(total)
    assert {component for component, _ in by} <= set(found.rows["component"].tolist())
    for component, read, write, pj, share, mw in found.rows.tolist():
        if component in ("mac", "idle", "noc"):
            assert math.isnan(read) and math.isnan(write)
            assert pj == pytest.approx(by[component, None])
        else:
            assert (read, write) == pytest.approx((by[component, "read"], by[component, "write"]))
            assert pj == pytest.approx(read + write)
        assert share == pytest.approx(pj / total)
        assert mw == pytest.approx(pj * 1e-12 / (found.facts["cycles"] / clock) * 1e3)
        for number, row in enumerate(found.series):
            assert row[component] == pytest.approx(bins[number, component], rel=1e-9, abs=1e-6)
    for row in of_layers.rows:
        assert row["total_pj"] == pytest.approx(spent[row["layer"]])
        for component in found.rows["component"].tolist():
            wanted_pj = layers[row["layer"], component]
            assert row[f"{component}_pj"] == pytest.approx(wanted_pj, rel=1e-9, abs=1e-9)
    assert set(spent) <= set(of_layers.rows["layer"].tolist())


@pytest.mark.parametrize("name", TRACES)
def test_sums_are_those_that_the_trace_tells_from_its_counters(name):
    with firemesh.open_trace(trace_of(name)) as trace:
        (whole,), told = trace.energy(()), trace.energy(("layer",))
        found, layers = energy(trace), energy(trace, by="layer")
    mine = dict(zip(found.rows["component"].tolist(), found.rows["total_pj"].tolist(), strict=True))
    assert mine == pytest.approx(whole)
    for one in told:
        (row,) = layers.rows[layers.rows["layer"] == one.pop("layer")]
        assert row["total_pj"] == pytest.approx(sum(one.values()))
    assert found.series["total_pj"].sum() == pytest.approx(sum(whole.values()))


@pytest.mark.parametrize("name", ("mnf", "flexnn", "hybrid"))
def test_the_command_prints_writes_and_draws(capsys, tmp_path, name):
    csv, svg = tmp_path / "e.csv", tmp_path / "e.svg"
    path = trace_of(name)
    code, out, err = ended(capsys, "energy", path, "--out", csv, "--plot", svg, "--by", "layer")
    assert (code, err) == (0, "") and "conv1" in out and "spread evenly" in out
    assert csv.read_text().startswith("cycle,") and "<svg" in svg.read_text()
    told = json.loads(ended(capsys, "energy", path, "--json")[1])
    assert [row["read_pj"] for row in told["rows"] if row["component"] == "mac"] == [None]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--by", "colour"), "by: must be component or layer, got colour"),
        (("--bins", "0"), "bins: must be 1 to 1,000,000, got 0"),
        (("--layer", "conv7"), "layer: must be one of conv1, conv2, fc1, fc2, got conv7"),
        (("--op", "read"), "no such option: --op"),
    ],
)
def test_what_cannot_be_is_told(capsys, arguments, sentence):
    code, out, err = ended(capsys, "energy", trace_of("mnf"), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and sentence in err
