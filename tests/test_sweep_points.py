"""Points: the product of what a study names, and a digest of all that decides a result."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from firemesh.emulator.machine import MachineError, machine
from firemesh.emulator.studies import job
from firemesh.emulator.studies.crossover import weight_rows
from firemesh.emulator.sweep import points as module
from firemesh.emulator.sweep.points import points
from firemesh.emulator.sweep.study_file import parse_study
from firemesh.models.architectures import ARCHITECTURES

LEAST = {"name": "small", "networks": "lenet5", "machines": "mnf-22nm"}


def made(folder, **more):
    return points(parse_study({**LEAST, **more}, "study.yaml"), folder, "study.yaml")


def digest(folder, **more):
    (point,) = made(folder, **more)
    return point.digest


def test_points_are_the_product_of_networks_densities_seeds_machines_changes_and_modes(tmp_path):
    found = made(
        tmp_path,
        networks=["digits", {"network": "lenet5", "layers": "conv1"}],
        machines=[
            {"machine": "mnf-22nm", "set": {"pe.fire_lanes": [1, 3], "noc.multicast": "unicast"}},
            "hybrid-256",
        ],
        modes=["mnf", "flexnn", "auto"],
        weights=["dense", "rows:0.5"],
        activations=[0.1, 0.2, 0.3],
        seeds=[0, 1],
    )
    of_machines = 2 + 3
    assert len(found) == of_machines + 2 * 3 * 2 * of_machines
    assert len({point.digest for point in found}) == len(found)
    asked = [point.asked for point in found]
    assert {(one.seed, one.weights, one.activations) for one in asked} == {
        (None, None, None),
        *((s, w, a) for s in (0, 1) for w in ("dense", "rows:0.5") for a in (0.1, 0.2, 0.3)),
    }
    assert {(one.machine, one.mode, one.changes) for one in asked} == {
        *(("mnf-22nm", "mnf", json.dumps({"noc.multicast": "unicast", "pe.fire_lanes": n}))
          for n in (1, 3)),
        *(("hybrid-256", mode, "{}") for mode in ("mnf", "flexnn", "auto")),
    }  # fmt: skip


def test_a_machine_runs_its_own_mode_where_none_is_named(tmp_path):
    machines = ["mnf-22nm", "flexnn-edge", "hybrid-256"]
    modes = [point.asked.mode for point in made(tmp_path, machines=machines)]
    assert modes == ["mnf", "flexnn", "auto"]


def test_what_an_entry_says_goes_before_what_the_study_says(tmp_path):
    entries = ["alexnet", {"network": "lenet5", "seeds": [5, 6], "frames": 2, "weights": "dense"}]
    asked = [p.asked for p in made(tmp_path, networks=entries, seeds=1, weights="rows:0.5")]
    assert [(one.network, one.seed, one.frames, one.weights) for one in asked] == [
        ("alexnet", 1, 1, "rows:0.5"),
        ("lenet5", 5, 2, "dense"),
        ("lenet5", 6, 2, "dense"),
    ]


def test_a_list_is_several_values_and_a_list_in_a_list_one(tmp_path):
    skips = [["dense"], ["dense", "both"]]
    entry = {"machine": "hybrid-256", "modes": "flexnn", "set": {"flexnn.sparsity.modes": skips}}
    found = made(tmp_path, machines=entry)
    assert [json.loads(p.asked.changes)["flexnn.sparsity.modes"] for p in found] == skips


def test_points_that_are_the_same_are_one(tmp_path):
    assert len(made(tmp_path, machines=["mnf-22nm", {"machine": "mnf-22nm"}])) == 1


def test_the_same_study_gives_the_same_digests_wherever_its_files_lie(tmp_path):
    found = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "frames.npy", np.zeros((2, 1, 8, 8), np.float32))
        (folder / "m.yaml").write_text(machine("mnf-22nm").to_yaml())
        networks = {"network": "digits", "input": "frames.npy"}
        found.append(digest(folder, networks=networks, machines="m.yaml"))
    assert found[0] == found[1]


CHANGES = {
    "network": {"networks": "alexnet"},
    "layers": {"networks": {"network": "lenet5", "layers": "conv1"}},
    "frames": {"frames": 2},
    "weights": {"weights": "dense"},
    "random": {"weights": "random:0.5"},
    "activations": {"activations": 0.25},
    "seed": {"seeds": 1},
    "preset": {"presets": "S2"},
    "rows": {"rows_of": "hybrid-256"},
    "machine": {"machines": "mnf-literal"},
    "field": {"machines": {"machine": "mnf-22nm", "set": {"noc.buffer_flits": 5}}},
    "energy": {"machines": {"machine": "mnf-22nm", "set": {"energy": "eyeriss"}}},
    "mode": {"machines": {"machine": "hybrid-256", "modes": "mnf"}},
    "flexnn": {"machines": "flexnn-edge"},
    "objective": {"machines": "flexnn-edge", "objective": "energy"},
    "dataflow": {"machines": "flexnn-edge", "dataflow": "row"},
    "keep": {"machines": "flexnn-edge", "keep": 0},
}


def test_whatever_decides_a_result_is_in_the_digest(tmp_path):
    found = {name: digest(tmp_path, **more) for name, more in CHANGES.items()}
    found["least"] = digest(tmp_path)
    assert len(set(found.values())) == len(found)


def test_a_name_and_a_figure_are_not_in_the_digest(tmp_path):
    other = digest(tmp_path, name="other", title="Other", figure="utilization")
    assert other == digest(tmp_path)


def test_what_files_hold_is_in_the_digest(tmp_path):
    networks = {"network": "digits", "input": "frames.npy"}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"*": "auto"}))
    found = []
    for value, mode in ((0, "auto"), (1, "auto"), (1, "flexnn")):
        np.save(tmp_path / "frames.npy", np.full((1, 1, 8, 8), value, np.float32))
        (tmp_path / "m.yaml").write_text(yaml.safe_dump({"*": mode}))
        found.append(digest(tmp_path, networks=networks, machines="hybrid-256", modes="m.yaml"))
    assert len(set(found)) == 3


def test_code_version_and_layout_of_rows_are_in_the_digest(tmp_path, monkeypatch):
    found = {digest(tmp_path)}
    for name, value in (("code_digest", lambda: "x"), ("__version__", "9"), ("SCHEMA_VERSION", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            found.add(digest(tmp_path))
    assert len(found) == 4


def test_the_code_of_a_digest_is_that_of_all_folders_that_run_networks():
    assert {"models", "noc", "emulator", "emulator/mnf", "emulator/flexnn"} <= set(job.CODE)


def test_of_a_hybrid_in_one_mode_only_that_side_is_in_the_digest(tmp_path):
    def identity(mode, width):
        entry = {"machine": "hybrid-256", "modes": mode}
        (point,) = made(tmp_path, machines=entry | {"set": {"flexnn.dram.bytes_per_cycle": width}})
        tree = json.loads(replace(point, asked=None).identity)
        return {key: value for key, value in tree.items() if key != "asked"}

    assert identity("mnf", 16) == identity("mnf", 32)
    assert identity("flexnn", 16) != identity("flexnn", 32)


def test_rows_are_pruned_as_the_named_machines_pes_hold_them(tmp_path):
    (point,) = made(tmp_path, rows_of="hybrid-256")
    assert point.recipe.rows == weight_rows(ARCHITECTURES["lenet5"], machine("hybrid-256"))


def test_a_file_of_modes_is_of_a_machine_of_both(tmp_path):
    (tmp_path / "m.yaml").write_text('conv1: mnf\n"*": auto\n')
    (point,) = made(tmp_path, machines="hybrid-256", modes="m.yaml")
    assert point.modes == (("conv1", "mnf"), ("*", "auto")) and point.asked.mode == "m.yaml"
    with pytest.raises(MachineError, match="mnf-22nm does not run mode m.yaml"):
        made(tmp_path, modes="m.yaml")
