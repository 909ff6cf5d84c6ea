"""The figure of useful slots: which rows make a line, and what a line shows."""

import json
from pathlib import Path

import pytest

from firemesh.emulator.sweep.figure import draw, lines, useful


def row(mode="mnf", activations=0.1, executed=10, slots=100, **more):
    """Return a row as far as the figure reads it."""
    known = {
        "network": "lenet5", "layers": None, "weights": "dense", "machine": "hybrid-256",
        "changes": "{}", "mode": mode, "activations": activations, "activation_density": 0.25,
        "slots_executed": executed, "slots": slots,
    }  # fmt: skip
    return known | more


def skipping(*modes):
    return json.dumps({"flexnn.sparsity.modes": modes})


def test_a_line_is_a_mode_and_what_is_changed_and_the_machine_where_there_are_several():
    rows = [
        row(),
        row("flexnn", changes=skipping("dense", "both")),
        row(changes=json.dumps({"noc.multicast": "unicast"})),
    ]
    assert list(lines(rows)) == ["mnf", "flexnn, both", "mnf, noc.multicast unicast"]
    assert list(lines([row(), row(machine="mnf-22nm")])) == ["hybrid-256, mnf", "mnf-22nm, mnf"]


def test_useful_slots_are_of_all_layers_and_seeds_of_a_density_in_ascending_order():
    rows = [row(activations=0.9, executed=90), row(), row(executed=50, slots=300)]
    assert useful(rows) == {0.1: 60 / 400, 0.9: 0.9}
    assert list(useful(rows)) == [0.1, 0.9]


def test_where_no_density_is_asked_for_the_measured_one_is_taken():
    assert useful([row(activations=None)]) == {0.25: 0.1}


def test_layers_without_slots_are_left_out():
    assert useful([row(slots=0, executed=0)]) == {}


@pytest.mark.parametrize("form", ["png", "svg"])
def test_the_same_rows_give_the_same_bytes(tmp_path, form):
    rows = [row(activations=x, weights=w) for x in (0.1, 0.5) for w in ("dense", None)]
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        names = draw("utilization", rows, "Title", folder, "x")
        assert names == ["x.png", "x.svg"]
        found.append((folder / f"x.{form}").read_bytes())
    assert found[0] == found[1]


def test_without_rows_nothing_is_drawn():
    assert draw("utilization", [], "Title", Path("nowhere"), "x") == []
