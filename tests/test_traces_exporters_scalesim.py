"""SCALE-Sim's traces, read by a parser that knows the format's page and the side file alone."""

import json
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from exported_traces import ended, record
from hypothesis import given
from hypothesis import strategies as st
from real_readers import need

import firemesh
from firemesh.traces.errors import TraceError
from firemesh.traces.exporters import scalesim_rows
from firemesh.traces.exporters.export import export
from firemesh.traces.exporters.exporter import Options
from firemesh.traces.exporters.scalesim_operands import Elements
from firemesh.traces.exporters.scalesim_topology import topology
from firemesh.traces.schema import ACCESS
from firemesh.traces.selection import Selection

OFFSETS = {"IFMAP": 0, "FILTER": 10_000_000, "OFMAP": 20_000_000}
PAGE = {  # mode and file: memory, operation, bytes of an element
    ("mnf", "IFMAP_SRAM"): ("storage", "read", 8),
    ("mnf", "FILTER_SRAM"): ("weight", "read", 1),
    ("mnf", "OFMAP_SRAM"): ("psum", "write", 4),
    ("flexnn", "IFMAP_SRAM"): ("rf_if", "read", 1),
    ("flexnn", "FILTER_SRAM"): ("rf_fl", "read", 1),
    ("flexnn", "OFMAP_SRAM"): ("rf_of", "write", 4),
}
DRAM = {"IFMAP_DRAM": "read", "FILTER_DRAM": "read", "OFMAP_DRAM": "write"}
MODES = {"conv1": "flexnn", "conv2": "mnf", "fc1": "flexnn", "fc2": "mnf"}
TRACES = ("mnf", "streamed", "flexnn", "mixed")
SELECTIONS = {
    "all": {},
    "layer": {"layer": ["conv1", "fc1"], "frame": 0},
    "units": {"unit": [0, 2, 3]},
    "memory": {"memory": ["weight", "rf_fl", "dram"], "op": "read"},
    "window": {"cycles": (40, 260)},
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Return the paths of traces of each mode, made once."""
    folder, images = tmp_path_factory.mktemp("scalesim"), firemesh.images("digits", 2)[0]
    firemesh.run("digits", images, trace=folder / "mnf.h5")
    firemesh.run("digits", images[:1], mode="flexnn", trace=folder / "flexnn.h5")
    firemesh.run("digits", images[:1], mode=MODES, trace=folder / "mixed.h5")
    record("streamed", "tree", folder / "streamed.h5")
    return {name: folder / f"{name}.h5" for name in TRACES}


def exported(path, out, **selection):
    """Export; return what the side file tells."""
    with firemesh.open_trace(path) as trace:
        export(trace, "scalesim", out, Options(Selection(**selection)))
    return json.loads(out.with_name(f"{out.name}.meta.json").read_text())


def read_rows(path):
    """Return the cycle of each row, and its elements with -1, after a look at the form."""
    text = path.read_text("ascii")
    assert text.endswith("\n") and set(text) <= set("0123456789,-\n")
    (commas,) = {line.count(",") for line in text[:-1].split("\n")}
    rows = np.fromstring(text.replace("\n", ","), np.int64, sep=",").reshape(-1, commas + 1)
    is_used = rows[:, 1:] != -1
    assert (is_used[:, :-1] >= is_used[:, 1:]).all()  # -1 is behind all elements
    return rows[:, 0], rows[:, 1:]


def read_layer(out, told, layer, units):
    """Return for each file (cycle of the run, unit or -1, byte) of each element, sorted."""
    found = {}
    for name, file in layer["files"].items():
        operand, kind, _ = name.split("_")
        cycles, rows = read_rows(out / layer["folder"] / name)
        assert rows.shape[1] == file["columns"]
        row, column = np.nonzero(rows != -1)
        assert len(row) == file["elements"]
        low, high = layer["cycles"]
        is_every = kind == "SRAM"
        assert cycles.tolist() == (list(range(low, high)) if is_every else sorted({*cycles}))
        place, unit = rows[row, column] - OFFSETS[operand], np.full(len(row), -1)
        assert ((place >= 0) & (place < 10_000_000)).all()
        if is_every:
            (one,) = (o for o in told["operands"] if o["memory"] == file["memory"])
            which, place = np.divmod(place, one["elements_of_each_unit"] or 10**9)
            numbers = np.array([units.index(name) for name in one["units"]], int)
            unit = numbers[which] if len(which) else which
        byte = place * file["element_bytes"] + file.get("first_byte", 0)
        found[f"{operand}_{kind}"] = by_cycle(
            cycles[row] + layer["cycle_0_is_cycle_of_run"], unit, byte
        )
    return found


def by_cycle(cycle, unit, byte):
    """Return rows as a sorted list."""
    return sorted(zip(cycle.tolist(), unit.tolist(), byte.tolist(), strict=True))


def wanted(trace, layer, mode, frame, selection):
    """Return what `read_layer` should, from the accesses; weights in DRAM are told by the page."""
    blocks = list(trace.accesses(**(selection | {"layer": layer, "frame": frame})))
    rows = np.concatenate(blocks) if blocks else np.zeros(0, ACCESS)
    memory, op = np.array(trace.memories)[rows["memory"]], np.array(trace.ops)[rows["op"]]
    address, length = rows["address"].astype(int), rows["size"].astype(int)
    found = {}

    def put(name, chosen, size, has_unit):
        first, end = address[chosen] // size, -(-(address + length)[chosen] // size)
        count = end - first
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        unit = np.repeat(rows["unit"][chosen].astype(int), count)
        cycle = np.repeat(rows["cycle"][chosen].astype(int), count)
        byte = (np.repeat(first, count) + place) * size
        found[name] = by_cycle(cycle, unit if has_unit else np.full(len(unit), -1), byte)

    for (of, name), (where, way, size) in PAGE.items():
        if of == mode:
            put(name, (memory == where) & (op == way), size, True)
    is_filter = is_weight(trace, mode, address, length)
    for name, way in DRAM.items():
        is_mine = is_filter == (name == "FILTER_DRAM") if way == "read" else True
        put(name, (memory == "dram") & (op == way) & is_mine, 1, False)
    return found


def is_weight(trace, mode, address, size):
    """Tell weights in DRAM: in mode mnf by their size, in mode flexnn they lie behind tensors."""
    layers = trace.table("layers")
    if mode == "mnf":
        assert trace.attribute("multipliers") != 8  # bytes of an event
        return size == trace.attribute("multipliers")
    sizes = layers["filters"] * layers["ofmap_height"] * layers["ofmap_width"]
    return address >= (layers["output_address"] + 8 * sizes.astype(np.uint64)).max()


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("name", TRACES)
def test_files_hold_the_elements_of_the_selected_accesses(paths, tmp_path, name, selection):
    if name == "streamed" and "layer" in selection:
        selection = selection | {"layer": ["conv2"]}
    told = exported(paths[name], tmp_path / "out", **selection)
    total = Counter()
    with firemesh.open_trace(paths[name]) as trace:
        modes = [mode.decode() for mode in trace.table("layers")["mode"]]
        layers = {(one["layer"], one["frame"]): one for one in told["layers"]}
        frames = [selection["frame"]] if "frame" in selection else range(trace.attribute("frames"))
        for frame in frames:
            for number, layer in enumerate(trace.layers):
                if "layer" in selection and layer not in selection["layer"]:
                    assert (layer, frame) not in layers
                    continue
                right = wanted(trace, layer, modes[number], frame, selection)
                if modes[number] not in ("mnf", "flexnn") or not any(right.values()):
                    assert (layer, frame) not in layers or not any(right.values())
                    continue
                found = read_layer(tmp_path / "out", told, layers[layer, frame], trace.units)
                assert found == right
                total += Counter({name: len(places) for name, places in right.items()})
    reads = sum(n for name, n in total.items() if not name.startswith("OFMAP"))
    assert told["written"]["records"] == sum(total.values()) > 0
    assert told["written"]["reads"] == reads
    assert told["written"]["writes"] == sum(total.values()) - reads


def test_what_is_selected_is_told_as_counted(paths, tmp_path):
    told = exported(paths["mnf"], tmp_path / "out")
    with firemesh.open_trace(paths["mnf"]) as trace:
        counted = trace.counters(by=("memory", "op"))
        kept = {(memory, op) for memory, op, _ in PAGE.values()}
        mine = [row for row in counted.tolist() if tuple(row[:2]) in kept]
    assert told["selected"]["accesses"] == sum(row[2] for row in mine)
    assert told["selected"]["bytes"] == told["written"]["bytes"] == sum(row[3] for row in mine)
    assert told["selected"]["reads"] == sum(row[2] for row in mine if row[1] == "read")


def test_the_dram_files_of_a_layer_have_one_number_of_columns(paths, tmp_path):
    for name in TRACES:
        told = exported(paths[name], tmp_path / name)
        for layer in told["layers"]:
            files = [tmp_path / name / layer["folder"] / f"{one}_TRACE.csv" for one in DRAM]
            assert len({read_rows(file)[1].shape[1] for file in files}) == 1


def test_folders_are_numbered_as_the_lines_of_the_topology(paths, tmp_path):
    told = exported(paths["flexnn"], tmp_path / "out")
    lines = (tmp_path / "out" / "topology.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [one["layer"] for one in told["layers"]]
    assert [one["folder"] for one in told["layers"]] == [f"layer{i}" for i in range(len(lines) - 1)]
    told = exported(paths["mnf"], tmp_path / "two", layer=["conv2", "fc2"])
    assert [one["folder"] for one in told["layers"]] == [
        "frame0/layer0", "frame0/layer1", "frame1/layer0", "frame1/layer1"]  # fmt: skip


def test_the_topology_makes_ofmaps_as_large_as_the_layers(paths, tmp_path):
    exported(paths["mnf"], tmp_path / "out")
    header, *lines = (tmp_path / "out" / "topology.csv").read_text().splitlines()
    assert header.count(",") == 8 and all(line.endswith(",") for line in lines)
    with firemesh.open_trace(paths["mnf"]) as trace:
        layers = trace.table("layers")
    for line, layer in zip(lines, layers, strict=True):
        name, *numbers = line.rstrip(",").split(", ")
        height, width, high, wide, channels, filters, stride = map(int, numbers)
        assert name == layer["name"].decode()
        assert (height - high) // stride + 1 == layer["ofmap_height"]
        assert (width - wide) // stride + 1 == layer["ofmap_width"]
        assert (channels, filters) == (layer["channels"], layer["filters"])


def test_a_layer_with_groups_is_one_of_them_and_the_side_file_says_so(paths, tmp_path):
    told = exported(paths["streamed"], tmp_path / "out", layer="conv2")
    assert told["topology"] == ["conv2: one of 2 groups"]
    line = (tmp_path / "out" / "topology.csv").read_text().splitlines()[1]
    assert line.split(", ")[5:7] == ["5", "6"]


@pytest.mark.parametrize("name", ("mnf", "flexnn"))
def test_scale_sim_reads_configuration_and_topology(paths, tmp_path, name):
    need(modules=("scalesim",))
    from scalesim import scale_config, topology_utils

    told = exported(paths[name], tmp_path / "out")
    config = scale_config.scale_config()
    config.read_conf_file(str(tmp_path / "out" / "scale.cfg"))
    assert config.valid_conf_flag and list(config.get_offsets()) == list(OFFSETS.values())
    topology = topology_utils.topologies()
    topology.load_arrays(str(tmp_path / "out" / "topology.csv"))
    with firemesh.open_trace(paths[name]) as trace:
        layers = {layer["name"].decode(): layer for layer in trace.table("layers")}
    names = list(dict.fromkeys(one["layer"] for one in told["layers"]))
    assert topology.get_num_layers() == len(names)
    for number, layer in enumerate(names):
        record = layers[layer]
        ofmap = [record["ofmap_height"], record["ofmap_width"]]
        assert topology.get_layer_ofmap_dims(number) == ofmap
        macs = np.prod([int(n) for n in ofmap]) * record["filters"] * record["channels"]
        assert topology.get_layer_mac_ops(number) == macs * record["kernel_y"] * record["kernel_x"]


def test_the_same_trace_gives_the_same_files_and_the_command_the_same_as_the_function(
    capsys, paths, tmp_path
):
    exported(paths["mnf"], tmp_path / "a", layer="fc2")
    code, out, err = ended(
        capsys, paths["mnf"], "--to", "scalesim", "--out", tmp_path / "b", "--layer", "fc2"
    )
    assert (code, err) == (0, "") and out.startswith("scalesim: 2 layers, ")
    files = [
        {file.relative_to(tmp_path / name): file.read_bytes()
         for file in (tmp_path / name).rglob("*") if file.is_file()}
        for name in "ab"
    ]  # fmt: skip
    assert {str(p)[2:]: data for p, data in files[0].items()} == {
        str(p)[2:]: data for p, data in files[1].items()
    }
    assert len(files[0]) == 14


@pytest.mark.parametrize("text_bytes", (1, 300, 5000))
def test_files_do_not_depend_on_how_much_is_written_at_once(
    paths, tmp_path, monkeypatch, text_bytes
):
    exported(paths["mnf"], tmp_path / "a", layer="conv1", frame=0)
    monkeypatch.setattr(scalesim_rows, "TEXT_BYTES", text_bytes)
    exported(paths["mnf"], tmp_path / "b", layer="conv1", frame=0)
    for file in (tmp_path / "a" / "layer0").iterdir():
        assert (tmp_path / "b" / "layer0" / file.name).read_bytes() == file.read_bytes()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**8), st.integers(1, 4)), max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_elements_of_a_cycle_stay_together_however_they_come(rows, cuts):
    rows.sort(key=lambda row: row[0])
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [
        Elements(*np.array(rows[low:high], np.int64).T)
        for low, high in zip(edges, edges[1:], strict=False)
    ]
    found = list(scalesim_rows.whole_cycles(iter(parts)))
    seen = [set(part.cycle.tolist()) for part in found]
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert [row for part in found for row in zip(*map(list, part), strict=True)] == rows


# ---- mistakes


def test_an_operand_of_too_many_elements_is_refused_before_anything_is_written(
    paths, tmp_path, monkeypatch
):
    from firemesh.traces.exporters import scalesim_operands

    monkeypatch.setattr(scalesim_operands, "MOST_ELEMENTS", 1_000_000)
    with pytest.raises(TraceError) as error:
        exported(paths["mnf"], tmp_path / "out")
    assert str(error.value) == (
        f"{paths['mnf']}: operand filter has 7,603,200 elements in weight of 11 units, more than "
        "the 1,000,000 that SCALE-Sim's offsets leave room for; choose less with --unit"
    )
    assert not list(tmp_path.iterdir())
    assert exported(paths["mnf"], tmp_path / "one", unit="pe1")["written"]["records"] > 0


def test_a_selection_without_operands_is_refused(capsys, paths, tmp_path):
    code, out, err = ended(
        capsys, paths["mnf"], "--to", "scalesim", "--out", tmp_path / "o", "--memory", "pointer"
    )
    assert (code, out) == (2, "")
    assert err == (
        f"firemesh: {paths['mnf']}: the selection has no accesses that are operands, storage "
        "reads, weight reads, psum writes, rf_if reads, rf_fl reads, rf_of writes or of dram, in "
        "layers that run on the PEs; see firemesh trace stats\n"
    )
    assert not list(tmp_path.iterdir())


def test_cycles_without_operands_are_refused(paths, tmp_path):
    with pytest.raises(
        TraceError, match="mnf.h5: holds no accesses that are operands in the selected"
    ):
        exported(paths["mnf"], tmp_path / "out", cycles=(290, 291), memory="weight")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, told", (
    ("a,b", "a_b"), ("x\ny", "x_y"), (" c 1\t", "c_1"), ("DP1", "D_P1"), ("\n", "_"),
))  # fmt: skip
def test_a_name_of_the_topology_is_one_field_of_one_line(name, told):
    with firemesh.open_trace(firemesh.sample_trace()) as trace:
        rows = trace.table("layers")[:1].copy()
    rows["name"] = name.encode()
    text, _ = topology(SimpleNamespace(table=lambda _: rows), [0])
    assert text.splitlines()[1:] == [f"{told}, 10, 10, 3, 3, 1, 16, 1,"]


@pytest.mark.parametrize("options, flag", (
    (Options(clock_hz=10**9), "--clock"), (Options(relative=True), "--relative"),
    (Options(merge=True), "--merge"),
))  # fmt: skip
def test_options_that_it_does_not_heed_are_refused(paths, tmp_path, options, flag):
    with firemesh.open_trace(paths["mnf"]) as trace:
        with pytest.raises(TraceError, match=f"^{flag}: is of .*; leave it out for scalesim$"):
            export(trace, "scalesim", tmp_path / "out", options)


# ---- speed


@pytest.mark.benchmark(group="exporters", timer=time.process_time)
def test_rows_are_written_fast(benchmark, tmp_path):
    n = 100_000
    part = Elements(np.arange(n) // 2, np.full(n, 12_345_678), np.full(n, 4))

    def write():
        with open(tmp_path / "rows.csv", "wb") as file:
            scalesim_rows.write_rows(file, [part], 0, n // 2, 16, True)

    benchmark(write)
    benchmark.extra_info["million accesses/s"] = n / benchmark.stats["min"] / 1e6
