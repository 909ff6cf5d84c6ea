"""Flits of links are those that were counted, and those that arrive."""

import json
from collections import Counter, defaultdict

import pytest
from analysed_traces import chosen, ended, trace_of

import firemesh
from firemesh.traces.analyses.links import links

CASES = (
    *((name, {}) for name in ("mnf", "frames", "streamed", "hybrid")),
    ("mnf", {"layer": "conv2"}),
    ("frames", {"frame": 1, "layer": ("conv1", "fc2")}),
    ("hybrid", {"unit": ("pe3", "storage")}),
)


def rendered(trace, layer=None, unit=None, frame=None):
    """Return cycles by layer, and flits by (layer, source, target)."""
    cycles, flits = Counter(), Counter()
    layers = (layer,) if isinstance(layer, str) else layer
    for number, (of, one, _, first, end) in enumerate(trace.segments.tolist()):
        name = trace.layers[one]
        if frame not in (None, of) or (layers and name not in layers):
            continue
        cycles[name] += end - first
        for segment, link, count in trace.table("flits").tolist():
            _, source, target = trace.table("links")[link].tolist()
            ends = trace.units[source], trace.units[target]
            if segment == number and (unit is None or {*ends} & {*unit}):
                flits[name, *ends] += count
    return cycles, flits


@pytest.mark.parametrize("name, selection", CASES)
def test_rows_are_the_counted_flits_of_links(name, selection):
    with firemesh.open_trace(trace_of(name)) as trace:
        found = links(trace, chosen(**selection))
        cycles, flits = rendered(trace, **selection)
        places = {
            one: (x, y) for one, (*_, x, y) in
            zip(trace.units, trace.table("units").tolist(), strict=True)
        }  # fmt: skip
        names = [tuple(link.split(">")) for link in trace.links]
    unit = selection.get("unit")
    assert {(row["source"], row["target"]) for row in found.rows} == {
        ends for ends in names if unit is None or {*ends} & {*unit}
    }
    total = sum(cycles.values())
    between = sum(count for (_, source, target), count in flits.items() if source != target)
    delivered = sum(flits.values()) - between
    assert (found.facts["flits"], found.facts["delivered"]) == (between, delivered)
    for row in found.rows:
        ends = row["source"], row["target"]
        mine = {layer: flits[layer, *ends] for layer in cycles}
        assert row["flits"] == sum(mine.values())
        assert (row["x"], row["y"], row["to_x"], row["to_y"]) == (
            *places[ends[0]],
            *places[ends[1]],
        )
        assert row["flits_per_cycle"] == pytest.approx(row["flits"] / total)
        whole = delivered if ends[0] == ends[1] else between
        assert row["share"] == pytest.approx(row["flits"] / max(whole, 1))
        peak = max(mine[layer] / cycles[layer] for layer in cycles)
        assert row["peak_flits_per_cycle"] == pytest.approx(peak)
        if row["flits"]:
            at = row["peak_layer"]
            assert mine[at] / cycles[at] == pytest.approx(peak)
    assert found.rows["flits"].tolist() == sorted(found.rows["flits"].tolist(), reverse=True)
    told = {(row["layer"], row["source"], row["target"]): row for row in found.series}
    assert len(told) == len(found.series) == len(cycles) * len(found.rows)
    for (layer, *ends), row in told.items():
        assert row["flits"] == flits[layer, *ends]
        assert row["flits_per_cycle"] == pytest.approx(row["flits"] / cycles[layer])


@pytest.mark.parametrize("name", ("mnf", "frames", "streamed", "hybrid"))
def test_each_node_is_delivered_the_flits_of_the_packets_that_arrive(name):
    with firemesh.open_trace(trace_of(name)) as trace:
        arrived = defaultdict(int)
        for block in trace.deliveries():
            for row in block:
                arrived[trace.units[row["unit"]]] += int(row["flits"])
        found = links(trace)
        routers = [unit for unit in trace.units if unit.startswith("router")]
    doors = {row["source"]: row["flits"] for row in found.rows if row["source"] == row["target"]}
    assert arrived and doors == dict.fromkeys(doors, 0) | arrived
    assert sum(arrived.values()) == found.facts["delivered"]
    assert not any(doors.get(unit) for unit in routers)


@pytest.mark.parametrize("name", ("mnf", "hybrid"))
def test_the_command_prints_writes_and_draws(capsys, tmp_path, name):
    csv, png = tmp_path / "l.csv", tmp_path / "l.png"
    code, out, err = ended(capsys, "links", trace_of(name), "--out", csv, "--plot", png)
    assert (code, err) == (0, "") and "storage>pe1" in out
    assert csv.read_text().startswith("layer,source,target,flits,flits_per_cycle\n")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert json.loads(ended(capsys, "links", trace_of(name), "--json")[1])["nodes"]


def test_a_machine_of_buses_has_no_links(capsys):
    code, out, err = ended(capsys, "links", trace_of("flexnn"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has buses and no links; see firemesh trace bandwidth --memory bus" in err
    assert ended(capsys, "bandwidth", trace_of("flexnn"), "--memory", "bus")[0] == 0


def test_a_window_of_cycles_is_refused(capsys):
    code, _, err = ended(capsys, "links", trace_of("mnf"), "--cycles", "1:5")
    assert code == 2 and "no such option: --cycles" in err
    with firemesh.open_trace(trace_of("mnf")) as trace:
        with pytest.raises(
            firemesh.TraceError, match="cycles: flits over links are counted by wav"
        ):
            links(trace, chosen(cycles=(1, 5)))
