"""``firemesh schedule``: searches, shows and checks descriptors; mistakes are one sentence."""

import json
import os
import signal
import threading

import pytest
import yaml

import firemesh
from firemesh.emulator.cli import main
from firemesh.emulator.flexnn.descriptor import Cut, Descriptor
from firemesh.emulator.flexnn.dims import LayerDims, layer_dims
from firemesh.emulator.flexnn.layer_sizes import parse_layer
from firemesh.emulator.flexnn.rules import broken
from firemesh.emulator.flexnn.schedule_file import (
    parse_schedule,
    read_schedule,
    schedule_yaml,
    write_schedule,
)
from firemesh.emulator.machine import MachineError
from firemesh.emulator.machine import machine as find_machine

EDGE = find_machine("flexnn-edge")
SIZES = "OC=16,IC=8,OY=6,OX=6,FY=3,FX=3,pad=1"
LAYERS = ["conv1", "conv2", "fc1", "fc2"]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")


def ended(capsys, *arguments):
    """Run the command line; return exit code, stdout and stderr."""
    code = 0
    try:
        main(["schedule", *arguments])
    except SystemExit as end:
        code = end.code
    return (code, *capsys.readouterr())


def printed(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert (code, err) == (0, "")
    return out


def refused(capsys, *arguments):
    code, out, err = ended(capsys, *arguments)
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1
    return err.removeprefix("firemesh: ").strip()


def written(capsys, tmp_path, *arguments):
    path = tmp_path / "found.yaml"
    printed(capsys, "search", "digits", "--out", str(path), *arguments)
    return path


def test_a_search_tells_each_layer_and_writes_what_a_run_reads(capsys, tmp_path):
    path = tmp_path / "found.yaml"
    out = printed(capsys, "search", "digits", "--out", str(path), "--objective", "energy")
    lines = out.splitlines()
    wanted = ["layer", "cycles", "energy", "util.", "schedule", "tiles", "rounds", "seen", "pruned"]
    assert lines[0].split()[:9] == wanted
    assert [line.split()[0] for line in lines[1:]] == LAYERS
    network, found = firemesh.load("digits"), read_schedule(path)
    assert list(found) == LAYERS
    for layer in network.layers:
        if layer.name in found:
            cut = Cut(found[layer.name], layer_dims(network, layer))
            assert list(broken(cut, EDGE)) == []
    assert printed(capsys, "check", str(path), "digits").splitlines() == [
        f"{path}: {name}: legal" for name in LAYERS
    ]


def test_the_engine_counts_candidates_beside_their_estimates(capsys, tmp_path):
    path = tmp_path / "counted.yaml"
    arguments = ("digits", "--layer", "conv2", "--keep", "2", "--count", "--json")
    rows = json.loads(printed(capsys, "search", *arguments, "--out", str(path)))
    assert {row["layer"] for row in rows} == {"conv2"} and len(rows) > 2
    cycles = [int(row["counted"].replace(",", "")) for row in rows]
    taken = [row["candidate"].startswith("*") for row in rows]
    assert taken.count(True) == 1 and cycles[taken.index(True)] == min(cycles)
    assert {"flexible", "row"} <= {row["origin"] for row in rows}
    assert list(read_schedule(path)) == ["conv2"]


def test_json_has_descriptors_estimates_candidates_and_counts(capsys):
    arguments = ("search", "digits", "--layer", "conv2", "--keep", "3", "--json")
    (row,) = json.loads(printed(capsys, *arguments, "--dataflow", "weight"))
    assert row["layer"] == "conv2" and len(row["candidates"]) == 3
    assert {one["origin"] for one in row["candidates"]} == {"weight"}
    assert row["candidates"][0]["descriptor"] == row["descriptor"]
    assert Descriptor.parse(row["descriptor"], "").to_yaml()
    assert row["cycles"] == row["candidates"][0]["estimate"]["cycles"]
    assert row["counts"]["blocks"] > 0
    assert row["derived"]["estimate"]["cycles"] == row["cycles"]


def test_densities_are_those_of_the_network_and_the_options(capsys):
    def densities(*arguments):
        (row,) = json.loads(printed(capsys, "search", *arguments, "--json"))
        return row["densities"]

    pruned = densities("digits-pruned", "--layer", "conv2")
    assert pruned["activations"] == 0.5 and 0.2 < pruned["weights"] < 0.8
    given = ("--activations", "0.25", "--weight-density", "0.75")
    assert densities("digits", "--layer", "fc2", *given) == {
        "activations": 0.25,
        "weights": 0.75,
        "outputs": None,
    }
    assert densities(SIZES)["weights"] == 1.0


def test_show_prints_yaml_that_is_read_back_and_what_follows_from_it(capsys, tmp_path):
    path = written(capsys, tmp_path)
    out = printed(capsys, "show", "digits", "--layer", "conv2", "--schedule", str(path))
    shown = parse_schedule(yaml.safe_load(out), "shown")
    assert shown == {"conv2": read_schedule(path)["conv2"]}
    told = [line for line in out.splitlines() if line.startswith("# ")]
    for words in ("array: ", "tiles: ", "rounds: ", "stays: ", "register file: if ", "SRAM: ",
                  "estimate: ", "sub-banks"):  # fmt: skip
        assert any(words in line for line in told), words
    searched = printed(capsys, "show", "digits", "--layer", "conv2")
    assert searched == out


def test_show_takes_sizes_and_prints_json(capsys):
    found = json.loads(printed(capsys, "show", SIZES, "--json"))
    assert found["layer"] == "layer"
    layer = parse_layer(SIZES)
    cut = Cut(Descriptor.parse(found["descriptor"], ""), layer)
    assert list(broken(cut, EDGE)) == []
    assert found["derived"]["vpes_used"] <= 256
    assert sum(part["banks"] for part in found["derived"]["register_file"].values()) <= 16


def test_sizes_are_a_layer():
    assert parse_layer(SIZES) == LayerDims(
        (1, 1, 6, 6, 16, 8, 3, 3), (1, 1), (1, 1), (1, 1), (6, 6)
    )
    found = parse_layer("OY=112, OX=112, FY=7, FX=7, stride=2, pad=3")
    assert found.ifmap == (223, 223) and found.strides == (2, 2)
    assert parse_layer("IC=4").ifmap == (1, 1)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("OC=4,K=3", "sizes must name N, G, OY, OX, OC, IC, FY, FX, stride, dilation, pad, got"),
        ("OC=0", "OC=0: OC must be 1..1048576, got '0'"),
        ("OC=many", "OC must be 1..1048576, got 'many'"),
        ("OC=4,pad=1", "pad 1 leaves no ifmap; make it smaller"),
        ("OC=4,", "sizes must name"),
    ],
)
def test_wrong_sizes_are_told(capsys, sizes, message):
    assert message in refused(capsys, "search", sizes)


def test_check_tells_each_layer_and_ends_with_2_where_a_rule_is_broken(capsys, tmp_path):
    path = written(capsys, tmp_path)
    tree = yaml.safe_load(path.read_text())
    tree["conv2"] |= {"rows": {"OC": 17}, "tile": {}}
    tree["fc1"]["banks"]["of"] = 15
    del tree["fc2"]
    path.write_text(yaml.safe_dump(tree))
    code, out, err = ended(capsys, "check", str(path), "digits")
    assert (code, err) == (2, "")
    told = dict(line.removeprefix(f"{path}: ").split(": ", 1) for line in out.splitlines())
    assert list(told) == LAYERS
    assert told["conv1"] == "legal"
    assert told["conv2"] == "rows: partitions must multiply to at most 16, got 17"
    assert told["fc1"].startswith("banks: must add up to at most 16, got ")
    assert told["fc2"] == "not in the file; a run searches it"
    code, out, _ = ended(capsys, "check", str(path), "digits", "--json")
    rows = json.loads(out)
    assert code == 2 and [bool(row["broken"]) for row in rows] == [False, True, True, False]
    assert [row["is_given"] for row in rows] == [True, True, True, False]


@pytest.mark.parametrize("command", ["check", "show"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "must be a mapping from layers to descriptors, got list"),
        ("conv9: {block: {}}", "conv9: is no layer with weights; those are conv1, conv2"),
        ("3: {block: {}}", "names of layers must be text, got 3; quote it"),
        ("conv2: 7", "conv2: must be a mapping of a descriptor's fields, got int"),
        ("conv2: {block: {}, banks: {if: 1, fl: 1, of: 1}, speed: 1}",
         "conv2: speed: unknown key; known here: block, rows"),
        ("conv2: {block: {}, banks: {if: 1, fl: 1, of: 1, x: 1}}",
         "conv2: banks.x: unknown key; known here: if, fl, of"),
        ("conv2: {block: {}}", "conv2: banks: missing; add this key"),
        ("conv2: {block: {K: 1}, banks: {if: 1, fl: 1, of: 1}}",
         "conv2: block: must name N, G, OY, OX, OC, IC, FY, FX, got 'K'"),
        ("conv2: {block: {IC: 0}, banks: {if: 1, fl: 1, of: 1}}",
         "conv2: block.IC: must be at least 1, got 0"),
        ("conv2: {block: {IC: x}}", "conv2: block.IC: "),
        ("conv2: [", "is not valid YAML"),
        ("conv2: {block: {}}\nconv2: {block: {}}", "conv2 is given twice"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_file_layer_and_key(capsys, tmp_path, command, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    if command == "check":
        told = refused(capsys, "check", str(path), "digits")
    else:
        told = refused(capsys, "show", "digits", "--layer", "conv2", "--schedule", str(path))
    assert told.startswith(str(path)) and message in told


def test_other_mistakes_are_one_sentence(capsys, tmp_path):
    path = written(capsys, tmp_path, "--layer", "conv1")
    told = refused(capsys, "show", "digits", "--layer", "fc1", "--schedule", str(path))
    assert told == f"{path}: fc1: is missing; it has conv1"
    assert refused(capsys, "show", "digits").startswith("--layer: is missing; name one of conv1")
    assert refused(capsys, "search", "digits", "--layer", "x") == (
        "--layer: must be one of conv1, conv2, fc1, fc2, got 'x'"
    )
    told = refused(capsys, "search", "digits", "--machine", "mnf-tiny")
    assert (
        told == "mnf-tiny: is a machine of mode mnf; give one of mode flexnn, such as flexnn-edge"
    )
    assert "no machine of this name" in refused(capsys, "search", "digits", "--machine", "x")
    assert "--objective" in refused(capsys, "search", "digits", "--objective", "speed")
    assert "--dataflow" in refused(capsys, "search", "digits", "--dataflow", "any")
    assert "--activations" in refused(capsys, "search", "digits", "--activations", "1.5")
    assert "--keep" in refused(capsys, "search", "digits", "--keep", "0")
    assert "--candidates" in refused(capsys, "search", "digits", "--candidates", "some")
    assert "there is no folder" in refused(capsys, "search", "digits", "--out", "no/x.yaml")
    assert "cannot be read" in refused(capsys, "check", "none.yaml", "digits")
    assert "none.onnx" in refused(capsys, "search", "none.onnx")
    told = refused(capsys, "show", "digits", "--layer", "conv1", "--dataflow", "row",
                   "--machine", one_dataflow(tmp_path))  # fmt: skip
    assert told == "dataflow: small-edge has weight, got 'row'"


def one_dataflow(tmp_path):
    path = tmp_path / "machine.yaml"
    path.write_text(EDGE.replace(name="small-edge", array__dataflow="weight").to_yaml())
    return str(path)


def test_a_layer_that_fits_nowhere_is_told(capsys, tmp_path):
    path = tmp_path / "machine.yaml"
    path.write_text(EDGE.replace(name="tiny", sram__bytes=16).to_yaml())
    told = refused(capsys, "search", "digits", "--machine", str(path))
    assert told.startswith("tiny: no descriptor of dataflow flexible fits a layer with N=1 G=1")


def test_a_restricted_machine_keeps_to_its_dataflow(capsys, tmp_path):
    arguments = ("search", "digits", "--layer", "conv2", "--json")
    (row,) = json.loads(printed(capsys, *arguments, "--machine", one_dataflow(tmp_path)))
    assert {one["origin"] for one in row["candidates"]} == {"weight"}


def test_ctrl_c_ends_a_search_and_leaves_no_file(capsys, tmp_path):
    path = tmp_path / "found.yaml"
    printed(capsys, "search", SIZES)  # compiles
    sizes = "N=4,OC=512,IC=512,OY=28,OX=28,FY=3,FX=3,pad=1"
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    code, out, err = ended(capsys, "search", sizes, "--candidates", "all", "--out", str(path))
    timer.join()
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_schedules_round_trip_exactly(tmp_path):
    descriptor = Descriptor.parse(
        {
            "block": {"IC": 8, "OX": 3},
            "rows": {"OC": 4},
            "columns": {"FY": 3},
            "tile": {"OY": 6},
            "order": ["OC", "N"],
            "tile_order": ["OY"],
            "lanes": "vxv",
            "banks": {"if": 1, "fl": 2, "of": 3},
            "sparsity": "weight",
            "reduction": "chain",
            "balance": True,
            "drain": "cyx",
        },
        "",
    )
    schedule = {"a layer: [1]": descriptor, "on": descriptor, "12": descriptor}
    assert parse_schedule(yaml.safe_load(schedule_yaml(schedule)), "") == schedule
    path = tmp_path / "s.yaml"
    write_schedule(path, schedule)
    assert read_schedule(path) == schedule
    assert list(read_schedule(path)) == list(schedule)
    with pytest.raises(MachineError, match="12: is no layer"):
        read_schedule(path, ["a layer: [1]", "on"])
