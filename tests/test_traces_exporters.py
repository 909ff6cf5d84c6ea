"""Exported traces: lines of packets, files that are whole or not there, and mistakes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
import pytest
from exported_traces import ended, every_trace, recorder, told, written
from foreign_formats import read_packet_lines
from hypothesis import given
from hypothesis import strategies as st

import firemesh
from firemesh.emulator.recorder import Recorder
from firemesh.traces import writer
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import noxim, traffic
from firemesh.traces.exporters.export import EXPORTERS, export
from firemesh.traces.exporters.text import numbers_text


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return recorder(tmp_path_factory.mktemp("exported"))


# ---- packets


@every_trace
def test_a_line_of_packets_is_a_packet_with_all_its_destinations(
    recorded, tmp_path, network, multicast
):
    report, data, side = written(recorded(network, multicast), "text", tmp_path / "p.txt")
    lines = read_packet_lines(data.decode("ascii"))
    with firemesh.open_trace(recorded(network, multicast)) as trace:
        packets = told(trace)
    wanted = [(p["cycle"], p["source"], tuple(sorted(p["arrived"])), p["flits"]) for p in packets]
    assert lines == wanted and len(lines)
    keys = [(p["cycle"], p["source"], p["number"]) for p in packets]
    assert keys == sorted(keys)
    copies = sum(len(to) for _, _, to, _ in lines)
    assert report.counts == {"packets": len(lines), "deliveries": copies, "lines": len(lines)}
    assert side["counts"] == report.counts


def test_split_packets_are_a_line_for_each_destination(recorded, tmp_path):
    whole = read_packet_lines(written(recorded(), "text", tmp_path / "a")[1].decode())
    split = read_packet_lines(
        written(recorded(), "text", tmp_path / "b", split=True)[1].decode()
    )
    assert split == [(c, s, (node,), f) for c, s, to, f in whole for node in to]
    assert len(split) > len(whole)


def test_a_layer_and_a_frame_are_a_part_whose_cycles_may_begin_with_0(recorded, tmp_path):
    whole = read_packet_lines(written(recorded(), "text", tmp_path / "a")[1].decode())
    with firemesh.open_trace(recorded()) as trace:
        (number,) = np.flatnonzero((trace.segments["frame"] == 1) & (trace.segments["layer"] == 2))
        begin, end = (int(trace.segments[name][number]) for name in ("cycle0", "cycle1"))
        name = trace.layers[2]
    mine = [line for line in whole if begin <= line[0] < end]
    part = written(recorded(), "text", tmp_path / "b", layer=name, frame=1)[1]
    assert read_packet_lines(part.decode()) == mine and 0 < len(mine) < len(whole)
    _, data, side = written(
        recorded(), "text", tmp_path / "c", layer=name, frame=1, relative=True
    )
    shifted = [(cycle - begin, *rest) for cycle, *rest in mine]
    assert [tuple(line) for line in read_packet_lines(data.decode())] == shifted
    assert side["cycle_0_is_cycle_of_run"] == begin and side["end_cycle"] == end - begin


@pytest.mark.parametrize("part, cycles", ((1, 1), (7, 10)))
@pytest.mark.parametrize("format, form", (
    ("text", None), ("netrace", None), ("noxim", "table"), ("noxim", "hardcoded"),
))  # fmt: skip
def test_a_file_does_not_depend_on_how_much_is_written_at_once(
    recorded, tmp_path, monkeypatch, format, form, part, cycles
):
    layer = None if part > 1 else "fc2"
    whole = written(recorded(), format, tmp_path / "a.bz2", form=form, layer=layer)[1:]
    monkeypatch.setattr(traffic, "PART", part)
    monkeypatch.setattr(noxim, "CYCLES_AT_ONCE", cycles)
    assert written(recorded(), format, tmp_path / "b.bz2", form=form, layer=layer)[1:] == whole


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=30))
def test_numbers_become_their_decimal_text(numbers):
    after = np.resize(np.frombuffer(b" ,\n", np.uint8), len(numbers))
    wanted = "".join(f"{n}{chr(c)}" for n, c in zip(numbers, after, strict=True))
    assert numbers_text(np.array(numbers, np.int64), after).tobytes().decode() == wanted


# ---- files and mistakes


@pytest.mark.parametrize("format", EXPORTERS)
def test_the_command_writes_what_the_function_does_and_says_how_much(
    capsys, recorded, tmp_path, format
):
    out = tmp_path / "a.bz2"
    report, data, _ = written(recorded(), format, tmp_path / "b.bz2")
    code, said, err = ended(capsys, recorded(), "--format", format, "--out", out)
    assert (code, err) == (0, "") and out.read_bytes() == data
    counts = ", ".join(f"{n:,} {name}" for name, n in report.counts.items())
    assert said == f"{format}: {counts} in {len(data):,} bytes, {out}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.bz2", "a.bz2.meta.json", "b.bz2", "b.bz2.meta.json"]  # fmt: skip
    _, shown, _ = ended(capsys, recorded(), "--format", format, "--out", out, "--force", "--json")
    assert json.loads(shown)["counts"] == report.counts


@pytest.mark.parametrize("format", EXPORTERS)
def test_the_same_trace_gives_the_same_bytes_and_no_folder(recorded, tmp_path, format):
    first = written(recorded(), format, tmp_path / "a.bz2")[1:]
    assert written(recorded(), format, tmp_path / "b.bz2")[1:] == first
    assert str(recorded().parent) not in json.dumps(first[1])


def test_the_help_names_every_format(capsys):
    _, text, _ = ended(capsys, "--help")
    assert all(format in text for format in EXPORTERS)


MISTAKES = {
    ("--format", "vcd", "--out", "o"): "--format: must be one of netrace, noxim, packets, got vcd",
    ("--format", "netrace", "--out", "o.tra"):
        "o.tra: a file for netrace must be named NAME.bz2; try o.tra.bz2",
    ("--format", "text", "--out", "there"):
        "there: exists; name another file, or replace it with --force",
    ("--format", "text", "--out", "side"):
        "side.json: exists; name another file, or replace it with --force",
    ("--format", "text", "--out", "run.h5", "--force"):
        "run.h5: is the trace itself; name another file",
    ("--format", "text", "--out", "."): ".: is a folder; name a file",
    ("--format", "text", "--out", "no/o"):
        "no/o: there is no folder no; make it, or name another place",
    ("--format", "text", "--out", "o", "--form", "table"):
        "--form: is of noxim; leave it out for packets",
    ("--format", "netrace", "--out", "o.bz2", "--split"):
        "--split: is of packets; leave it out for netrace",
    ("--format", "noxim", "--out", "o", "--relative"):
        "--relative: is of netrace, packets; leave it out for noxim",
    ("--format", "noxim", "--out", "o", "--form", "x"):
        "--form: must be one of table, hardcoded, got x",
    ("--format", "noxim", "--out", "o", "--layer", "x"):
        "layer: must be one of conv1, conv2, fc1, fc2, got x",
    ("--format", "noxim", "--out", "o", "--frame", "3"): "frame: must be one of 0..0, got 3",
    ("--format", "text"): "missing option '--out'; see firemesh trace export --help",
}  # fmt: skip


def test_a_pipe_is_not_replaced(capsys, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    trace = str(firemesh.sample_trace())
    code, out, err = ended(capsys, trace, "--format", "text", "--out", str(pipe), "--force")
    assert (code, out) == (2, "")
    assert err.endswith("pipe: is no file but a device or pipe; name a file\n")
    assert pipe.is_fifo()


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_sentence_and_leaves_all_files(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    shutil.copy(firemesh.sample_trace(), "run.h5")
    Path("there").write_text("old")
    Path("side.meta.json").write_text("old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ended(capsys, "run.h5", *arguments) == (2, "", f"firemesh: {MISTAKES[arguments]}\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name, sentence", (
    ("none.h5", "none.h5: no such file; make one with firemesh run --trace"),
    ("text.h5", "text.h5: cannot be opened: it is not an HDF5 file; "
     "make it again with firemesh run --trace"),
))  # fmt: skip
def test_what_is_no_trace_is_refused(capsys, tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    Path("text.h5").write_text("0 0 1 1\n" * 99)
    told = ended(capsys, name, "--format", "text", "--out", "o")
    assert told == (2, "", f"firemesh: {sentence}\n")
    assert not Path("o").exists()


def test_a_layer_without_packets_is_refused(capsys, tmp_path):
    model, images = onnx_graphs.random_graph(0, True, "int8", ("conv", "pool", "average"))
    onnx.save(model, tmp_path / "random.onnx")
    path, network = tmp_path / "run.h5", firemesh.load(tmp_path / "random.onnx")
    firemesh.run(network, images[:1], firemesh.machine("mnf-tiny"), trace=path)
    with firemesh.open_trace(path) as trace:
        layers = trace.table("layers")
        name = layers["name"][layers["mode"] == b"host"][0].decode()
    told = ended(capsys, path, "--format", "text", "--out", tmp_path / "o", "--layer", name)
    assert told == (2, "", f"firemesh: {path}: holds no packets in layer {name}; choose a layer "
                    "that runs on the PEs, see firemesh trace info\n")  # fmt: skip


@pytest.mark.parametrize("failure", (KeyboardInterrupt(), OSError(28, "No space left on device")))
@pytest.mark.parametrize("format", EXPORTERS)
def test_an_export_that_fails_leaves_what_was_there(
    recorded, tmp_path, monkeypatch, format, failure
):
    out = tmp_path / "o.bz2"
    out.write_text("old")
    inner = traffic.Traffic._sent

    def fail(self, number, counted):
        if number == 3:
            raise failure
        return inner(self, number, counted)

    monkeypatch.setattr(traffic.Traffic, "_sent", fail)
    with firemesh.open_trace(recorded()) as trace:
        with pytest.raises(type(failure)) as error:
            export(trace, format, out, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["o.bz2"] and out.read_text() == "old"
    if isinstance(failure, OSError):
        assert error.value.filename == str(out)


def test_arrivals_that_contradict_packets_are_refused(recorded, tmp_path, monkeypatch):
    inner = firemesh.Trace._deliveries_of

    def changed(edit):
        def read(self, number):
            rows = inner(self, number)
            return edit(rows) if number == 1 else rows

        return read

    def to_another(rows, field, value):
        rows[field][0] = value
        return rows

    edits = (
        lambda rows: rows[:-1],
        lambda rows: rows[1:],  # one of several copies
        lambda rows: to_another(rows, "number", 10**6),
        lambda rows: to_another(rows, "source", 500),
        lambda rows: to_another(rows, "unit", rows["unit"][1]),
    )
    for edit in edits:
        monkeypatch.setattr(firemesh.Trace, "_deliveries_of", changed(edit))
        with pytest.raises(TraceError, match="segment 1 contradict each other; see firemesh trace"):
            written(recorded(), "text", tmp_path / "o")
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_exported_as_far_as_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "COMMIT_SECONDS", -1.0)
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    firemesh.run("digits", firemesh.images("digits", 2)[0], trace=whole)
    commit, commits = Recorder.commit, 0

    def stop(self, state):
        nonlocal commits
        commit(self, state)
        commits += 1
        if commits == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "commit", stop)
    with pytest.raises(KeyboardInterrupt):
        firemesh.run("digits", firemesh.images("digits", 2)[0], trace=part)
    assert not part.exists()
    lines = read_packet_lines(written(part, "text", tmp_path / "a")[1].decode())
    assert (
        lines
        == read_packet_lines(written(whole, "text", tmp_path / "b")[1].decode())[: len(lines)]
    )
    sides = [json.loads((tmp_path / name).read_text()) for name in ("a.meta.json", "b.meta.json")]
    assert [side["complete"] for side in sides] == [False, True] and 0 < len(lines)


def test_progress_counts_the_segments(recorded, tmp_path):
    seen = []
    with firemesh.open_trace(recorded()) as trace:
        export(trace, "text", tmp_path / "o", progress=lambda *step: seen.append(step))
    assert seen == [(i, 8) for i in range(1, 9)]
