"""The command line's traces: run --trace, trace info, verify and stats."""

import json
import shutil

import h5py
import numpy as np
import pytest

import firemesh
from firemesh.emulator.cli import main
from firemesh.models.zoo import DATA


def ended(capsys, *arguments):
    """Run the command line; return exit code, stdout and stderr."""
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def sample(tmp_path):
    return shutil.copy(firemesh.sample_trace(), tmp_path / "sample.h5")


def test_run_tells_what_the_trace_holds(capsys, tmp_path):
    path = tmp_path / "run.h5"
    code, out, err = ended(capsys, "run", "digits", "--frames", "2", "--trace", path)
    with firemesh.open_trace(path) as trace:
        n = sum(int(row["count"]) for row in trace.counters() if "noc" not in row["memory"])
        assert trace.attribute("command") == ("firemesh run digits --frames 2")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"trace: {n:,} accesses in {path.stat().st_size:,} bytes, {path}"


def test_run_json_tells_the_trace(capsys, tmp_path):
    path = tmp_path / "run.h5"
    code, out, _ = ended(capsys, "run", "digits", "--frames", "1", "--json", "--trace", path)
    assert code == 0
    assert json.loads(out)["trace"] == {"path": str(path), "bytes": path.stat().st_size}


def test_the_command_in_a_trace_has_every_option_and_no_folder(capsys, tmp_path):
    shutil.copy(DATA / "digits.onnx", tmp_path / "mine.onnx")
    path = tmp_path / "run.h5"
    source = tmp_path / "frames.npy"
    np.save(source, firemesh.images("digits", 2)[0])
    code, _, err = ended(
        capsys, "run", tmp_path / "mine.onnx", "--input", source, "--frames", "1", "--values",
        "--set", "noc.multicast=chain", "--set", "threshold=1", "--trace", path,
    )  # fmt: skip
    assert (code, err) == (0, "")
    with firemesh.open_trace(path) as trace:
        assert trace.attribute("command") == (
            "firemesh run mine.onnx --frames 1 --input frames.npy "
            "--set noc.multicast=chain --set threshold=1 --values"
        )
        for name in ("machine", "network", "command"):
            assert str(tmp_path) not in trace.attribute(name)


@pytest.mark.parametrize("option", ("--values", "--resume", "--force"))
def test_options_of_a_trace_want_a_trace(capsys, option):
    code, out, err = ended(capsys, "run", "digits", option)
    assert (code, out) == (2, "")
    assert err == f"firemesh: {option}: is of a trace; add --trace FILE.h5\n"


def test_a_resumed_trace_of_another_command_is_refused_by_name(capsys, tmp_path, monkeypatch):
    from firemesh.emulator.recorder import Recorder

    def no(self, state):
        raise KeyboardInterrupt

    path = tmp_path / "run.h5"
    monkeypatch.setattr(Recorder, "finish", no)
    code, _, err = ended(capsys, "run", "digits", "--frames", "2", "--trace", path)
    assert code == 130 and "--resume goes on with its trace" in err
    monkeypatch.undo()
    wanted = "run", "digits", "--trace", path
    code, out, err = ended(capsys, *wanted, "--frames", "3", "--resume")
    assert (code, out) == (2, "")
    assert "another command, input_digest, frames; repeat that run" in err.replace(
        "input_digest, command", "command, input_digest"
    )
    assert ended(capsys, *wanted, "--frames", "2", "--resume")[0] == 0
    assert not list(tmp_path.glob("*.partial"))


def test_info_tells_the_run_and_its_layers(capsys, sample):
    code, out, err = ended(capsys, "trace", "info", sample)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("firemesh run digits --frames 1")
    assert lines[1:3] == [
        "network    digits, mode mnf, 12 units",
        "frames     1 of 1, complete",
    ]
    assert [line.split()[:5] for line in lines[6:]] == [
        ["conv1", "Conv", "mnf", "3x3", "1x8x8"],
        ["conv2", "Conv", "mnf", "3x3", "16x4x4"],
        ["fc1", "Linear", "mnf", "3x1", "128x1x1"],
        ["fc2", "Linear", "mnf", "3x3", "64x1x1"],
    ]


def test_info_json_adds_up(capsys, sample):
    code, out, _ = ended(capsys, "trace", "info", sample, "--json")
    about = json.loads(out)
    assert code == 0 and about["complete"] and about["segments"] == len(about["layers"]) == 4
    assert sum(layer["accesses"] for layer in about["layers"]) == about["accesses"]
    assert sum(layer["cycles"] for layer in about["layers"]) == about["cycles"]


def test_verify_says_what_it_checked(capsys, sample):
    with firemesh.open_trace(sample) as trace:
        n = sum(int(row["count"]) for row in trace.counters() if "noc" not in row["memory"])
        packets = sum(len(block) for block in trace.packets())
    code, out, err = ended(capsys, "trace", "verify", sample)
    assert (code, out, err) == (0, f"ok: 4 segments, {n:,} accesses, {packets:,} packets\n", "")
    report = json.loads(ended(capsys, "trace", "verify", sample, "--json")[1])
    assert report == {"problems": [], "segments": 4, "accesses": n, "packets": packets,
                      "complete": True}  # fmt: skip


def test_verify_ends_with_exit_code_1_and_the_problems(capsys, sample):
    with h5py.File(sample, "r+") as file:
        rows = file["counters"][...]
        rows["count"][0] += 1
        file["counters"][...] = rows
    code, out, err = ended(capsys, "trace", "verify", sample)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "problem: digest: the file is not as it was written"
    assert lines[1].startswith("problem: segment 0 (frame 0, layer conv1): unit storage, storage")
    code, out, err = ended(capsys, "trace", "verify", sample, "--json")
    assert (code, err) == (1, "") and len(json.loads(out)["problems"]) == len(lines)


@pytest.mark.parametrize(
    "what, by", (("accesses", "memory,op"), ("slots", "unit,cause"), ("flits", "link"))
)
def test_stats_are_the_traces_totals(capsys, sample, what, by):
    code, out, err = ended(capsys, "trace", "stats", sample, "--what", what, "--by", by)
    assert (code, err) == (0, "")
    found = json.loads(
        ended(capsys, "trace", "stats", sample, "--what", what, "--by", by, "--json")[1]
    )
    with firemesh.open_trace(sample) as trace:
        name = "counters" if what == "accesses" else what
        rows = getattr(trace, name)(by.split(","))
        assert found == [dict(zip(rows.dtype.names, row.item(), strict=True)) for row in rows]
    assert len(out.splitlines()) == len(found) + 1


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (
            ("--by", "colour"),
            "by: must be of frame, layer, unit, memory, op, each once, got colour",
        ),
        (("--what", "heat"), "--what: must be one of accesses, slots, flits, stalls, got heat"),
        (("--what", "flits", "--by", "memory"), "by: must be of frame, layer, link, each once"),
    ],
)
def test_stats_of_something_else_are_refused(capsys, sample, arguments, sentence):
    code, out, err = ended(capsys, "trace", "stats", sample, *arguments)
    assert (code, out) == (2, "") and err.startswith(f"firemesh: {sentence}")


def test_without_a_command_the_group_prints_its_help(capsys):
    code, out, _ = ended(capsys, "trace")
    assert code == 0 and all(command in out for command in ("info", "verify", "stats"))
