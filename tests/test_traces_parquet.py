"""Tables for data people: DataFrames and Parquet files hold the accesses that are selected."""

import json
import sys
import time

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from exported_traces import ended

import firemesh
from firemesh.traces import dataframe, parquet
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options

NUMBERS = ("cycle", "address", "size")
NAMES = {"layer": "layers", "unit": "units", "memory": "memories", "op": "ops"}
SELECTIONS = {
    "all": {},
    "layer": {"layer": "conv2"},
    "several": {"layer": ["conv1", "fc2"], "unit": ["pe3", "storage"]},
    "memory": {"memory": ["weight", "psum"], "op": "read"},
    "window": {"cycles": (280, 700)},
    "frame": {"frame": 1, "layer": "fc1"},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return the path of a trace of two frames."""
    path = tmp_path_factory.mktemp("parquet") / "run.h5"
    firemesh.run("digits", firemesh.images("digits", 2)[0], trace=path)
    return path


@pytest.fixture
def trace(path):
    with firemesh.open_trace(path) as trace:
        yield trace


def rows(trace, **selection):
    """Return accesses as a list of tuples with names, frames by another way than the product's."""
    found = []
    for frame in [selection.pop("frame")] if "frame" in selection else (0, 1):
        for block in trace.accesses(**selection, frame=frame):
            names = [np.array(getattr(trace, NAMES[n]))[block[n]].tolist() for n in NAMES]
            cycle, address, size = (block[name].tolist() for name in NUMBERS)
            found += zip(cycle, [frame] * len(block), *names, address, size, strict=True)
    return found


def plain(frame):
    """Return a DataFrame's rows as tuples."""
    return list(zip(*(frame[name].tolist() for name in frame), strict=True))


def read(path):
    """Return a Parquet file's rows as tuples."""
    columns = pl.read_parquet(path)
    words = [name for name, kind in columns.schema.items() if kind == pl.Categorical]
    return columns.cast(dict.fromkeys(words, pl.String)).rows()


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_a_parquet_file_and_a_dataframe_hold_the_accesses_of_the_selection(
    trace, tmp_path, selection
):
    wanted = rows(trace, **selection)
    assert trace.to_parquet(tmp_path / "a.parquet", **selection) == len(wanted) > 0
    frame = trace.to_dataframe(**selection)
    assert plain(frame) == wanted
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame)
    assert read(tmp_path / "a.parquet") == wanted


def test_the_network_s_doors_are_in_a_table_only_by_name(trace, tmp_path):
    frame = trace.to_dataframe(memory="noc_eject", frame=0)
    assert set(frame["memory"]) == {"noc_eject"}
    counted = trace.counters(by=("memory",))
    told = dict(zip(counted["memory"], counted["count"], strict=True))
    assert len(trace.to_dataframe(memory="noc_eject")) == told["noc_eject"]
    assert not set(trace.to_dataframe()["memory"]) & {"noc_inject", "noc_eject"}


def test_a_selection_without_accesses_is_a_dataframe_without_rows(trace):
    frame = trace.to_dataframe(layer="fc2", unit="pe1", memory="dram")
    assert len(frame) == 0
    assert (frame.dtypes == trace.to_dataframe(layer="fc2").dtypes).all()


@pytest.mark.parametrize("most", (1 << 18, 1000, 7919))
def test_a_row_group_is_of_one_layer_of_one_frame_and_not_too_long(
    trace, tmp_path, monkeypatch, most
):
    monkeypatch.setattr(parquet, "ROWS_OF_GROUP", most)
    trace.to_parquet(tmp_path / "a.parquet")
    file = pq.ParquetFile(tmp_path / "a.parquet")
    seen = []
    for number in range(file.num_row_groups):
        group = file.read_row_group(number).to_pandas()
        keys = set(zip(group["frame"], group["layer"], strict=True))
        assert len(keys) == 1 and 0 < len(group) <= most
        seen += keys if not seen or keys != {seen[-1]} else []
    layers = trace.layers
    assert seen == [(frame, layer) for frame in (0, 1) for layer in layers]
    counted = trace.counters(by=("frame", "layer", "memory"))
    total = {}
    for frame, layer, memory, count, _ in counted.tolist():
        if not memory.startswith("noc_"):
            total[frame, layer] = total.get((frame, layer), 0) + count
    assert file.num_row_groups == sum(-(-count // most) for count in total.values())


def test_statistics_let_a_reader_skip_row_groups(trace, tmp_path):
    trace.to_parquet(tmp_path / "a.parquet")
    meta = pq.ParquetFile(tmp_path / "a.parquet").metadata
    assert meta.num_row_groups == 8
    last = -1
    for number in range(8):
        cycle, frame, layer = (meta.row_group(number).column(i).statistics for i in range(3))
        assert last < cycle.min <= cycle.max
        assert frame.min == frame.max == number // 4
        assert layer.min == layer.max == trace.layers[number % 4]
        last = cycle.max


def test_columns_have_the_types_that_the_page_names(trace, tmp_path):
    trace.to_parquet(tmp_path / "a.parquet", layer="fc2")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert [(name, str(kind)) for name, kind in zip(schema.names, schema.types, strict=True)] == [
        ("cycle", "uint64"), ("frame", "uint32"),
        *((n, "dictionary<values=string, indices=int32, ordered=0>") for n in NAMES),
        ("address", "uint64"), ("size", "uint16"),
    ]  # fmt: skip
    meta = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    for column in range(2, 6):
        assert "RLE_DICTIONARY" in meta.column(column).encodings
    assert schema.metadata[b"firemesh.network"] == b"digits"
    assert schema.metadata[b"firemesh.clock_hz"] == b"200000000"


def test_duckdb_and_polars_find_the_sums_that_the_engine_counted(trace, tmp_path):
    trace.to_parquet(tmp_path / "a.parquet")
    by = ("frame", "layer", "unit", "memory", "op")
    counted = [row for row in trace.counters(by=by).tolist() if not row[3].startswith("noc_")]
    query = (
        f"SELECT {', '.join(by)}, count(*)::BIGINT, sum(size)::BIGINT "
        f"FROM '{tmp_path / 'a.parquet'}' GROUP BY ALL"
    )
    assert sorted(duckdb.sql(query).fetchall()) == sorted(counted)
    lazy = pl.scan_parquet(tmp_path / "a.parquet").group_by(by)
    sums = lazy.agg(pl.len(), pl.col("size").cast(pl.Int64).sum()).collect()
    assert sorted(sums.rows()) == sorted(counted)


@pytest.mark.parametrize("form", ("packets", "deliveries"))
def test_packets_and_their_arrivals_are_tables_of_their_own(trace, tmp_path, form):
    report = export(trace, "parquet", tmp_path / "p.parquet", Options(form=form))
    kinds = [name.decode() for name in trace.table("kinds")["name"]]
    wanted, segments = [], trace.segments
    blocks = trace.packets() if form == "packets" else trace.deliveries()
    for segment, block in zip(segments, blocks, strict=True):
        for row in block:
            where = [int(segment["frame"]), trace.layers[row["layer"]], int(segment["wave"])]
            ends = [trace.units[row[n]] for n in ("unit", "source") if n in block.dtype.names]
            rest = [int(row["number"]), int(row["flits"])]
            if form == "packets":
                rest += [kinds[row["kind"]], int(row["value"])]
            wanted.append((int(row[block.dtype.names[0]]), *where, *ends, *rest))
    assert read(tmp_path / "p.parquet") == wanted
    assert report.counts["rows"] == len(wanted) > 0
    told = json.loads((tmp_path / "p.parquet.meta.json").read_text())
    cycles = [row[0] for row in wanted]
    flits = pl.read_parquet(tmp_path / "p.parquet")["flits"].sum()
    ends = {"first_cycle": min(cycles), "last_cycle": max(cycles)}
    assert told["selected"] == {form: len(wanted), "flits": flits} | ends


def test_a_packet_is_found_again_among_the_arrivals(trace, tmp_path):
    for form in ("packets", "deliveries"):
        export(trace, "parquet", tmp_path / f"{form}.parquet", Options(form=form))
    joined = duckdb.sql(
        f"SELECT min(d.cycle::BIGINT - p.created::BIGINT), count(*) "
        f"FROM '{tmp_path / 'packets.parquet'}' p "
        f"JOIN '{tmp_path / 'deliveries.parquet'}' d USING (frame, layer, wave, source, number)"
    ).fetchall()
    n = sum(len(block) for block in trace.deliveries())
    ((least, count),) = joined
    assert least > 0 and count == n


def test_the_side_file_tells_the_totals(trace, tmp_path):
    trace.to_parquet(tmp_path / "a.parquet", layer="conv2", memory=["psum"])
    told = json.loads((tmp_path / "a.parquet.meta.json").read_text())
    wanted = rows(trace, layer="conv2", memory=["psum"])
    totals = {
        "reads": sum(row[5] == "read" for row in wanted),
        "writes": sum(row[5] == "write" for row in wanted),
        "bytes": sum(row[7] for row in wanted),
        "first_cycle": wanted[0][0],
        "last_cycle": wanted[-1][0],
    }
    assert told["selected"] == totals | {"accesses": len(wanted)}
    assert told["written"] == totals | {"records": len(wanted)}


def test_the_same_selection_gives_the_same_bytes(trace, tmp_path):
    for name in ("a", "b"):
        trace.to_parquet(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_command_writes_what_the_method_does(capsys, path, trace, tmp_path):
    trace.to_parquet(tmp_path / "a", layer="fc1", frame=0)
    code, out, err = ended(
        capsys, path, "--to", "parquet", "--out", tmp_path / "b", "--layer", "fc1", "--frame", "0"
    )
    assert (code, err) == (0, "") and out.startswith("parquet: 8,988 rows, 1 row group in ")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# ---- mistakes


def test_too_many_rows_for_a_dataframe_are_refused_before_any_is_read(trace, monkeypatch):
    monkeypatch.setattr(dataframe, "MOST_ROWS", 9_000)
    with pytest.raises(TraceError) as error:
        trace.to_dataframe(layer=["conv2"])
    assert str(error.value) == (
        f"to_dataframe: {len(rows(trace, layer='conv2')):,} accesses are more than the 9,000 that "
        "it takes; choose layer, unit, memory, op, frame or cycles, or use to_parquet"
    )
    assert len(trace.to_dataframe(layer="fc1", frame=1)) == 8_822

    def fail(*_, **__):
        raise AssertionError("read")

    monkeypatch.setattr(type(trace), "accesses", fail)
    with pytest.raises(TraceError, match="more than the 9,000"):
        trace.to_dataframe()


def test_a_window_of_too_many_rows_is_refused_and_a_narrow_one_is_not(trace, monkeypatch):
    monkeypatch.setattr(dataframe, "MOST_ROWS", 9_000)
    with pytest.raises(TraceError, match="at least [0-9,]+ accesses are more than the 9,000"):
        trace.to_dataframe(cycles=(0, trace.cycles))
    assert 0 < len(trace.to_dataframe(layer="conv2", cycles=(300, 310))) < 9_000


@pytest.mark.parametrize("selection, sentence", (
    ({"layer": "conv9"}, "layer: must be one of conv1, conv2, fc1, fc2, got conv9"),
    ({"frame": 2}, "frame: must be one of 0..1, got 2"),
    ({"op": "reads"}, "op: must be one of read, write, got reads"),
))  # fmt: skip
def test_what_there_is_not_is_one_sentence(trace, tmp_path, selection, sentence):
    for call in (trace.to_dataframe, lambda **s: trace.to_parquet(tmp_path / "a", **s)):
        with pytest.raises(TraceError) as error:
            call(**selection)
        assert str(error.value) == sentence
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_stays_unless_forced(trace, tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(TraceError, match="exists; name another file, or replace it with --force"):
        trace.to_parquet(tmp_path / "a", layer="fc2")
    assert (tmp_path / "a").read_text() == "old"
    assert trace.to_parquet(tmp_path / "a", layer="fc2", force=True) == len(
        pl.read_parquet(tmp_path / "a")
    )


def test_packets_cannot_be_chosen_by_memory(capsys, path, tmp_path):
    code, out, err = ended(
        capsys, path, "--to", "parquet", "--out", tmp_path / "o", "--form", "packets",
        "--memory", "psum",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert err == "firemesh: --memory: cannot be heeded by --form packets; leave it out\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("library, method", (("pandas", "to_dataframe"), ("pyarrow", "parquet")))
def test_a_missing_library_is_told_with_its_extra(trace, tmp_path, monkeypatch, library, method):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(TraceError) as error:
        trace.to_dataframe() if library == "pandas" else trace.to_parquet(tmp_path / "a")
    assert str(error.value) == (
        f"{method}: needs {library}, which is not installed; pip install 'firemesh[tables]'"
    )


# ---- speed


@pytest.mark.benchmark(group="exporters", timer=time.process_time)
def test_parquet_is_written_fast(benchmark, trace, tmp_path):
    block = next(trace.accesses(layer="conv2", frame=0))
    many = np.concatenate([block] * (2_000_000 // len(block)))
    parts = [(1, many)]
    benchmark(lambda: parquet.write_parquet(trace, tmp_path / "a", "accesses", iter(parts)))
    benchmark.extra_info["million rows/s"] = len(many) / benchmark.stats["min"] / 1e6
