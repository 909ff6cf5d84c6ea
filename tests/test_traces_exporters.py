"""Exported traces: lines of packets, files that are whole or not there, and mistakes."""

import json
import os
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
import pytest
from exported_traces import content, ended, every_trace, ran, recorder, told, written
from foreign_formats import read_packet_lines
from hypothesis import given
from hypothesis import strategies as st

import firemesh
from firemesh.emulator.recorder import Recorder
from firemesh.traces import writer
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import noxim, sent
from firemesh.traces.exporters.export import EXPORTERS, export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.exporters.text import numbers_text
from firemesh.traces.selection import Selection

FEW = {"cycles": (0, 900)}, ("--cycles", "0:900")
CHOSEN = {"accelergy": FEW, "perfetto": FEW}
"""A part that formats write access by access: of the function, and as the command has it."""


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
    split = read_packet_lines(written(recorded(), "text", tmp_path / "b", split=True)[1].decode())
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
    _, data, side = written(recorded(), "text", tmp_path / "c", layer=name, frame=1, relative=True)
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
    monkeypatch.setattr(sent, "PART", part)
    monkeypatch.setattr(noxim, "CYCLES_AT_ONCE", cycles)
    assert written(recorded(), format, tmp_path / "b.bz2", form=form, layer=layer)[1:] == whole


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), max_size=30))
def test_numbers_become_their_decimal_text(numbers):
    after = np.resize(np.frombuffer(b" ,\n", np.uint8), len(numbers))
    wanted = "".join(f"{n}{chr(c)}" for n, c in zip(numbers, after, strict=True))
    assert numbers_text(np.array(numbers, np.int64), after).tobytes().decode() == wanted


# ---- files and mistakes


def test_the_formats_of_these_tests_are_all_there_are():
    assert not set(CHOSEN) - set(EXPORTERS)


@pytest.mark.parametrize("format", EXPORTERS)
def test_the_command_writes_what_the_function_does_and_says_how_much(
    capsys, recorded, tmp_path, format
):
    suffix, (chosen, flags) = EXPORTERS[format].suffix, CHOSEN.get(format, ({}, ()))
    out, other = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    report, data, side = written(recorded(), format, other, **chosen)
    arguments = recorded(), "--to", format, "--out", out, *flags
    code, said, err = ended(capsys, *arguments)
    assert (code, err) == (0, "") and content(out) == data
    counts = ", ".join(f"{n:,} {name}" for name, n in report.counts.items()).replace("_", " ")
    size = len(data) if isinstance(data, bytes) else sum(map(len, data.values()))
    note = f"{side['note']}\n" if side.get("note") else ""
    assert said == f"{note}{format}: {counts} in {size:,} bytes, {out}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{path.name}{end}" for path in (out, other) for end in ("", ".meta.json")
    )
    _, shown, _ = ended(capsys, *arguments, "--force", "--json")
    assert json.loads(shown)["counts"] == report.counts
    assert content(out) == data


@pytest.mark.parametrize("format", EXPORTERS)
def test_the_same_trace_gives_the_same_bytes_and_no_folder(recorded, tmp_path, format):
    suffix, (chosen, _) = EXPORTERS[format].suffix, CHOSEN.get(format, ({}, ()))
    first = written(recorded(), format, tmp_path / f"a{suffix}", **chosen)[1:]
    assert written(recorded(), format, tmp_path / f"b{suffix}", **chosen)[1:] == first
    assert str(recorded().parent) not in json.dumps(first[1])


@pytest.mark.parametrize("format", EXPORTERS)
def test_every_side_file_tells_how_much_was_selected_and_written(recorded, tmp_path, format):
    suffix, (chosen, _) = EXPORTERS[format].suffix, CHOSEN.get(format, ({}, ()))
    side = written(recorded(), format, tmp_path / f"a{suffix}", **chosen)[2]
    cycles = {"first_cycle", "last_cycle"}
    of_accesses = {"accesses", "reads", "writes", "bytes"} | cycles
    of_packets = {"packets", "deliveries", "flits"} | cycles
    is_of_packets = EXPORTERS[format].what == "packets"
    assert set(side["selected"]) == (of_packets if is_of_packets else of_accesses)
    of_records = {"deliveries", "flits"} if is_of_packets else {"reads", "writes", "bytes"}
    assert set(side["written"]) == {"records"} | of_records | cycles
    assert side["written"]["records"] > 0 and all(count > 0 for count in side["counts"].values())
    names = {"format", "consumer", "keeps", "loses", "trace", "network", "command", "complete"}
    assert names | {"selection", "consumer_command"} <= set(side)
    assert ("cycle_0_is_cycle_of_run" in side) == (format != "scalesim")


def test_the_command_formats_names_every_format_its_readers_and_what_it_keeps(capsys):
    text = ran(capsys, "formats")
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert [row for row in rows if row] == list(EXPORTERS)
    told = json.loads(ran(capsys, "formats", "--json"))
    assert list(told) == list(EXPORTERS)
    for name, row in told.items():
        assert row["consumer"] == EXPORTERS[name].consumer and row["keeps"] and row["loses"]


def test_the_help_says_where_formats_are_listed(capsys):
    assert "firemesh trace formats" in ended(capsys, "--help")[1]


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_format_has_a_row_without_gaps_and_a_page(name):
    row, pages = EXPORTERS[name], Path(__file__).parents[1] / "docs"
    assert all(text.strip() for text in (row.about, row.consumer, row.keeps, row.loses))
    assert row.what in ("accesses", "packets", "both")
    assert set(row.options) <= {one.name for one in fields(Options)} - {"selection"}
    assert set(row.ignores) <= {one.name for one in fields(Selection)}
    assert bool(row.forms) == ("form" in row.options)
    page = pages / "trace" / f"{name}.md"
    assert f"--to {name}" in page.read_text("utf-8")
    assert f"[{name}](trace/{name}.md)" in (pages / "exports.md").read_text("utf-8")


KNOWN = ", ".join(EXPORTERS)


def having(option):
    """Return the formats that heed an option, as sentences list them."""
    return ", ".join(name for name, row in EXPORTERS.items() if option in row.options)


MISTAKES = {
    ("--to", "bookshelf", "--out", "o"): f"--to: must be one of {KNOWN}, got bookshelf",
    ("--format", "bookshelf", "--out", "o"): f"--to: must be one of {KNOWN}, got bookshelf",
    ("--to", "netrace", "--out", "o.tra"):
        "o.tra: a file for netrace must be named NAME.bz2; try o.tra.bz2",
    ("--to", "text", "--out", "there"):
        "there: exists; name another file, or replace it with --force",
    ("--to", "text", "--out", "side"):
        "side.meta.json: exists; name another file, or replace it with --force",
    ("--to", "text", "--out", "run.h5", "--force"):
        "run.h5: is the trace itself; name another file",
    ("--to", "text", "--out", "."): ".: is a folder; name a file",
    ("--to", "text", "--out", "no/o"):
        "no/o: there is no folder no; make it, or name another place",
    ("--to", "text", "--out", "o", "--form", "table"):
        f"--form: is of {having('form')}; leave it out for text",
    ("--to", "netrace", "--out", "o.bz2", "--split"):
        f"--split: is of {having('split')}; leave it out for netrace",
    ("--to", "noxim", "--out", "o", "--relative"):
        f"--relative: is of {having('relative')}; leave it out for noxim",
    ("--to", "text", "--out", "o", "--merge"):
        f"--merge: is of {having('merge')}; leave it out for text",
    ("--to", "text", "--out", "o", "--clock", "5"):
        f"--clock: is of {having('clock_hz')}; leave it out for text",
    ("--to", "text", "--out", "o", "--burst-bytes", "64"):
        f"--burst-bytes: is of {having('burst_bytes')}; leave it out for text",
    ("--to", "noxim", "--out", "o", "--form", "x"):
        "--form: must be one of table, hardcoded, got x",
    ("--to", "noxim", "--out", "o", "--layer", "x"):
        "layer: must be one of conv1, conv2, fc1, fc2, got x",
    ("--to", "text", "--out", "o", "--layer", "fc1,x"):
        "layer: must be one of conv1, conv2, fc1, fc2, got x",
    ("--to", "noxim", "--out", "o", "--frame", "3"): "frame: must be one of 0..0, got 3",
    ("--to", "text", "--out", "o", "--memory", "psum"):
        "--memory: cannot be heeded by text; leave it out",
    ("--to", "netrace", "--out", "o.bz2", "--op", "read"):
        "--op: cannot be heeded by netrace; leave it out",
    ("--to", "text", "--out", "o", "--cycles", "9:9"):
        "--cycles: must be FROM:TO with FROM below TO, such as 0:10000, got 9:9",
    ("--to", "text", "--out", "o", "--cycles", "0:1", "--unit", "pe1,pe2", "--layer", "fc1,fc2"):
        "run.h5: holds no packets in layer fc1,fc2 of unit pe1,pe2 in cycles 0:1; choose other "
        "cycles, units or layers, see firemesh trace info",
    ("--to", "text"): "missing option '--out'; see firemesh trace export --help",
}  # fmt: skip


FOLDERS = [name for name, row in EXPORTERS.items() if row.is_folder]


@pytest.mark.parametrize("format", FOLDERS)
def test_a_folder_is_replaced_only_if_the_format_made_it_and_a_file_never(
    capsys, recorded, tmp_path, format
):
    out, other = tmp_path / "o", tmp_path / "other"
    written(recorded(), format, out)
    first = content(out)
    (out / "left.txt").write_text("over")
    arguments = recorded(), "--to", format, "--out", out
    assert ended(capsys, *arguments)[2] == (
        f"firemesh: {out}: exists; name another file, or replace it with --force\n"
    )
    assert ended(capsys, *arguments, "--force")[0] == 0 and content(out) == first
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    told = ended(capsys, recorded(), "--to", format, "--out", other, "--force")
    no = f"{other}: is no folder that --to {format} made; name another place"
    assert told == (2, "", f"firemesh: {no}\n")
    assert content(other) == {"mine.txt": b"mine"}
    file = other / "mine.txt"
    told = ended(capsys, recorded(), "--to", format, "--out", file, "--force")
    no = f"{file}: is a file, and a folder is to be made; name another place"
    assert told == (2, "", f"firemesh: {no}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "o.meta.json", "other"]


@pytest.mark.parametrize("format", FOLDERS[:1])
def test_a_link_to_a_folder_is_replaced_and_its_folder_left(recorded, tmp_path, format):
    out, other = tmp_path / "o", tmp_path / "other"
    written(recorded(), format, other)
    before = content(other)
    out.symlink_to(other)
    shutil.copy(tmp_path / "other.meta.json", tmp_path / "o.meta.json")
    with firemesh.open_trace(recorded()) as trace:
        export(trace, format, out, force=True)
    assert not out.is_symlink() and content(out) == content(other) == before
    names = ["o", "o.meta.json", "other", "other.meta.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("format", FOLDERS[:1])
def test_a_folder_that_cannot_be_replaced_is_left(recorded, tmp_path, monkeypatch, format):
    out = tmp_path / "o"
    written(recorded(), format, out)
    before, inner = content(tmp_path), os.replace

    def fail(old, new):
        if Path(new) == out and ".old." not in str(old):
            raise OSError(28, "No space left on device")
        inner(old, new)

    monkeypatch.setattr(os, "replace", fail)
    with firemesh.open_trace(recorded()) as trace, pytest.raises(OSError, match="No space"):
        export(trace, format, out, force=True)
    assert content(tmp_path) == before


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


@pytest.mark.parametrize("format", [
    name for name, row in EXPORTERS.items()
    if "memory" not in row.ignores and name not in ("parquet", "scalesim")
])  # fmt: skip
def test_doors_of_the_network_are_no_memories(tmp_path, format):
    out = tmp_path / f"t{EXPORTERS[format].suffix}"
    with pytest.raises(TraceError, match="--memory: noc_inject is no memory"):
        written(firemesh.sample_trace(), format, out, memory=("psum", "noc_inject"))
    assert list(tmp_path.iterdir()) == []


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


def test_a_run_without_packets_has_accesses(capsys, tmp_path):
    path = tmp_path / "run.h5"
    firemesh.run("digits", firemesh.images("digits", 1)[0], mode="flexnn", trace=path)
    told = ended(capsys, path, "--to", "text", "--out", tmp_path / "o", "--cycles", "0:9")
    assert told == (2, "", f"firemesh: {path}: holds no packets in cycles 0:9; export its "
                    "accesses, see firemesh trace formats\n")  # fmt: skip


@pytest.mark.parametrize("arguments, counts", (
    (("parquet", "--layer", "fc1"), "8,988 rows, 1 row group"),
    (("dinero", "--memory", "psum", "--unit", "pe1"), "4,662 records, 1 file"),
    (("ctf", "--layer", "fc2", "--memory", "psum", "--unit", "pe1", "--cycles", "824:825"),
     "1 access, 0 packets, 0 deliveries, 1 segment"),
    (("netrace", "--cycles", "864:865"), "1 packet, 1 record, 0 dependencies, 1 region"),
))  # fmt: skip
def test_one_of_a_kind_is_told_as_one(capsys, tmp_path, arguments, counts):
    format, *flags = arguments
    out = tmp_path / f"o{EXPORTERS[format].suffix}"
    said = ran(capsys, "export", firemesh.sample_trace(), "--to", format, "--out", out, *flags)
    assert said.startswith(f"{format}: {counts} in ")


@pytest.mark.parametrize("failure", (KeyboardInterrupt(), OSError(28, "No space left on device")))
@pytest.mark.parametrize("format", EXPORTERS)
def test_an_export_that_fails_leaves_what_was_there(
    recorded, tmp_path, monkeypatch, format, failure
):
    out = tmp_path / f"o{EXPORTERS[format].suffix}"
    window = {"cycles": (0, 900)}  # in which no stored totals serve; it ends in segment 4
    written(recorded(), format, out, **window)
    before, reached = content(tmp_path), []
    inner = firemesh.Trace._expanded

    def fail(self, number, *rest):  # what reads accesses and arrivals of a segment
        if number == 3:
            reached.append(number)
            raise failure
        return inner(self, number, *rest)

    monkeypatch.setattr(firemesh.Trace, "_expanded", fail)
    options = Options(Selection(**window))
    with firemesh.open_trace(recorded()) as trace:
        with pytest.raises(type(failure)) as error:
            export(trace, format, out, options, force=True)
    assert reached and content(tmp_path) == before
    if isinstance(failure, OSError):
        assert error.value.filename == str(out)


def test_arrivals_that_contradict_packets_are_refused(recorded, tmp_path, monkeypatch):
    inner = firemesh.Trace._arrivals

    def changed(edit):
        def read(self, number):
            rows = np.concatenate(list(inner(self, number)))
            yield edit(rows) if number == 1 else rows

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
        monkeypatch.setattr(firemesh.Trace, "_arrivals", changed(edit))
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
    with pytest.raises(TraceError, match="is the trace itself; name another file"):
        written(part, "text", part)
    assert not part.exists()
    lines = read_packet_lines(written(part, "text", tmp_path / "a")[1].decode())
    assert (
        lines == read_packet_lines(written(whole, "text", tmp_path / "b")[1].decode())[: len(lines)]
    )
    sides = [json.loads((tmp_path / name).read_text()) for name in ("a.meta.json", "b.meta.json")]
    assert [side["complete"] for side in sides] == [False, True] and 0 < len(lines)


def test_progress_counts_the_segments(recorded, tmp_path):
    seen = []
    with firemesh.open_trace(recorded()) as trace:
        export(trace, "text", tmp_path / "o", progress=lambda *step: seen.append(step))
    assert seen == [(i, 8) for i in range(1, 9)]
