"""VCD: what pyvcd reads, before and after GTKWave's converters, is the selection."""

import io
import json

import numpy as np
import pytest
from exported_traces import SELECTED, ended
from real_readers import need, output

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import vcd, vcd_changes
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.selection import Selection

SELECTIONS = (
    {},
    {"cycles": (280, 340)},
    {"unit": (0, 2), "op": "write"},
    {"frame": 0, "layer": (0, 2), "cycles": (100, 230)},
)


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder, images = tmp_path_factory.mktemp("traces"), firemesh.images("digits", 2)[0]
    paths = {mode: folder / f"{mode}.h5" for mode in ("mnf", "flexnn", "auto")}
    for mode, path in paths.items():
        firemesh.run("digits", images[: 2 if mode == "mnf" else 1], mode=mode, trace=path)
    return paths | {"sample": firemesh.sample_trace()}


def written(path, out, **options):
    chosen = Selection(**{name: options.pop(name) for name in SELECTED if name in options})
    with firemesh.open_trace(path) as trace:
        report = export(trace, "vcd", out, Options(chosen, **options))
    return report, json.loads(out.with_name(f"{out.name}.meta.json").read_text())


class Dump:
    """A dump as pyvcd reads it: ``accesses``, ``run`` (times and values), ``times``, ``end``."""

    def __init__(self, data):
        need(modules=("vcd",))
        from vcd.reader import TokenKind, tokenize

        scopes, signals, state, before = [], {}, {}, None
        self.accesses, self.run, self.end, self.times = [], {}, None, []
        for token in tokenize(io.BytesIO(data)):
            kind, told = token.kind, token.data
            if kind is TokenKind.SCOPE:
                scopes.append(told.ident)
            elif kind is TokenKind.UPSCOPE:
                scopes.pop()
            elif kind is TokenKind.VAR:
                signals[told.id_code] = tuple(scopes[1:]), told.reference
            elif kind is TokenKind.TIMESCALE:
                assert str(told) == "1 ns"
            elif kind is TokenKind.CHANGE_TIME:
                assert before is None or told > before
                for cycle in range(told if before is None else before, told):
                    self.take(cycle, state)
                before = self.end = told
                self.times.append(told)
            elif kind in (
                TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR, TokenKind.CHANGE_STRING
            ):  # fmt: skip
                scope, name = signals[told.id_code]
                if scope:
                    state.setdefault(scope, {})[name] = told.value
                else:
                    self.run.setdefault(name, []).append((before, told.value))
        self.scopes = {scope for scope, _ in signals.values() if scope}
        assert not scopes

    def take(self, cycle, state):
        for (unit, memory, port), values in state.items():
            if values["valid"] in ("1", 1):
                op = port.partition("_")[0]
                row = cycle, unit, memory, op, values["address"], values["size"]
                self.accesses.append(row)
            else:
                idle = str(values["address"]).strip("z"), str(values["size"]).strip("z")
                assert values["valid"] in ("0", 0) and idle == ("", "")


def selected(path, zero=0, **selection):
    with firemesh.open_trace(path) as trace:
        rows = np.concatenate(list(trace.accesses(**selection)))
        return [
            (cycle - zero, trace.units[unit], trace.memories[memory], trace.ops[op], address, size)
            for cycle, address, unit, _, size, memory, op in rows.tolist()
        ]


@pytest.mark.parametrize("mode", ("mnf", "auto", "flexnn"))
@pytest.mark.parametrize("selection", SELECTIONS)
def test_accesses_read_back_are_the_selection(traces, tmp_path, mode, selection):
    if mode == "flexnn" and not selection:
        selection = {"cycles": (200, 260)}
    report, side = written(traces[mode], tmp_path / "d.vcd", **selection)
    dump, wanted = Dump((tmp_path / "d.vcd").read_bytes()), selected(traces[mode], **selection)
    assert sorted(dump.accesses) == sorted(wanted) and wanted
    counts = {"accesses": len(wanted), "ports": len(dump.scopes)}
    assert report.counts == counts and side["ports"] == len(dump.scopes)
    for part, count in (("selected", "accesses"), ("written", "records")):
        assert side[part][count] == len(wanted)
        assert side[part]["bytes"] == sum(row[5] for row in wanted)
        ends = side[part]["first_cycle"], side[part]["last_cycle"]
        assert ends == (wanted[0][0], wanted[-1][0])


@pytest.mark.parametrize("mode", ("mnf", "auto"))
def test_gtkwaves_converters_accept_it_and_give_it_back(traces, tmp_path, mode):
    need("vcd2fst", "fst2vcd")
    written(traces[mode], tmp_path / "d.vcd")
    output("vcd2fst", tmp_path / "d.vcd", tmp_path / "d.fst")
    back = output("fst2vcd", tmp_path / "d.fst")
    first, again = Dump((tmp_path / "d.vcd").read_bytes()), Dump(back.encode())
    assert again.accesses and sorted(again.accesses) == sorted(first.accesses)
    assert again.scopes == first.scopes and again.end == first.end
    assert [value for _, value in again.run["layer"]] == [value for _, value in first.run["layer"]]


def test_layer_frame_and_wave_are_those_of_the_segments(traces, tmp_path):
    written(traces["mnf"], tmp_path / "d.vcd", unit=1, memory="weight")
    dump = Dump((tmp_path / "d.vcd").read_bytes())
    with firemesh.open_trace(traces["mnf"]) as trace:
        segments, names, cycles = trace.segments, trace.layers, trace.cycles
    wanted = [(int(s["cycle0"]), names[s["layer"]]) for s in segments]
    assert dump.run["layer"] == wanted
    for name in ("frame", "wave"):
        assert dump.run[name] == [(int(s["cycle0"]), int(s[name])) for s in segments]
    assert (dump.times[0], dump.end) == (0, cycles)


def test_a_window_begins_and_ends_with_its_cycles(traces, tmp_path):
    for relative, zero in ((False, 0), (True, 600)):
        out = tmp_path / f"{zero}.vcd"
        written(traces["mnf"], out, cycles=(600, 700), relative=relative)
        dump = Dump(out.read_bytes())
        assert (dump.times[0], dump.end) == (600 - zero, 700 - zero)
        assert sorted(dump.accesses) == sorted(selected(traces["mnf"], zero, cycles=(600, 700)))


def test_a_port_is_for_one_access_a_cycle_and_no_more_ports_than_needed(traces, tmp_path):
    written(traces["sample"], tmp_path / "d.vcd", memory="psum", op="read", unit="pe1")
    dump = Dump((tmp_path / "d.vcd").read_bytes())
    with firemesh.open_trace(traces["sample"]) as trace:
        rows = np.concatenate(list(trace.accesses(memory="psum", op="read", unit="pe1")))
    most = int(np.unique(rows["cycle"], return_counts=True)[1].max())
    ports = ["read", *(f"read_{number}" for number in range(2, most + 1))]
    assert sorted(dump.scopes) == sorted(("pe1", "psum", port) for port in ports) and most > 1


def test_text_does_not_depend_on_the_blocks_it_is_written_from(traces, tmp_path):
    with firemesh.open_trace(traces["sample"]) as trace:
        found = trace.accesses(layer="conv1", unit="pe1", memory="psum", op="write")
        block = np.concatenate(list(found))
    edges = np.flatnonzero(np.diff(block["cycle"].astype(int))) + 1
    lanes = vcd.Lanes()
    port = lanes.of(*(block[name] for name in ("cycle", "unit", "memory", "op")))
    columns = block["cycle"], block["address"], block["size"], port
    n = len(lanes.found)
    names = [vcd.signal_name(number).encode() for number in range(3 * n)]
    texts = []
    for cuts in ([], edges[::3], edges):
        changes, text = vcd_changes.Changes(names, np.full(n, 20)), b""
        for begin, end in zip([0, *cuts], [*cuts, len(block)], strict=True):
            text += changes.text(tuple(column[begin:end] for column in columns)).tobytes()
        nothing = (np.zeros(0, np.int64),) * 4
        texts.append(text + changes.text(nothing, 10_000).tobytes())
    assert texts[0] == texts[1] == texts[2] and len(texts[0]) > len(block)


def test_signals_have_names_of_their_own():
    names = [vcd.signal_name(number) for number in range(200_000)]
    assert len(set(names)) == len(names) and max(map(len, names)) == 3
    assert not any(set(name) & set("#$ ") for name in names)


@pytest.mark.parametrize("most", ("MOST_ACCESSES", "MOST_CYCLES"))
def test_a_selection_that_is_too_large_is_refused_with_a_window_that_is_not(
    traces, tmp_path, monkeypatch, capsys, most
):
    monkeypatch.setattr(vcd, most, 500)
    given = traces["sample"], "--to", "vcd", "--out", tmp_path / "d.vcd"
    code, _, err = ended(capsys, *given)
    assert code == 2 and "the selection is more than 500 " in err
    window = err.split("--cycles ")[1].split(",")[0]
    code, _, err = ended(capsys, *given, "--cycles", window)
    assert (code, err) == (0, "")
    monkeypatch.setattr(vcd, most, 10)
    if most == "MOST_ACCESSES":
        with pytest.raises(TraceError, match="choose fewer cycles, units or memories"):
            written(traces["sample"], tmp_path / "e.vcd", cycles=(400, 401))


def test_the_same_trace_gives_the_same_bytes_in_ascii(traces, tmp_path):
    for name in "ab":
        written(traces["auto"], tmp_path / name, cycles=(0, 300))
    first, again = ((tmp_path / name).read_bytes() for name in "ab")
    assert first == again and first.isascii() and b"$date" not in first
