"""Utilisation is what slots were counted for, and the cycles in which accesses show work."""

import json
import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from analysed_traces import TRACES, accesses_of, chosen, ended, trace_of

import firemesh
from firemesh.traces.analyses.utilization import utilization

CASES = (
    *((name, {}) for name in TRACES),
    ("mnf", {"layer": ("conv2", "fc2"), "unit": ("pe1", "pe11", "storage")}),
    ("mnf", {"cycles": (100, 700)}),
    ("frames", {"frame": 1, "cycles": (1000, 1744)}),
    ("streamed", {"cycles": (1234, 5678)}),
    ("flexnn", {"cycles": (50, 1200), "layer": ("conv1", "conv2")}),
    ("flexnn", {"layer": ("conv2",), "unit": ("vpe4_2",)}),
    ("hybrid", {"cycles": (300, 2000), "unit": ("pe1", "pe2", "pe9")}),
)


def wanted_segments(trace, layer=None, frame=None, cycles=None, **_):
    """Return the number, first cycle and end of the segments, and which part is in the window."""
    low, high = cycles or (0, 10**18)
    for number, (of, one, _, first, end) in enumerate(trace.segments.tolist()):
        if frame in (None, of) and (not layer or trace.layers[one] in layer):
            inside = min(end, high) - max(first, low)
            if inside > 0:
                yield number, max(first, low), min(end, high), Fraction(inside, end - first)


def working(trace, **selection):
    """Return (unit, cycle) of each psum that is read and accumulator that is written."""
    modes = dict(zip(trace.layers, trace.table("layers")["mode"].tolist(), strict=True))
    return {
        (one.unit, one.cycle)
        for one in accesses_of(trace, **selection)
        if (modes[one.layer], one.memory, one.op)
        in ((b"mnf", "psum", "read"), (b"flexnn", "acc", "write"))
    }


@pytest.mark.parametrize("name, selection", CASES)
def test_shares_are_those_of_stored_slots_and_active_is_counted_cycle_by_cycle(name, selection):
    with firemesh.open_trace(trace_of(name)) as trace:
        found = utilization(trace, chosen(**selection), 40)
        parts = {one[0]: one for one in wanted_segments(trace, **selection)}
        names = selection.get("unit", trace.units)
        pes = [one for one in names if one not in ("storage",) and not one.startswith("router")]
        slots, cycles = defaultdict(Fraction), sum(end - low for _, low, end, _ in parts.values())
        for segment, unit, cause, count in trace.table("slots").tolist():
            if segment in parts:
                slots[trace.units[unit], trace.causes[cause]] += count * parts[segment][3]
        work, causes = working(trace, **selection), found.rows.dtype.names[3:]
        multipliers = trace.attribute("multipliers")
    assert found.rows["unit"].tolist() == pes
    assert {cause for (pe, cause), n in slots.items() if n and pe in pes} <= {*causes}
    for row in found.rows:
        of = row["unit"]
        total = sum(slots[of, cause] for cause in causes)
        assert row["slots"] == pytest.approx(float(total)) and total == cycles * multipliers
        assert row["active"] == pytest.approx(sum(unit == of for unit, _ in work) / cycles)
        for cause in causes:
            assert row[cause] == pytest.approx(float(slots[of, cause] / total), abs=1e-12)
    active = sum(unit in pes for unit, _ in work)
    assert found.facts["active"] == pytest.approx(active / cycles / len(pes))
    executed = sum(slots[pe, "executed"] for pe in pes)
    share = float(executed / cycles / len(pes) / multipliers)
    assert found.facts["executed"] == pytest.approx(share)


@pytest.mark.parametrize("name, selection", CASES)
@pytest.mark.parametrize("bins", (1, 13))
def test_over_time_slots_are_even_in_a_wave_and_active_cycles_in_their_bins(name, selection, bins):
    with firemesh.open_trace(trace_of(name)) as trace:
        found = utilization(trace, chosen(**selection), bins)
        parts = list(wanted_segments(trace, **selection))
        names = set(found.rows["unit"].tolist())
        rate = defaultdict(float)
        for segment, unit, cause, count in trace.table("slots").tolist():
            if trace.units[unit] in names:
                of = trace.segments[segment]
                rate[segment, trace.causes[cause]] += count / int(of["cycle1"] - of["cycle0"])
        work, multipliers = working(trace, **selection), trace.attribute("multipliers")
    low, high = parts[0][1], parts[-1][2]
    width = math.ceil((high - low) / bins)
    assert found.series["cycle"].tolist() == list(range(low, high, width))
    for row in found.series:
        begin = int(row["cycle"])
        cycles = {
            number: max(0, min(end, begin + width) - max(first, begin))
            for number, first, end, _ in parts
        }
        n = sum(cycles.values()) * len(names)
        if not n:
            assert all(math.isnan(row[cause]) for cause in found.series.dtype.names[1:])
            continue
        active = sum(unit in names and begin <= cycle < begin + width for unit, cycle in work)
        assert row["active"] == pytest.approx(active / n)
        for cause in found.series.dtype.names[2:]:
            slots = sum(rate[number, cause] * count for number, count in cycles.items())
            assert row[cause] == pytest.approx(slots / n / multipliers, abs=1e-9)


@pytest.mark.parametrize("name", ("mnf", "frames", "streamed"))
def test_in_mode_mnf_a_pe_is_active_in_just_the_cycles_that_are_not_idle(name):
    with firemesh.open_trace(trace_of(name)) as trace:
        found = utilization(trace)
        idle = {
            cause.decode() for _, cause, _, is_idle in trace.table("causes").tolist() if is_idle
        }
    causes = [cause for cause in found.rows.dtype.names[3:] if cause not in idle]
    busy = sum(found.rows[cause] for cause in causes)
    assert np.allclose(found.rows["active"], busy, atol=1e-12) and len(causes) > 1


def test_a_cut_wave_is_told_and_a_whole_one_is_not():
    with firemesh.open_trace(trace_of("mnf")) as trace:
        whole, cut = utilization(trace), utilization(trace, chosen(cycles=(100, 700)))
        begin = int(trace.segments["cycle0"][1])
        inside = utilization(trace, chosen(cycles=(begin, trace.cycles)))
    assert "cut" not in whole.facts and "cut" not in inside.facts
    assert "in proportion" in cut.facts["cut"] and "2 waves" in cut.facts["cut"]
    assert whole.rows["slots"].dtype.kind == "i"


@pytest.mark.parametrize("name", ("mnf", "flexnn", "hybrid"))
def test_the_command_prints_writes_and_draws(capsys, tmp_path, name):
    csv, png = tmp_path / "u.csv", tmp_path / "u.png"
    path = trace_of(name)
    code, out, err = ended(capsys, "utilization", path, "--out", csv, "--plot", png)
    assert (code, err) == (0, "") and "executed" in out
    assert csv.read_text().startswith("cycle,active,executed,")
    assert png.read_bytes().startswith(b"\x89PNG")
    told = json.loads(ended(capsys, "utilization", path, "--json")[1])
    assert told["analysis"] == "utilization" and len(told["rows"]) and len(told["series"])


def test_a_table_wider_than_the_page_goes_on_below(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _ = ended(capsys, "utilization", trace_of("mnf"))
    assert max(map(len, out.splitlines())) <= 60 and "…" not in out
    assert sum(line.startswith("pe11 ") for line in out.splitlines()) > 1
    monkeypatch.setenv("COLUMNS", "200")
    _, wide, _ = ended(capsys, "utilization", trace_of("mnf"))
    assert sum(line.startswith("pe11 ") for line in wide.splitlines()) == 1
    assert sorted(set(out.split())) == sorted(set(wide.split()))


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("--unit", "storage"), "unit: storage is no PE"),
        (("--unit", "pe99"), "unit: must be one of storage, pe1"),
        (("--bins", "1000001"), "bins: must be 1 to 1,000,000, got 1000001"),
        (("--cycles", "5000:6000"), "nothing runs in the selection"),
        (("--memory", "psum"), "no such option: --memory"),
    ],
)
def test_what_cannot_be_is_told(capsys, arguments, sentence):
    code, out, err = ended(capsys, "utilization", trace_of("mnf"), *arguments)
    assert (code, out) == (2, "") and sentence in err
