"""Rows: those of a point are what `firemesh.run` finds; a folder of them is one table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import firemesh
from firemesh.emulator.flexnn.plan import Search
from firemesh.emulator.machine import MachineError
from firemesh.emulator.slots import Cause
from firemesh.emulator.studies.job import code_digest
from firemesh.emulator.sweep import columns, point_run
from firemesh.emulator.sweep.point_run import OtherCodeError, compute, failed
from firemesh.emulator.sweep.points import points
from firemesh.emulator.sweep.store import IDENTITY, RESULTS, Store
from firemesh.emulator.sweep.study_file import parse_study

PAGE = Path(__file__).parents[1] / "docs" / "sweep.md"


def made(**more):
    tree = {"name": "s", "networks": "digits", "machines": "mnf-22nm", "frames": 2, **more}
    return points(parse_study(tree, "s"), Path(), "s")


def outcome(point):
    return compute(point, code_digest())


LENET = {"network": "lenet5", "layers": "conv1,conv2"}


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({}, "mnf"),
        ({"machines": {"machine": "mnf-22nm", "set": {"noc.multicast": "unicast"}}}, "mnf"),
        ({"machines": "flexnn-edge", "keep": 0}, "flexnn"),
        ({"machines": "hybrid-256", "modes": "auto"}, "auto"),
        ({"networks": LENET, "weights": "rows:0.4", "activations": 0.2, "seeds": 3}, "mnf"),
    ],
    ids=["mnf", "changed", "flexnn", "auto", "synthetic"],
)
def test_a_points_rows_are_what_a_run_finds(more, mode):
    (point,) = made(**more)
    asked = point.asked
    if asked.network == "digits":
        network, frames = firemesh.load("digits"), firemesh.images("digits", 2)[0]
    else:
        options = {"weights": "rows:0.4", "activations": 0.2, "seed": 3, "layers": "conv1,conv2"}
        network = firemesh.load("lenet5", **options)
        frames = firemesh.images("lenet5", 2, **options)[0]
    machine = firemesh.machine(asked.machine)
    changes = {k.replace(".", "__"): v for k, v in json.loads(asked.changes).items()}
    search = Search(keep=0) if "keep" in more else None
    result = firemesh.run(
        network, frames, machine=machine.replace(**changes), mode=mode, search=search
    )
    rows = outcome(point).rows
    assert [row["layer"] for row in rows] == [layer.name for layer in result.layers]
    assert sum(row["cycles"] for row in rows) == result.cycles
    assert sum(row["dram_bytes"] for row in rows) == result.dram_bytes
    assert math.isclose(sum(row["energy_pj"] for row in rows), sum(result.energy.values()))
    for cause in Cause:
        name = cause.name.lower()
        assert sum(row[f"slots_{name}"] for row in rows) == result.slots[name]
    for row, layer, record in zip(rows, result.layers, result.layers.records(), strict=True):
        assert row["status"] == "ok" and row["error"] is None and row["frames"] == 2
        assert row["utilization"] == layer.utilization
        assert row["useful"] == layer.cause(Cause.EXECUTED)
        same = [n for n in columns.LAYER if n in record and not n.startswith("slots_")]
        assert {name: row[name] for name in same} == {name: record[name] for name in same}
        assert len(same) > 40


def test_every_column_has_a_value_of_its_type_or_none_and_no_row_has_others():
    for more in ({}, {"machines": "flexnn-edge"}):
        for row in outcome(made(**more)[0]).rows:
            assert list(row) == list(columns.COLUMNS)
            assert pa.Table.from_pylist([row], columns.schema()).num_rows == 1


def test_densities_of_weights_are_those_of_the_network():
    (point,) = made(networks="digits-pruned")
    network = firemesh.load("digits-pruned")
    known = {row["layer"]: row["weight_density"] for row in outcome(point).rows}
    for layer in network.layers:
        if hasattr(layer, "weight"):
            assert known[layer.name] == np.count_nonzero(layer.weight) / layer.weight.size
    assert any(density < 0.6 for density in known.values())


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"frames": 999}, "--frames: must be all or 1..360 (360 frames in digits), got 999"),
        (
            {"networks": {"network": "lenet5", "layers": "conv9"}},
            "layers: must be all, conv or layers of lenet5 with commas between (conv1, conv2,",
        ),
        (
            {"machines": {"machine": "mnf-tiny", "set": {"pe.psum_bank_bytes": 8}}},
            "layer conv1: one ofmap row of 8 psums and one filter group need 3 words in a psum ba",
        ),
    ],
    ids=["frames", "layers", "psums"],
)
def test_a_point_that_fails_is_one_row_with_the_error(more, sentence):
    (point,) = made(**more)
    found = outcome(point)
    (row,) = found.rows
    assert found.status == row["status"] == "failed"
    assert row["error"].startswith(sentence) and "defect" not in row["error"]
    assert "\n" not in row["error"]
    assert row["layer"] is None and row["cycles"] is None
    assert row["point"] == point.digest and row["machine"] == point.asked.machine
    assert list(row) == list(columns.COLUMNS)


def test_a_defect_is_a_row_that_says_so_and_where(monkeypatch):
    def broken(point):
        raise KeyError("lost")

    monkeypatch.setattr(point_run, "_network", broken)
    (row,) = outcome(made()[0]).rows
    assert row["error"].startswith("a defect of firemesh (KeyError 'lost', broken, line ")


def test_a_file_that_changes_after_the_start_fails_its_point(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, np.zeros((1, 1, 8, 8), np.float32))
    (point,) = made(networks={"network": "digits", "input": str(path)}, frames=1)
    assert outcome(point).status == "ok"
    np.save(path, np.ones((1, 1, 8, 8), np.float32))
    assert "frames.npy: has changed since the sweep began" in outcome(point).error


def test_a_process_with_other_code_computes_nothing():
    with pytest.raises(OtherCodeError, match="a worker has other code than this firemesh"):
        compute(made()[0], "other")


# The folder


@pytest.fixture
def filled(tmp_path):
    """Return a store with a good and a failed point, and the points."""
    found = [*made(), *made(frames=999)]
    store = Store(tmp_path / "out")
    store.prepare()
    for point in found:
        store.add(point, outcome(point))
    return store, found


def test_a_points_file_tells_its_status_and_identity(filled):
    store, (good, bad) = filled
    assert store.status(good.digest) == "ok" and store.status(bad.digest) == "failed"
    assert store.status("0" * 24) is None
    known = pq.read_metadata(store.path(good.digest)).metadata
    assert known[IDENTITY].decode() == good.identity


def test_pandas_polars_and_duckdb_read_the_folder_as_one_table(filled):
    store, found = filled
    folder = store.folder / "points"
    n = sum(len(outcome(point).rows) for point in found)
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(folder)
    assert len(frame) == n and list(frame) == list(columns.COLUMNS)
    assert set(frame.groupby("status").size().index) == {"ok", "failed"}
    polars = pytest.importorskip("polars")
    assert polars.read_parquet(folder).shape == frame.shape
    duckdb = pytest.importorskip("duckdb")
    query = f"select count(*), sum(cycles) from '{folder}/*.parquet'"
    assert duckdb.sql(query).fetchall()[0] == (n, frame["cycles"].sum())


def test_the_studys_file_holds_its_points_alone_in_their_order(filled):
    store, found = filled
    rows = store.collect(found[::-1])
    assert pq.read_table(store.folder / RESULTS).equals(rows)
    assert rows.schema.equals(columns.schema())
    digests = list(dict.fromkeys(rows.column("point").to_pylist()))
    assert digests == [point.digest for point in found[::-1]]
    assert store.collect(found[:1]).num_rows < rows.num_rows
    assert store.others(found[:1]) == 1
    assert store.collect([]).num_rows == 0


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_damaged_file_of_a_point_is_one_that_is_missing(filled, kept):
    store, (good, bad) = filled
    path = store.path(good.digest)
    path.write_bytes(path.read_bytes()[:kept])
    assert store.status(good.digest) is None
    assert set(store.collect([good, bad]).column("status").to_pylist()) == {"failed"}


def test_a_file_that_is_damaged_inside_is_told_by_its_name(filled):
    store, (good, bad) = filled
    path = store.path(good.digest)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(MachineError, match=f"{path}: is damaged; delete it and call the same"):
        store.collect([good, bad])


def test_what_cannot_be_written_leaves_nothing_behind(filled, monkeypatch):
    store, (good, _) = filled
    before = store.path(good.digest).read_bytes()

    def full(writer, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left on device"):
        store.add(good, failed(good, "x"))
    assert store.path(good.digest).read_bytes() == before
    assert [path.name for path in store.folder.iterdir()] == ["points"]


def test_a_machine_that_is_changed_after_all_is_another_point():
    (one,) = made()
    assert replace(one, identity=one.identity + " ").digest != one.digest


def test_the_page_tells_every_column():
    text = PAGE.read_text("utf-8")
    causes = {f"slots_{cause.name.lower()}" for cause in Cause}
    told = [name for name in columns.COLUMNS if name not in causes]
    accesses = [name for name in told if name.endswith(("_reads", "_writes"))]
    missing = [name for name in told if name not in accesses and f"`{name}`" not in text]
    assert not missing
    assert all(f"`{name.rpartition('_')[0]}`" in text for name in accesses)
    assert all(f"`{cause.name.lower()}`" in text for cause in Cause)
