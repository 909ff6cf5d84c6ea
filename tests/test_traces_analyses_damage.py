"""Analyses of a trace whose tables were changed end with one sentence, and write nowhere."""

import shutil

import h5py
import pytest
from analysed_traces import ended, trace_of

BY_TABLE = {
    "slots": ("utilization", "balance", "energy"),
    "counters": ("balance",),
    "flits": ("links", "energy"),
}


def changed(path, table, field, row, value):
    """Change a number of a table."""
    with h5py.File(path, "r+") as file:
        rows = file[table][...]
        rows[field][row] = value
        file[table][...] = rows


@pytest.mark.parametrize("table, name", [(t, n) for t, names in BY_TABLE.items() for n in names])
@pytest.mark.parametrize("field", ("segment", "other"))
def test_counts_of_what_does_not_exist_are_refused(capsys, tmp_path, table, name, field):
    path = shutil.copy(trace_of("mnf"), tmp_path / "run.h5")
    field = (
        {"slots": "cause", "counters": "unit", "flits": "link"}[table]
        if field == "other"
        else field
    )
    changed(path, table, field, -1, 200)
    code, out, err = ended(capsys, name, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "damaged" in err or "slots" in err


@pytest.mark.parametrize("name", ("bandwidth", "utilization", "energy"))
@pytest.mark.parametrize("cycle", (-5_000, 5_000))
def test_accesses_outside_the_run_are_refused(capsys, tmp_path, name, cycle):
    path = shutil.copy(trace_of("mnf"), tmp_path / "run.h5")
    with h5py.File(path, "r") as file:
        items = file["patterns/items"][...]
        psum = [one == b"psum" for one in file["memories"]["name"]].index(True)
    rows = [number for number, item in enumerate(items) if item["memory"] == psum]
    for row in rows:
        changed(path, "patterns/items", "cycle", row, cycle)
    code, out, err = ended(capsys, name, path)
    assert (code, out, err.count("\n")) == (2, "", 1) and "damaged" in err


@pytest.mark.parametrize("name", ("bandwidth", "utilization", "balance", "energy", "links"))
def test_segments_of_layers_that_do_not_exist_are_refused(capsys, tmp_path, name):
    path = shutil.copy(trace_of("mnf"), tmp_path / "run.h5")
    changed(path, "segments", "layer", -1, 77)
    code, out, err = ended(capsys, name, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "table segments is damaged" in err


@pytest.mark.parametrize("name", ("bandwidth", "utilization", "energy"))
def test_of_an_unfinished_run_it_is_told(capsys, tmp_path, name):
    path = shutil.copy(trace_of("mnf"), tmp_path / "run.h5")
    assert "unfinished" not in ended(capsys, name, path)[1]
    with h5py.File(path, "r+") as file:
        file.attrs["complete"] = False
    code, out, _ = ended(capsys, name, path)
    assert code == 0 and "\nunfinished     the run has not come to its end" in out
