"""CTF: what a reader of its own and babeltrace2 read is what was selected, event for event."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from ctf_reader import CtfTrace
from exported_traces import SELECTED, ended, told
from real_readers import need, output

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import ctf
from firemesh.traces.exporters.ctf_metadata import STREAMS, event_dtype, metadata
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.schema import ACCESS, DELIVERY, PACKET
from firemesh.traces.selection import Selection

SELECTIONS = (
    {},
    {"unit": (1, 9), "memory": ("psum", "acc"), "op": "write"},
    {"layer": ("conv2", "fc2")},
    {"cycles": (300, 420)},
    {"cycles": (280, 310), "unit": "storage"},
    {"frame": 0, "layer": 2},
)


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Return name -> path: the sample, and a frame in each of the other modes."""
    folder, images = tmp_path_factory.mktemp("traces"), firemesh.images("digits", 1)[0]
    paths = {"mnf": firemesh.sample_trace()}
    for mode in ("flexnn", "auto"):
        paths[mode] = folder / f"{mode}.h5"
        firemesh.run("digits", images, mode=mode, trace=paths[mode], values=mode == "auto")
    return paths


def written(path, out, **options):
    chosen = Selection(**{name: options.pop(name) for name in SELECTED if name in options})
    with firemesh.open_trace(path) as trace:
        report = export(trace, "ctf", out, Options(chosen, **options))
    return report, CtfTrace(out), json.loads(out.with_name(f"{out.name}.meta.json").read_text())


def selected(path, **selection):
    with firemesh.open_trace(path) as trace:
        return np.concatenate(list(trace.accesses(**selection)))


def same(events, rows):
    """Tell whether events are rows, field by field; an event's cycle comes first."""
    names = zip(events.dtype.names, rows.dtype.names, strict=True)
    return len(events) == len(rows) and all(
        (events[one] == rows[other]).all() for one, other in names
    )


@pytest.mark.parametrize("mode", ("mnf", "flexnn", "auto"))
@pytest.mark.parametrize("selection", SELECTIONS)
def test_accesses_are_those_of_the_selection_in_its_order(traces, tmp_path, mode, selection):
    report, read, side = written(traces[mode], tmp_path / "c", **selection)
    wanted = selected(traces[mode], **selection)
    events = read.events("access")
    assert same(events, wanted) and len(wanted)
    totals = dict(count=len(wanted), bytes=int(wanted["size"].sum()))
    totals |= dict(first=int(wanted["cycle"][0]), last=int(wanted["cycle"][-1]))
    for part, count in (("selected", "accesses"), ("written", "records")):
        names = (count, "bytes", "first_cycle", "last_cycle")
        assert [side[part][name] for name in names] == list(totals.values())
    assert report.counts["accesses"] == len(events)


@pytest.mark.parametrize("mode", ("mnf", "auto"))
def test_packets_and_arrivals_are_those_of_the_trace(traces, tmp_path, mode):
    report, read, side = written(traces[mode], tmp_path / "c")
    sent, arrived = read.events("packet_sent"), read.events("packet_arrived")
    with firemesh.open_trace(traces[mode]) as trace:
        assert same(sent, np.concatenate(list(trace.packets())))
        assert same(arrived, np.concatenate(list(trace.deliveries())))
        packets = told(trace)
    assert [(read.enums["kind"][kind], source) for kind, source in sent[["kind", "source"]]] == [
        (packet["kind"], packet["source"]) for packet in packets
    ]
    assert len(arrived) == sum(len(packet["arrived"]) for packet in packets) > len(sent)
    assert report.counts["packets"] == len(sent) == side["packets"]["packet_sent"]["records"]
    assert side["packets"]["packet_arrived"]["last_cycle"] == int(arrived["timestamp"][-1])


def test_packets_heed_layer_unit_and_cycles_and_are_left_out_where_memories_are_chosen(
    traces, tmp_path
):
    _, whole, _ = written(traces["mnf"], tmp_path / "a")
    _, part, _ = written(traces["mnf"], tmp_path / "b", unit=("storage", "pe2"), cycles=(350, 700))
    for name, unit in (("packet_sent", "source"), ("packet_arrived", "unit")):
        rows = whole.events(name)
        keep = (rows["timestamp"] >= 350) & (rows["timestamp"] < 700) & np.isin(rows[unit], (0, 2))
        assert (part.events(name) == rows[keep]).all() and 0 < keep.sum() < len(rows)
    for number, chosen in enumerate(({"memory": "psum"}, {"op": "read"})):
        report, _, _ = written(traces["mnf"], tmp_path / f"c{number}", **chosen)
        assert report.counts["packets"] == report.counts["deliveries"] == 0


def test_segments_tell_frame_layer_and_wave_of_every_cycle(traces, tmp_path):
    _, read, _ = written(traces["mnf"], tmp_path / "a")
    with firemesh.open_trace(traces["mnf"]) as trace:
        wanted = trace.segments[["cycle0", "cycle1", "frame", "layer", "wave"]]
    assert read.events("segment").tolist() == wanted.tolist()
    _, read, _ = written(traces["mnf"], tmp_path / "b", cycles=(300, 700), relative=True)
    assert [row[:2] for row in read.events("segment").tolist()] == [(0, 356), (356, 400)]


def test_relative_cycles_count_from_the_first_selected_one(traces, tmp_path):
    _, read, side = written(traces["mnf"], tmp_path / "a", layer="fc1", relative=True)
    _, whole, _ = written(traces["mnf"], tmp_path / "b", layer="fc1")
    zero = side["cycle_0_is_cycle_of_run"]
    assert zero == 656
    for name in ("access", "packet_sent", "packet_arrived"):
        wanted = whole.events(name)["timestamp"] - np.uint64(zero)
        assert (read.events(name)["timestamp"] == wanted).all()


def test_a_packet_of_a_stream_tells_its_first_and_last_cycle(traces, tmp_path, monkeypatch):
    whole = written(traces["mnf"], tmp_path / "a")[1].events("access")
    monkeypatch.setattr(ctf, "PACKET_EVENTS", 1000)
    _, read, _ = written(traces["mnf"], tmp_path / "b")
    packets = list(read.packets())
    assert len(packets) > 63 and max(len(events) for *_, events in packets) == 1000
    for _, first, last, events in packets:
        assert (first, last) == (events["timestamp"][0], events["timestamp"][-1])
    assert (read.events("access") == whole).all()


def test_numbers_have_the_names_of_the_trace_and_the_clock_is_the_machines(traces, tmp_path):
    _, read, _ = written(traces["auto"], tmp_path / "c")
    with firemesh.open_trace(traces["auto"]) as trace:
        names = dict(unit=trace.units, layer=trace.layers, memory=trace.memories, op=trace.ops)
        assert read.clock == trace.attribute("clock_hz")
    assert {name: list(read.enums[name].values()) for name in names} == names


def test_events_are_what_readers_of_a_trace_get_byte_for_byte():
    for name, dtype in (("access", ACCESS), ("packet_sent", PACKET), ("packet_arrived", DELIVERY)):
        kinds = [(f, dtype[f]) for f in dtype.names]
        mine = event_dtype(name)
        assert [kind for _, kind in kinds] == [mine[f] for f in mine.names]
        assert [f for f, _ in kinds][1:] == list(STREAMS[name])


def test_the_same_trace_gives_the_same_bytes(traces, tmp_path):
    for name in "ab":
        written(traces["auto"], tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["access", "metadata", "packet_arrived", "packet_sent", "segment"]
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )


def test_nothing_selected_is_one_sentence_and_no_folder(traces, tmp_path):
    for selection in ({"memory": "acc"}, {"cycles": (900, 1000)}):
        with pytest.raises(TraceError, match="holds no accesses"):
            written(traces["mnf"], tmp_path / "c", **selection)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mistake", (("--merge",), ("--clock", "1000"), ("--burst-bytes", "64")))
def test_options_that_would_change_accesses_are_refused(capsys, traces, tmp_path, mistake):
    code, _, err = ended(capsys, traces["mnf"], "--to", "ctf", "--out", tmp_path / "c", *mistake)
    assert code == 2 and f"{mistake[0]}: is of " in err and "leave it out for ctf" in err


# ---- babeltrace2

LINE = re.compile(r"\[(\d+)\] (\w+): \{ (.*) \}")
FIELD = re.compile(r'(\w+) = (?:\( "([^"]*)" : container = (\d+) \)|(\w+|-\d+))')


def babeltrace(*arguments):
    """Return (cycle, event, {field: number}, {field: label}) of each line of babeltrace2."""
    found = []
    for line in output("babeltrace2", "--clock-cycles", "--no-delta", *arguments).splitlines():
        cycle, name, rest = LINE.fullmatch(line).groups()
        fields = [(f, label, int(n or plain, 0)) for f, label, n, plain in FIELD.findall(rest)]
        numbers = {f: n for f, _, n in fields}
        found.append((int(cycle), name, numbers, {f: label for f, label, _ in fields if label}))
    return found


@pytest.mark.parametrize("mode", ("mnf", "auto"))
def test_babeltrace_reads_every_event_with_names_merged_by_cycle(traces, tmp_path, mode):
    need("babeltrace2")
    _, read, _ = written(traces[mode], tmp_path / "c")
    lines = babeltrace(tmp_path / "c")
    cycles = [cycle for cycle, *_ in lines]
    assert cycles == sorted(cycles)
    for name in STREAMS:
        events = read.events(name)
        mine = [(cycle, *numbers.values()) for cycle, one, numbers, _ in lines if one == name]
        assert mine == events.tolist() and mine
    for _, _, numbers, labels in lines[:: max(1, len(lines) // 500)]:
        for field, label in labels.items():
            enum = {"source": "unit"}.get(field, field)
            assert label == read.enums[enum][numbers[field]]


def test_babeltrace_reads_a_window_by_its_clock(traces, tmp_path, monkeypatch):
    need("babeltrace2")
    monkeypatch.setattr(ctf, "PACKET_EVENTS", 1000)
    written(traces["mnf"], tmp_path / "c")
    ns = [cycle * 5 for cycle in (400, 499)]  # at 200 MHz
    begin, end = (f"0.{time:09}" for time in ns)
    lines = babeltrace(f"--begin={begin}", f"--end={end}", tmp_path / "c")
    wanted = selected(traces["mnf"], cycles=(400, 500))
    found = [(cycle, n["address"], n["unit"]) for cycle, name, n, _ in lines if name == "access"]
    assert found == wanted[["cycle", "address", "unit"]].tolist()


def test_babeltrace_reads_names_of_any_characters(tmp_path):
    need("babeltrace2")
    names = ['a "b"', "back\\slash", "a/b:1", "Größe", "int", "", "new\nline"]
    trace = SimpleNamespace(
        units=["storage"], layers=names, memories=["m", "noc_inject"], ops=["read", "write"],
        _names=lambda table: ["event"], attribute={"clock_hz": 123_456_789}.get,
    )  # fmt: skip
    (tmp_path / "metadata").write_text(metadata(trace, {"network": names[0]}))
    stream = ctf.Stream(tmp_path / "access", "access")
    block = np.zeros(len(names), ACCESS)
    block["layer"] = np.arange(len(names))
    block["cycle"] = 2**59 + np.arange(len(names), dtype=np.uint64)
    stream.write(block)
    stream.close()
    text = output("babeltrace2", "--clock-cycles", "--no-delta", tmp_path)
    assert len(text.splitlines()) == len(names) and f"[{2**59:020}]" in text
    for plain in ("a/b:1", "int", "Gr__e", "new_line"):
        assert f'layer = ( "{plain}" : container' in text


@pytest.mark.benchmark(group="export")
def test_millions_of_accesses_a_second(benchmark, tmp_path):
    stream = ctf.Stream(tmp_path / "access", "access")
    block = np.zeros(1 << 20, ACCESS)
    benchmark.pedantic(lambda: stream.write(block), rounds=5)
    stream.close()
    benchmark.extra_info["accesses/s"] = len(block) / benchmark.stats.stats.min
