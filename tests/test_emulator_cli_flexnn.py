"""Mode flexnn from the command line and from Python: options, mistakes, traces, resuming."""

import json

import numpy as np
import pytest
from test_emulator_cli import ended, printed, refused

import firemesh
from firemesh.emulator.emulation import Emulation
from firemesh.emulator.flexnn.plan import Search

QUICK = ("--keep", "0")


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def test_a_run_shows_machine_slots_energy_layers_and_the_check(capsys):
    out = printed(capsys, "run", "digits", "--mode", "flexnn", "--frames", "2", "--check", *QUICK)
    assert out.startswith("digits on flexnn-edge, mode flexnn, 2 frames\n")
    for word in (
        "DRAM",
        "distribution",
        "executed",
        "unused",
        "register file",
        "schedule",
        "pairs",
    ):
        assert word in out
    assert out.endswith("check: 18 tensors equal the integer reference\n")
    assert "weight SRAM" not in out and "routers" not in out


def test_the_mode_follows_from_the_machine_and_the_machine_from_the_mode(capsys):
    by_mode = printed(capsys, "run", "digits", "--mode", "flexnn", "--frames", "1", *QUICK)
    by_machine = printed(
        capsys, "run", "digits", "--machine", "flexnn-edge", "--frames", "1", *QUICK
    )
    assert by_mode == by_machine
    assert printed(capsys, "run", "digits", "--frames", "1").startswith("digits on mnf-22nm")


@pytest.mark.parametrize("machine", ["flexnn-edge", "eyeriss-168", "tpu-256"])
def test_every_machine_gives_the_same_outputs(machine):
    images, _ = firemesh.images("digits", 3)
    wanted = firemesh.run("digits", images).outputs
    result = firemesh.run("digits", images, machine=machine, search=Search(keep=0))
    assert result.mode == "flexnn" and np.array_equal(result.outputs, wanted)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mode", "flexnn", "--machine", "mnf-tiny"],
         "mnf-tiny: is a machine of mode mnf, got mode flexnn; a machine of it is flexnn-edge"),
        (["--mode", "mnf", "--machine", "flexnn-edge"],
         "flexnn-edge: is a machine of mode flexnn, got mode mnf; a machine of it is mnf-22nm"),
        (["--objective", "energy"], "--objective: is of modes flexnn and auto, mnf-22nm"),
        (["--dataflow", "row"], "--dataflow: is of modes flexnn and auto, mnf-22nm"),
        (["--keep", "3"], "--keep: is of modes flexnn and auto, mnf-22nm"),
        (["--schedule", "s.yaml"], "--schedule: is of modes flexnn and auto, mnf-22nm"),
        (["--mode", "flexnn", "--links", "l.png"],
         "--links: draws a mesh, flexnn-edge has buses; leave it out, or add --set sdn.kind=mesh"),
        (["--mode", "flexnn", "--set", "array.lanes=0"], "array.lanes: must be"),
        (["--mode", "flexnn", "--set", "array.dataflow=up"],
         "--set on flexnn-edge: array.dataflow: must be one of flexible, weight, output, input, "),
        (["--mode", "flexnn", "--set", "rf.bank=3"], "rf.bank: unknown key; known here: banks"),
        (["--mode", "flexnn", "--set", "sram.bytes=100"], "sram.bytes"),
        (["--mode", "flexnn", "--set", "energy=coal"], "Machine.energy: must be one of eyeriss"),
        (["--mode", "flexnn", "--schedule", "missing.yaml"], "missing.yaml"),
        (["--mode", "flexnn", "--objective", "area"], "objective"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(capsys, arguments, sentence):
    assert sentence in refused(capsys, "run", "digits", "--frames", "1", *arguments)


def test_a_schedule_of_an_unknown_layer_is_told_by_file_and_layer(capsys, tmp_path):
    text = "nope: {block: {IC: 8}, banks: {if: 1, fl: 1, of: 1}}\n"
    (tmp_path / "mine.yaml").write_text(text, "utf-8")
    arguments = ("run", "digits", "--mode", "flexnn", "--schedule", "mine.yaml")
    assert refused(capsys, *arguments).startswith("mine.yaml: nope: is no layer with weights")


def test_the_json_result_names_schedules_slots_and_energy(capsys):
    out = printed(capsys, "run", "digits", "--mode", "flexnn", "--frames", "1", "--json", *QUICK)
    result = json.loads(out)
    assert result["mode"] == "flexnn" and result["machine"]["array"]["lanes"] == 8
    layers = {layer["name"]: layer for layer in result["layers"]}
    assert layers["conv1"]["mode"] == "flexnn" and layers["conv1"]["acc_writes"] > 0
    assert layers["conv1_pool"]["mode"] == "host" and layers["conv1_pool"]["dram_reads"] > 0
    assert sum(result["slots"].values()) == 2048 * result["cycles"]


def test_a_trace_verifies_and_its_statistics_are_the_results(capsys):
    arguments = ("run", "digits", "--mode", "flexnn", "--frames", "2", *QUICK)
    printed(capsys, *arguments, "--trace", "run.h5")
    assert "ok: 12 segments" in printed(capsys, "trace", "verify", "run.h5")
    assert "rf_if" in printed(capsys, "trace", "stats", "run.h5", "--by", "layer,memory,op")
    assert "flexnn" in printed(capsys, "trace", "info", "run.h5")


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_run_resumes_to_the_same_trace(capsys, monkeypatch, after, tmp_path):
    arguments = ("run", "digits", "--mode", "flexnn", "--frames", "3", *QUICK)
    printed(capsys, *arguments, "--trace", "whole.h5")
    whole, count = Emulation._frame, 0

    def frame(self, *rest):
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return whole(self, *rest)

    monkeypatch.setattr(Emulation, "_frame", frame)
    monkeypatch.setattr("firemesh.traces.writer.COMMIT_SECONDS", -1.0)
    code, out, err = ended(capsys, *arguments, "--trace", "run.h5")
    assert code == 130 and "--resume goes on with its trace" in err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    printed(capsys, *arguments, "--trace", "run.h5", "--resume")
    assert (tmp_path / "run.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_machine_from_a_file_is_told_by_file_and_key(capsys, tmp_path):
    text = printed(capsys, "machines", "show", "flexnn-edge")
    (tmp_path / "mine.yaml").write_text(text.replace("lanes: 8", "lanes: eight"), "utf-8")
    found = refused(capsys, "run", "digits", "--machine", "mine.yaml")
    assert found.startswith("mine.yaml: array.lanes: must be a valid integer")
