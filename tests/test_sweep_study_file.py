"""Study files: what they may say, and the one sentence that tells what is wrong."""

import pytest
import yaml

from firemesh.emulator.machine import MachineError
from firemesh.emulator.sweep.points import points
from firemesh.emulator.sweep.study_file import parse_study, read_study, ready_studies, several

LEAST = {"name": "small", "networks": "lenet5", "machines": "mnf-22nm"}


def made(folder, **more):
    """Return the points of the least study and more."""
    tree = {**LEAST, **more}
    return points(parse_study(tree, "study.yaml"), folder, "study.yaml")


def refused(folder, **more):
    with pytest.raises(MachineError) as error:
        made(folder, **more)
    told = str(error.value)
    assert told.startswith("study.yaml: ") and "\n" not in told
    return told.removeprefix("study.yaml: ")


def test_a_value_is_a_list_of_one():
    assert several(3) == several([3]) == (3,)
    assert several([3, 4]) == (3, 4)
    assert several([1, True, 1.0]) == (1, True, 1.0)


def test_a_name_stands_for_an_entry_that_says_nothing_else():
    short = parse_study(LEAST, "s")
    entries = {"networks": [{"network": "lenet5"}], "machines": [{"machine": "mnf-22nm"}]}
    assert short == parse_study({**LEAST, **entries}, "s")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"machine": "x"}, "machine: unknown key; known here: name, title, networks, machines,"),
        ({"networks": {"network": "lenet5", "layer": "x"}}, "networks[0].layer: unknown key; kn"),
        ({"machines": {"machine": "mnf-22nm", "sets": 1}}, "machines[0].sets: unknown key; known"),
        ({"machines": [{"set": {}}]}, "machines[0].machine: missing; add this key"),
        ({"networks": [3]}, "networks[0]: must be a mapping of fields, got 3"),
        ({"networks": []}, "networks: must be a value or a list of values, got an empty list"),
        ({"seeds": [1, 1]}, "seeds: holds 1 twice; leave one out"),
        ({"seeds": [0, "a"]}, "seeds[1]: must be a valid integer, got 'a'"),
        ({"seeds": -1}, "networks[0]: seed: must be an integer in 0..2^63 - 1, got -1"),
        ({"weights": "rows:2"}, "networks[0]: weights: must be rows:D or random:D with a density"),
        ({"activations": [0.1, 2]}, "networks[0]: activations: must be a density above 0, at mo"),
        ({"presets": "S9"}, "networks[0]: preset: must be one of S1, S2 for lenet5, got 'S9'"),
        ({"frames": 0}, "frames: must be greater than or equal to 1, got 0"),
        ({"frames": "all"}, "networks[0]: frames: must be 1..1000 of a synthetic network, got a"),
        ({"networks": "digits", "seeds": 0}, "seeds: is of synthetic networks (lenet5, alexnet,"),
        (
            {"networks": {"network": "digits", "weights": "dense"}},
            "networks[0]: weights: is of synthetic networks; digits has its own weights",
        ),
        ({"networks": "nope.onnx"}, "networks[0]: "),
        ({"networks": {"network": "digits", "input": "no.npy"}}, "networks[0]: "),
        ({"machines": "nope"}, "machines[0].machine: nope: no machine of this name and no such"),
        ({"modes": "flexn"}, "mode: must be one of mnf, flexnn, auto or a YAML file of layers"),
        ({"modes": ["mnf", "flexnn"]}, "modes: no machine here runs flexnn; leave it out or add"),
        ({"modes": "auto"}, "machines[0]: mnf-22nm does not run mode auto; change modes or mach"),
        (
            {"machines": ["hybrid-256", {"machine": "mnf-22nm", "modes": "auto"}]},
            "machines[1]: mnf-22nm does not run mode auto; change modes or machine",
        ),
        ({"objective": "energy"}, "objective: is of modes flexnn and auto; no machine here runs"),
        ({"objective": "area"}, "objective: must be 'cycles', 'energy' or 'edp', got 'area'"),
        ({"figure": "nope"}, "figure: must be one of utilization, got 'nope'"),
        ({"name": "a/b"}, "name: must be of letters, digits, '-', '_' and '.', got 'a/b'"),
        ({"rows_of": "mnf-22nm"}, "rows_of: must be a machine of both modes, such as hybrid-256"),
        (
            {"rows_of": "hybrid-256", "networks": "resnet18"},
            "rows_of: is of networks without branches, got resnet18; leave it out there",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_sentence_with_file_and_key(tmp_path, more, sentence):
    assert refused(tmp_path, **more).startswith(sentence)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("pe.fire_lane", 1, "mnf-22nm: pe.fire_lane: unknown key; known here: modules,"),
        ("pe.fire_lanes", [1, "a"], "mnf-22nm: pe.fire_lanes: must be a valid integer, got 'a'"),
        ("energy", "nope", "Machine.energy: must be one of eyeriss,"),
        ("PE", 1, "must hold fields such as pe.fire_lanes, got 'PE'"),
    ],
)
def test_a_change_that_the_machine_refuses_is_told_with_its_entry(tmp_path, field, value, sentence):
    machines = {"machine": "mnf-22nm", "set": {field: value}}
    assert refused(tmp_path, machines=machines).startswith(f"machines[0].set: {sentence}")


def test_an_item_of_a_field_that_is_a_list_is_told_how_to_be_written(tmp_path):
    machines = {"machine": "hybrid-256", "set": {"flexnn.sparsity.modes": ["dense"]}}
    assert refused(tmp_path, machines=machines).endswith("a list of lists, such as [[dense]]")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "must be a YAML mapping with networks and machines, got list; `firemesh sweep"),
        ("", "must be a YAML mapping with networks and machines, got NoneType; `firemesh sweep"),
        ("a: [", ", line 1: is not valid YAML"),
        ("seeds: 0\nseeds: 1\n", ", line 2: is not valid YAML; correct it there (seeds is given"),
    ],
)
def test_a_file_that_is_no_study_is_told_by_its_name(tmp_path, text, sentence):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(MachineError) as error:
        read_study(str(path))
    assert str(error.value).removeprefix(str(path)).removeprefix(": ").startswith(sentence)


def test_a_study_without_a_name_is_called_as_its_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"networks": "digits", "machines": "mnf-22nm"}))
    study, folder = read_study(str(path))
    assert (study.name, folder) == ("mine", tmp_path)


@pytest.mark.parametrize("name", ready_studies())
def test_a_ready_study_makes_points_and_is_called_by_its_name(name):
    study, folder = read_study(name)
    assert study.name == name and study.title
    assert len(points(study, folder, name)) > 1


def test_the_ready_study_has_mode_mnf_dense_and_each_way_to_skip_at_every_density():
    study, folder = read_study("utilization-vs-sparsity")
    found = points(study, folder, "s")
    kinds = {(point.asked.mode, point.asked.changes) for point in found}
    places = {(p.asked.layers, p.asked.weights, p.asked.activations) for p in found}
    assert len(kinds) == 5 and len(found) == 5 * len(places)
    assert len({point.asked.multipliers for point in found}) == 1
