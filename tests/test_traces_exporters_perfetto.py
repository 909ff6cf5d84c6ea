"""Perfetto: what trace_processor reads is what was written, and that is what the trace holds."""

import gzip
import json
from collections import defaultdict

import numpy as np
import pytest
from exported_traces import SELECTED, ended
from trace_processor import tables

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import perfetto, perfetto_window
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.exporters.lanes import Lanes
from firemesh.traces.exporters.perfetto_overview import PHASES
from firemesh.traces.selection import Selection

WINDOWS = {"mnf": (560, 700), "flexnn": (200, 230), "auto": (100, 300)}


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Return name -> path: two frames of digits, and one in each of the other modes."""
    folder, images = tmp_path_factory.mktemp("traces"), firemesh.images("digits", 2)[0]
    paths = {"sample": firemesh.sample_trace()}
    for mode in ("mnf", "flexnn", "auto"):
        paths[mode] = folder / f"{mode}.h5"
        frames = images if mode == "mnf" else images[:1]
        firemesh.run("digits", frames, mode=mode, trace=paths[mode])
    return paths


def written(path, out, **options):
    chosen = Selection(**{name: options.pop(name) for name in SELECTED if name in options})
    with firemesh.open_trace(path) as trace:
        report = export(trace, "perfetto", out, Options(chosen, **options))
    data = gzip.decompress(out.read_bytes()) if out.suffix == ".gz" else out.read_bytes()
    side = json.loads(out.with_name(f"{out.name}.meta.json").read_text())
    return report, json.loads(data)["traceEvents"], side


def ns(time):
    return round(1000 * time)


class Drawn:
    """The events of a file by the names of their tracks."""

    def __init__(self, events):
        name, self.slices, self.counters = {}, defaultdict(list), defaultdict(list)
        for event in events:
            place = event["pid"], event.get("tid")
            if event["name"] in ("process_name", "thread_name"):
                name[place] = event["args"]["name"]
        for event in events:
            place = name[event["pid"], None], name.get((event["pid"], event.get("tid")))
            if event["ph"] == "X":
                begin = ns(event["ts"])
                row = begin, begin + ns(event["dur"]), event["name"], event["args"]
                self.slices[place].append(row)
            elif event["ph"] == "C":
                ((unit, value),) = event["args"].items()
                self.counters[place[0], event["name"], unit].append((ns(event["ts"]), value))
        self.groups = list(dict.fromkeys(key[0] for key in name.items() if key[0][1] is None))
        self.overview = name[1, None]


DROPPED = "select name, value from stats where severity != 'info' and value != 0"


@pytest.mark.parametrize("mode, is_window", (("mnf", False), ("flexnn", False), ("auto", True)))
def test_the_reader_drops_nothing(traces, tmp_path, mode, is_window):
    window = {"cycles": WINDOWS[mode]} if is_window else {}
    report, events, side = written(traces[mode], tmp_path / "p.json.gz", **window)
    dropped, slices, counters, flows, processes, threads = tables(
        tmp_path / "p.json.gz",
        DROPPED,
        "select ts, dur, slice.name, tid, pid from slice join thread_track t"
        " on slice.track_id = t.id join thread using(utid) join process using(upid)",
        "select ts, value from counter",
        "select count(*) from flow",
        "select pid, name from process where pid > 0",
        "select tid, thread.name, pid from thread join process using(upid) where tid > pid",
    )
    assert dropped == []
    counts = report.counts
    found = {"slices": len(slices), "counters": len(counters), "flows": flows[0][0]}
    assert found == {name: counts[name] for name in found}
    assert side["counts_of_events"]["events"] == len(events) == counts["events"]
    mine = [e for e in events if e["ph"] == "X"]
    wanted = [(ns(e["ts"]), ns(e["dur"]), e["name"], e["tid"], e["pid"]) for e in mine]
    assert sorted(slices) == sorted(wanted)
    wanted = [(ns(e["ts"]), next(iter(e["args"].values()))) for e in events if e["ph"] == "C"]
    assert np.allclose(sorted(counters), sorted(wanted), rtol=1e-14, atol=0)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert set(names.items()) == set(processes)
    names = [(e["tid"], e["args"]["name"], e["pid"]) for e in events if e["name"] == "thread_name"]
    assert sorted(names) == sorted(row for row in threads if row[1] is not None)


# ---- the overview


def test_layers_and_frames_last_as_long_as_their_segments(traces, tmp_path):
    _, events, _ = written(traces["mnf"], tmp_path / "p.json")
    drawn = Drawn(events)
    rows = drawn.slices[drawn.overview, "layers"]
    with firemesh.open_trace(traces["mnf"]) as trace:
        segments, names, cycles = trace.segments, trace.layers, trace.cycles
    layers = [row[:3] for row in rows if row[2] in names]
    assert layers == [(int(s["cycle0"]), int(s["cycle1"]), names[s["layer"]]) for s in segments]
    frames = [row for row in rows if row[2].startswith("frame ")]
    assert [row[2] for row in frames] == ["frame 0", "frame 1"]
    assert sum(end - begin for begin, end, *_ in frames) == cycles
    assert frames[0][1] == frames[1][0]


@pytest.mark.parametrize("mode", ("mnf", "flexnn", "auto"))
@pytest.mark.parametrize("most", (None, 3_000))
def test_streams_hold_all_accesses_and_begin_and_end_with_one(
    traces, tmp_path, monkeypatch, mode, most
):
    if most:
        monkeypatch.setattr(perfetto, "OVERVIEW_EVENTS", most)
    _, events, side = written(traces[mode], tmp_path / "p.json")
    drawn = Drawn(events)
    with firemesh.open_trace(traces[mode]) as trace:
        blocks = list(trace.accesses(memory=range(len(trace.memories))))
        counted = trace.counters(by=("unit",))
        streams = trace._names("streams")
    all_ = np.concatenate(blocks)
    for number, (unit, count, moved) in enumerate(counted.tolist()):
        rows = [
            row for (group, name), part in drawn.slices.items() for row in part
            if group == unit and name in streams
        ]  # fmt: skip
        assert sum(row[3]["accesses"] for row in rows) == count > 0
        assert sum(row[3]["bytes"] for row in rows) == moved
        if number % 40 > 3:
            continue
        cycles = np.unique(all_["cycle"][all_["unit"] == trace.units.index(unit)])
        covered = np.unique(np.concatenate([np.arange(begin, end) for begin, end, *_ in rows]))
        ends = [cycle for begin, end, *_ in rows for cycle in (begin, end - 1)]
        assert set(ends) <= set(cycles.tolist()) <= set(covered.tolist())
        assert side["bin_cycles"] > 1 or len(covered) == len(cycles)
    assert (side["bin_cycles"] > 1) == (most is not None or mode == "flexnn")


def test_a_pe_is_in_one_phase_at_a_time_the_first_that_its_streams_are_of(traces, tmp_path):
    _, events, side = written(traces["sample"], tmp_path / "p.json")
    assert side["bin_cycles"] == 1
    drawn = Drawn(events)
    for pe in ("pe1", "pe2", "pe11"):
        phase = {}
        for begin, end, name, _ in drawn.slices[drawn.overview, pe]:
            if name in PHASES:
                for cycle in range(begin, end):
                    assert cycle not in phase
                    phase[cycle] = name
        wanted = {}
        for name, streams in reversed(PHASES.items()):
            for stream in streams:
                for begin, end, *_ in drawn.slices.get((pe, stream), []):
                    wanted |= dict.fromkeys(range(begin, end), name)
        assert phase == wanted and {"multiply", "fire"} <= set(phase.values())


def test_counters_times_cycles_are_bytes_and_flits(traces, tmp_path):
    _, events, side = written(traces["sample"], tmp_path / "p.json")
    drawn = Drawn(events)
    with firemesh.open_trace(traces["sample"]) as trace:
        counted = trace.counters(by=("memory", "op")).tolist()
    names = {"noc_inject write": "packets sent", "noc_eject read": "packets arrived"}
    found = {}
    for (group, name, unit), rows in drawn.counters.items():
        if unit != "%":
            assert group == drawn.overview and rows[-1][1] == 0
            steps = zip(rows, rows[1:], strict=False)
            found[name] = sum(value * (after - cycle) for (cycle, value), (after, _) in steps)
    wanted = {f"{memory} {op}": moved for memory, op, _, moved in counted}
    assert found == {names.get(name, name): moved for name, moved in wanted.items()}


def test_busy_multipliers_are_those_of_the_slots(traces, tmp_path):
    _, events, _ = written(traces["sample"], tmp_path / "p.json")
    drawn = Drawn(events)
    with firemesh.open_trace(traces["sample"]) as trace:
        begins = trace.segments["cycle0"].tolist()
        by = {unit: trace.slots(by=("layer", "unit", "cause")).tolist() for unit in trace.units}
        layers = trace.layers
    for group, name, unit in ((drawn.overview, "all PEs busy", None), ("pe3", "busy", "pe3")):
        percent = dict(drawn.counters[group, name, "%"])
        for layer, begin in zip(layers, begins, strict=True):
            rows = [row for row in by["pe3"] if row[0] == layer and unit in (None, row[1])]
            busy = sum(row[3] for row in rows if row[2] in ("executed", "ineffectual"))
            assert percent[begin] == pytest.approx(100 * busy / sum(r[3] for r in rows), abs=0.006)


@pytest.mark.parametrize("most", (2_000, 20_000))
def test_bins_are_wide_enough_for_the_events_that_are_allowed(traces, tmp_path, monkeypatch, most):
    monkeypatch.setattr(perfetto, "OVERVIEW_EVENTS", most)
    report, _, side = written(traces["auto"], tmp_path / "p.json")
    with firemesh.open_trace(traces["auto"]) as trace:
        rest = len(trace.segments) * (3 * len(trace.units) + 300)
    assert report.counts["slices"] + report.counts["counters"] < most + rest
    assert side["bin_cycles"] > 1


# ---- windows


@pytest.mark.parametrize("mode", ("mnf", "flexnn", "auto"))
@pytest.mark.parametrize("chosen", ({}, {"unit": (0, 3)}, {"op": "read"}))
def test_accesses_of_a_window_are_slices_of_one_cycle_each(traces, tmp_path, mode, chosen):
    window = WINDOWS[mode]
    report, events, side = written(traces[mode], tmp_path / "p.json", cycles=window, **chosen)
    drawn = Drawn(events)
    with firemesh.open_trace(traces[mode]) as trace:
        found = []
        for (group, name), rows in drawn.slices.items():
            memory, _, op = str(name).rstrip(" 0123456789").rpartition(" ")
            if group not in trace.units or memory not in trace.memories:
                continue
            times = [row[0] for row in rows]
            assert len(set(times)) == len(times)
            for begin, end, called, told in rows:
                assert end == begin + 1 and called == op
                place = begin, group, memory, op, int(told["address"], 16), told["bytes"]
                found.append((*place, told["layer"]))
        selected = np.concatenate(list(trace.accesses(cycles=window, **chosen)))
        wanted = [
            (cycle, trace.units[unit], trace.memories[memory], trace.ops[op], address, size,
             trace.layers[layer])
            for cycle, address, unit, layer, size, memory, op in selected.tolist()
        ]  # fmt: skip
    assert sorted(found) == sorted(wanted)
    assert report.counts["accesses"] == side["selected"]["accesses"] == len(wanted)
    for part, count in (("selected", "accesses"), ("written", "records")):
        assert side[part][count] == len(wanted)
        assert side[part]["bytes"] == int(selected["size"].sum())
        ends = [side[part][name] for name in ("first_cycle", "last_cycle")]
        assert ends == [int(selected["cycle"][0]), int(selected["cycle"][-1])]


def test_a_flow_leads_from_each_packet_to_each_of_its_arrivals_in_the_window(traces, tmp_path):
    low, high = WINDOWS["mnf"]
    written(traces["mnf"], tmp_path / "p.json", cycles=(low, high))
    side = (
        "select {0}.ts, {0}.name, {1}.name, extract_arg({0}.arg_set_id, 'args.number') from flow f"
        " join slice {0} on f.slice_{2} = {0}.id join thread_track t on {0}.track_id = t.id"
        " join thread using(utid) join process {1} using(upid) order by f.id"
    )
    begins, ends, dropped = tables(
        tmp_path / "p.json", side.format("a", "p", "out"), side.format("a", "p", "in"), DROPPED
    )
    assert dropped == []
    found = sorted((b[0], b[2], b[3], e[0], e[2], e[1]) for b, e in zip(begins, ends, strict=True))
    wanted = []
    with firemesh.open_trace(traces["mnf"]) as trace:
        for sent, arrived in zip(trace.packets(), trace.deliveries(), strict=True):
            created = {(n, s): c for c, n, s in sent[["created", "number", "source"]].tolist()}
            for cycle, number, source, unit, _, _ in arrived.tolist():
                begin, name = created[number, source], trace.units[source]
                if low <= begin and low <= cycle < high:
                    row = begin, name, number, cycle, trace.units[unit], f"from {name}"
                    wanted.append(row)
    assert found == sorted(wanted) and len(wanted) > 100


@pytest.mark.parametrize("cycle", (0, 34, 40, 146, 560))
def test_a_window_of_one_cycle_has_its_accesses_and_packets(traces, tmp_path, cycle):
    window = cycle, cycle + 1
    report, events, _ = written(traces["sample"], tmp_path / "p.json", cycles=window)
    with firemesh.open_trace(traces["sample"]) as trace:
        assert report.counts["accesses"] == sum(map(len, trace.accesses(cycles=window)))
        told = ((trace.packets(), "created"), (trace.deliveries(), "cycle"))
        wanted = [sum(int((one[name] == cycle).sum()) for one in blocks) for blocks, name in told]
    slices, found = Drawn(events).slices, [0, 0]
    for (_, track), rows in slices.items():
        for place, name in enumerate(("packets sent", "packets arrived")):
            found[place] += len(rows) * str(track).startswith(name)
    assert found == wanted


def test_relative_cycles_begin_with_the_window(traces, tmp_path):
    whole = written(traces["mnf"], tmp_path / "a.json", cycles=(600, 640))[1]
    moved = written(traces["mnf"], tmp_path / "b.json", cycles=(600, 640), relative=True)[1]
    for event in whole:
        if "ts" in event:
            event["ts"] = round(event["ts"] - 0.6, 3)
    assert moved == whole


def test_a_window_that_is_too_large_is_refused_with_one_that_is_not(traces, tmp_path, monkeypatch):
    monkeypatch.setattr(perfetto_window, "MOST_EVENTS", 9_000)
    for cycles in ((290, 640), (0, 876)):
        with pytest.raises(TraceError, match="more than 9,000 events") as error:
            written(traces["sample"], tmp_path / "p.json", cycles=cycles)
        way = str(error.value).split("--cycles ")[1].split(",")[0]
        low, high = map(int, way.split(":"))
        assert low == cycles[0] and low < high < cycles[1]
        report = written(traces["sample"], tmp_path / f"{low}.json", cycles=(low, high))[0]
        assert 0 < report.counts["accesses"] and report.counts["events"] <= 9_000


def test_too_many_waves_are_refused(capsys, traces, tmp_path, monkeypatch):
    monkeypatch.setattr(perfetto, "MOST_EVENTS", perfetto.OVERVIEW_EVENTS + 1000)
    code, _, err = ended(capsys, traces["mnf"], "--to", "perfetto", "--out", tmp_path / "p.json")
    assert code == 2 and "8 waves on 12 units are too many" in err and "--frame" in err


def test_compressed_files_hold_the_same_and_no_name_or_time(traces, tmp_path):
    plain = written(traces["sample"], tmp_path / "a.json")[1]
    packed = written(traces["sample"], tmp_path / "b.json.gz")[1]
    again = written(traces["sample"], tmp_path / "c.json.gz")[1]
    assert plain == packed == again
    assert (tmp_path / "b.json.gz").read_bytes() == (tmp_path / "c.json.gz").read_bytes()


def test_a_lane_takes_one_access_a_cycle():
    rng, lanes = np.random.default_rng(0), Lanes()
    seen = set()
    for block in range(3):
        cycle = np.sort(rng.integers(10 * block, 10 * block + 10, 500))
        unit, memory, op = (
            rng.integers(0, 3, 500),
            rng.integers(0, 255, 500),
            rng.integers(0, 2, 500),
        )
        for c, lane, u, m, o in zip(
            cycle, lanes.of(cycle, unit, memory, op), unit, memory, op, strict=True
        ):
            assert (c, lane) not in seen
            seen.add((c, lane))
            assert lanes.found[lane][:3] == (u, m, o)
    widest = max(lane.number for lane in lanes.found)
    assert 0 < widest < 10
