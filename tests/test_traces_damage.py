"""Damaged traces: right numbers, or one sentence; never a traceback, a crash or a wrong count."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import h5py
import numpy as np
import pytest

from firemesh.emulator.cli import main
from firemesh.traces.errors import TraceError
from firemesh.traces.opened import open_trace
from firemesh.traces.schema import ATTRIBUTES, SCHEMA_VERSION, TABLES, TEXT
from firemesh.traces.verify import verify

HELD = list(TABLES)
EMPTY = {
    "columns/of", "columns/span", "columns/window_a", "columns/windows_a", "columns/window_b",
    "columns/windows_b", "masks/sets", "masks/words", "masks/address", "masks/section",
}  # fmt: skip
FULL = [name for name in TABLES if name not in EMPTY]
"""Tables that have rows in the trace of these tests; others: `test_traces_damage_masks`."""
COMMANDS = ("info", "verify", "stats")
SECONDS = 20
MOST_BYTES = 4 << 30
MOST_RESIDENT = 1 << 20
"""KiB of a process that reads a small trace, damaged or not."""
BYTE_SEEDS, FIELD_SEEDS = range(1200), range(10_000, 10_800)
EDITED = {"refused", "problems", "same"}
"""What may come of an edited value."""

TOTALS = {
    "counters": (("memory", "op"), "memories"),
    "slots": (("cause",), "causes"),
    "flits": (("link",), "links"),
    "vc_stalls": (("wait",), "waits"),
}

# ---- what a trace says


def counts_of(trace):
    """Return everything that a trace counts, by name; all of it is read."""
    found = {}
    for name, (by, names) in TOTALS.items():
        numbers = [{}, {}]
        for number, lists in zip(numbers, (trace.layers, getattr(trace, names)), strict=True):
            number |= {one: i for i, one in reversed(list(enumerate(lists)))}
        rows = getattr(trace, name)(by=("layer", *by)).tolist()
        found[name] = [[numbers[0][row[0]], numbers[1][row[1]], *row[2:]] for row in rows]
    for order in ("cycle", "storage"):
        total = np.zeros(256 * 256, np.int64)
        for block in trace.accesses(memory=range(len(trace.memories)), order=order):
            np.add.at(total, block["memory"].astype(np.int64) << 8 | block["op"], 1)
        found[order] = {int(place): int(total[place]) for place in np.flatnonzero(total)}
    found["packets"] = sum(len(packets) for packets in trace.packets())
    found["deliveries"] = sum(len(arrived) for arrived in trace.deliveries())
    found["cycles"] = trace.cycles
    if trace.attribute("values"):
        pairs = [(layer, unit) for layer in (0, len(trace.layers) - 1) for unit in (0, 1)]
        found["psums"] = sum(len(part) for pair in pairs for part, _ in trace.psums(*pair))
    return found


def ended(*arguments):
    """Run the command line in this process; return exit code, stdout and stderr."""
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


def through_the_api(path):
    """Return a trace's counts or None, its problems, and the sentences with which it is refused."""
    refusals, problems, counts = [], [], None
    try:
        with open_trace(path) as trace:
            for read in (counts_of, verify):
                try:
                    result = read(trace)
                except TraceError as error:
                    refusals.append(str(error))
                    continue
                if read is verify:
                    problems = result.problems
                else:
                    counts = result
    except TraceError as error:
        refusals.append(str(error))
    return counts, problems, refusals


def check_sentences(path, commands=COMMANDS):
    """Assert that commands end with one sentence, verify also with problems; return them."""
    told = []
    for command in commands:
        code, out, err = ended("trace", command, str(path))
        assert "Traceback" not in out + err
        lines = err.splitlines()
        if code == 2:
            assert len(lines) == 1 and lines[0].startswith("firemesh: "), err
            assert Path(path).name in lines[0], f"names no file: {err}"
        elif code == 1:
            assert command == "verify" and lines, err
            assert all(line.startswith("problem: ") for line in lines), err
        else:
            assert (code, err) == (0, ""), (code, err)
        told += lines
    return told


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Path of a sound trace, made once."""
    path = tmp_path_factory.mktemp("good") / "good.h5"
    code, _, err = ended(
        "run", "digits", "--frames", "1", "--machine", "mnf-tiny", "--router", "P3", "--values",
        "--trace", str(path),
    )  # fmt: skip
    assert code == 0, err
    return path


@pytest.fixture(scope="module")
def wanted(good):
    """What the sound trace counts."""
    counts, problems, refusals = through_the_api(good)
    assert (problems, refusals) == ([], [])
    return counts


@pytest.fixture
def copied(good, tmp_path):
    """A copy of the sound trace, to be damaged."""
    return Path(shutil.copy(good, tmp_path / "run.h5"))


def refuse(path):
    """Assert that a file is refused, by the API and each command, with one sentence."""
    with pytest.raises(TraceError) as error:
        with open_trace(path) as trace:
            counts_of(trace)
    assert Path(path).name in str(error.value) and "\n" not in str(error.value)
    for command in COMMANDS:
        code, out, err = ended("trace", command, str(path))
        assert (code, out) == (2, ""), (command, out, err)
        assert err.count("\n") == 1 and Path(path).name in err
    return str(error.value)


def notice(path, wanted):
    """Assert that a file's damage is told by open_trace, by a reader or by verify."""
    counts, problems, refusals = through_the_api(path)
    for sentence in refusals:
        assert Path(path).name in sentence and "\n" not in sentence
    told = check_sentences(path)
    assert problems or refusals, "no problem is found"
    assert told
    return problems + refusals


# ---- the table of damage


def test_a_trace_has_every_table(good):
    with h5py.File(good) as file:
        assert {name for name in TABLES if name not in file} == set()


@pytest.mark.parametrize("name", FULL)
def test_a_table_that_lost_its_last_row_is_noticed(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        file[name].resize(len(file[name]) - 1, axis=0)
    notice(copied, wanted)


@pytest.mark.parametrize("name", HELD)
def test_a_table_with_a_row_of_zeros_too_many_is_noticed(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        file[name].resize(len(file[name]) + 1, axis=0)
    notice(copied, wanted)


@pytest.mark.parametrize("name", HELD)
def test_a_table_that_is_missing_is_noticed(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        del file[name]
    notice(copied, wanted)


@pytest.mark.parametrize("name", HELD)
def test_a_group_in_place_of_a_table_is_refused(copied, name):
    with h5py.File(copied, "r+") as file:
        del file[name]
        file.create_group(name)
    assert name in refuse(copied)


@pytest.mark.parametrize("dtype", ("<f8", "S3", [("other", "<u4")], h5py.string_dtype(), "enum"))
@pytest.mark.parametrize("name", HELD)
def test_a_table_of_another_dtype_is_refused(copied, name, dtype):
    if dtype == "enum":
        dtype = h5py.enum_dtype({"no": 0, "yes": 1}, basetype="<i2")
    with h5py.File(copied, "r+") as file:
        del file[name]
        file.create_dataset(name, (4,), dtype=dtype)
    assert name in refuse(copied)


@pytest.mark.parametrize("shape", ((), (2, 2), None))
@pytest.mark.parametrize("name", HELD)
def test_a_table_of_another_shape_is_refused(copied, name, shape):
    with h5py.File(copied, "r+") as file:
        dtype = file[name].dtype
        del file[name]
        value = h5py.Empty(dtype) if shape is None else np.zeros(shape, dtype)
        file.create_dataset(name, data=value)
    assert name in refuse(copied)


@pytest.mark.parametrize("name", HELD)
def test_a_link_that_leads_nowhere_in_place_of_a_table_is_noticed(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        del file[name]
        file[name] = h5py.SoftLink("/nowhere")
    notice(copied, wanted)


@pytest.mark.parametrize("name", ("columns", "patterns", "runs", "weights", "masks"))
def test_a_table_in_place_of_a_group_is_noticed(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        del file[name]
        file[name] = np.zeros(3)
    notice(copied, wanted)


@pytest.mark.parametrize("where", (0.0, 0.3, 0.99))
@pytest.mark.parametrize("name", FULL)
def test_a_flipped_byte_in_a_stored_chunk_is_noticed(copied, wanted, name, where):
    with h5py.File(copied) as file:
        dataset = file[name]
        chunks = dataset.id.get_num_chunks()
        chunk = dataset.id.get_chunk_info(int(where * chunks))
    data = bytearray(copied.read_bytes())
    data[chunk.byte_offset + int(where * chunk.size)] ^= 0x40
    copied.write_bytes(data)
    assert any(name in told for told in notice(copied, wanted))


@pytest.mark.parametrize("name", FULL)
def test_a_table_without_its_chunks_is_noticed_and_takes_no_memory(copied, wanted, name):
    with h5py.File(copied, "r+") as file:
        dtype, n = file[name].dtype, len(file[name])
        del file[name]
        file.create_dataset(name, (n,), dtype, maxshape=(None,), chunks=(1024,))
    notice(copied, wanted)


@pytest.mark.parametrize("rows", (10**8, 2**40, 2**62))
@pytest.mark.parametrize("name", HELD)
def test_a_table_that_claims_billions_of_rows_is_refused_without_reading_them(copied, name, rows):
    with h5py.File(copied, "r+") as file:
        file[name].resize(rows, axis=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    refuse(copied)
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_missing_attribute_is_refused(copied, name):
    with h5py.File(copied, "r+") as file:
        del file.attrs[name]
    assert name in refuse(copied)


OTHERS = {
    "array": np.arange(3),
    "strings": ["a", "b"],
    "bytes": np.bytes_(b"\xff\xfe"),
    "null": h5py.Empty("<f8"),
    "pair": np.zeros((), [("a", "<i4"), ("b", "<f4")]),
    "complex": 1j,
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_of_another_type_is_refused(copied, name, other):
    with h5py.File(copied, "r+") as file:
        file.attrs[name] = OTHERS[other]
    assert name in refuse(copied)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_number_for_text_and_text_for_a_number_is_refused(copied, name):
    with h5py.File(copied, "r+") as file:
        file.attrs[name] = 0.5 if ATTRIBUTES[name] is not float else "much"
    assert name in refuse(copied)


@pytest.mark.parametrize("name", [name for name, kind in ATTRIBUTES.items() if kind is float])
@pytest.mark.parametrize("value", (np.nan, np.inf, -1.0))
def test_a_price_that_is_no_price_is_noticed(copied, wanted, name, value):
    with h5py.File(copied, "r+") as file:
        file.attrs[name] = value
    notice(copied, wanted)


@pytest.mark.parametrize("name", ("clock_hz", "multipliers", "flit_bits", "frames"))
@pytest.mark.parametrize("value", (-1, 0, 2**62, np.uint64(2**64 - 1)))
def test_a_number_that_no_machine_has_is_noticed(copied, wanted, name, value):
    with h5py.File(copied, "r+") as file:
        file.attrs[name] = value
    notice(copied, wanted)


@pytest.mark.parametrize("version", (SCHEMA_VERSION + 1, 2**62))
def test_a_future_schema_version_is_refused_with_the_way_out(copied, version):
    with h5py.File(copied, "r+") as file:
        file.attrs["schema_version"] = version
    told = refuse(copied)
    assert str(version) in told and "newer" in told


@pytest.mark.parametrize("version", (0, -1))
def test_a_schema_version_that_never_was_is_refused(copied, version):
    with h5py.File(copied, "r+") as file:
        file.attrs["schema_version"] = version
    assert "schema version" in refuse(copied)


def test_another_hdf5_file_is_no_trace(tmp_path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = np.arange(3)
    assert "no firemesh trace" in refuse(tmp_path / "run.h5")


@pytest.mark.parametrize("text", (b"", b"hello\n", b"\x89HDF\r\n\x1a\n", b"\x89HDF" * 5000))
def test_a_file_that_is_not_hdf5_is_refused(tmp_path, text):
    (tmp_path / "run.h5").write_bytes(text)
    told = refuse(tmp_path / "run.h5")
    assert "empty" in told if not text else "cannot be opened" in told


@pytest.mark.parametrize("part", (1, 7, 8, 47, 48, 100, 0.01, 0.1, 0.5, 0.9, 0.999, -1))
def test_a_file_that_is_cut_off_is_refused(copied, part):
    data = copied.read_bytes()
    n = part if isinstance(part, int) else int(part * len(data))
    copied.write_bytes(data[:n])
    refuse(copied)


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "run.h5").mkdir()
    refuse(tmp_path / "run.h5")


def test_a_missing_path_is_refused(tmp_path):
    assert "no such file" in refuse(tmp_path / "run.h5")
    assert "no such file" in refuse(tmp_path / "none" / "run.h5")


@pytest.mark.parametrize("text", (b"\xff\xfe", b"[/b]", b"a\nb", b""))
@pytest.mark.parametrize("name, field", [(t, f) for t in HELD for f, k in TABLES[t] if k == TEXT])
def test_a_text_that_is_odd_breaks_no_reader(copied, name, field, text):
    change(copied, name, 1, field, text)
    through_the_api(copied)
    check_sentences(copied)


# ---- planted errors


def change(path, name, row, field, value):
    """Rewrite a value of a table in place; ``value`` may be a function of the old one."""
    with h5py.File(path, "r+") as file:
        rows = file[name][...]
        column = rows[field] if field else rows
        column[row] = value(column[row]) if callable(value) else value
        file[name][...] = rows


def table(path, name):
    with h5py.File(path) as file:
        return file[name][...]


def memory(path, name):
    """Return a memory's number."""
    return table(path, "memories")["name"].tolist().index(name.encode())


def items_of(path, name):
    """Return the pattern items of a memory's accesses."""
    return np.flatnonzero(table(path, "patterns/items")["memory"] == memory(path, name))


def lists_of(path, stream):
    """Return the lists of a stream that have rows."""
    lists, names = table(path, "lists"), table(path, "streams")["name"].tolist()
    return np.flatnonzero((lists["stream"] == names.index(stream.encode())) & (lists["rows"] > 0))


def members_of(path, number):
    lists = table(path, "lists")
    first = int(lists["members"][:number].sum())
    return np.arange(first, first + int(lists["members"][number]))


def slack_of(path, number):
    """Return the rows of ``columns/slack`` of a list's first members."""
    lists, members = table(path, "lists"), table(path, "members")
    owner = np.repeat(np.arange(len(lists)), lists["members"])
    kept = np.zeros(len(lists), int)
    np.maximum.at(kept, owner, members["slack"] + 1)
    assert kept[number]
    return int((lists["rows"] * kept)[:number].sum()) + np.arange(lists["rows"][number])


def more(by):
    return lambda value: (value.astype(np.int64) + by).astype(value.dtype)


def plant_count(path):
    change(path, "counters", 3, "count", more(1))


def plant_bytes(path):
    change(path, "counters", 3, "bytes", more(1))


def plant_unit(path):
    units = table(path, "counters")["unit"]
    change(path, "counters", int(np.flatnonzero(units == 1)[0]), "unit", 2)


def plant_op(path):
    change(path, "counters", 0, "op", lambda op: 1 - op)


def plant_segment(path):
    change(path, "counters", 0, "segment", 1)


def plant_port(path):
    change(path, "memories", memory(path, "weight"), "read_ports", 0)


def plant_two_at_once(path):
    """The psum words of an entry are all of one bank."""
    which = items_of(path, "psum")
    for field in ("address", "address_step"):
        change(path, "patterns/items", which, field, 0)


def plant_outside(path):
    change(path, "columns/base", 0, "", more(1 << 40))


def plant_below(path):
    change(path, "columns/base", 0, "", -(1 << 40))


def plant_small_memory(path):
    change(path, "memories", memory(path, "weight"), "bytes", 16)


def plant_cycle(path):
    change(path, "patterns/items", items_of(path, "weight"), "cycle", 1 << 20)


def plant_cycle_before(path):
    change(path, "patterns/items", items_of(path, "storage"), "cycle", -(1 << 20))


def plant_short_segment(path):
    change(path, "segments", -1, "cycle1", more(-30))


def plant_slots(path):
    change(path, "slots", 5, "count", more(1))


def plant_slots_unit(path):
    slots = table(path, "slots")
    row = int(np.flatnonzero(slots["unit"] == 2)[0])
    change(path, "slots", row, "unit", 1)


def plant_slots_of_storage(path):
    change(path, "slots", 0, "unit", 0)


def plant_segment_ends(path):
    change(path, "segments", 1, "cycle1", 0)


def plant_overlap(path):
    change(path, "segments", 1, "cycle0", more(-1))


def plant_gap(path):
    change(path, "segments", 1, "cycle0", more(1))


def plant_segment_order(path):
    change(path, "segments", 1, "layer", 0)


def plant_frame(path):
    change(path, "segments", -1, "frame", 7)


def plant_frames(path):
    with h5py.File(path, "r+") as file:
        file.attrs["frames"] = 2


def plant_rows(path):
    """A list that follows its leader gets a step back in its last row."""
    number = int(lists_of(path, "eject")[0])
    change(path, "columns/slack", slack_of(path, number)[-1], "", more(-50))


def plant_slack(path):
    change(path, "columns/slack", slack_of(path, int(lists_of(path, "fire")[0]))[2], "", -1)


def plant_stalls(path):
    stalls = table(path, "stalls")
    stalls[[0, 1]] = stalls[[1, 0]]
    with h5py.File(path, "r+") as file:
        file["stalls"][...] = stalls


def plant_stall_row(path):
    change(path, "stalls", 0, "row", 2**31)


def plant_stall_entry(path):
    """A stall before an entry that its row does not have: it is never over."""
    stalls = table(path, "stalls")
    last = int(np.flatnonzero(stalls["row"] == stalls["row"][0])[-1])
    last = min(last, int(np.flatnonzero(np.diff(stalls["row"].astype(int)) != 0)[0]))
    change(path, "stalls", last, "entry", 60_000)


def plant_wrong_unit(path):
    change(path, "memories", memory(path, "event_fifo"), "unit_kind", b"storage")


def plant_lost_packets(path):
    """All packets of a PE arrive under the number of the first."""
    change(path, "lists", int(lists_of(path, "collect")[0]), "step", 0)


def plant_unsent_packet(path):
    number = int(lists_of(path, "eject")[0])
    change(path, "members", members_of(path, number), "base_offset", 1 << 20)


def plant_early_packet(path):
    """The first packet arrives in the cycle in which it is sent."""
    number = int(lists_of(path, "eject")[0])
    ahead = table(path, "members")["ahead"][members_of(path, number)[0]]
    change(path, "columns/slack", slack_of(path, number)[0], "", -int(ahead))


def plant_flits(path):
    change(path, "patterns/items", items_of(path, "noc_inject")[0], "size", more(1))


def plant_flits_everywhere(path):
    """All packets are sent with a flit more, and it is counted so."""
    change(path, "patterns/items", items_of(path, "noc_inject"), "size", more(1))
    counters = table(path, "counters")
    for row in np.flatnonzero(counters["memory"] == memory(path, "noc_inject")):
        change(path, "counters", int(row), "bytes", more(counters["count"][row]))


def plant_pattern_size(path):
    change(path, "patterns/items", items_of(path, "bias")[0], "size", more(4))


def plant_kind(path):
    change(path, "columns/kind", 3, "", 9)


def plant_kind_below(path):
    change(path, "columns/kind", 3, "", -1)


def plant_name(path):
    change(path, "units", 2, "name", b"pe1")


PLANTED = {
    plant_count: "accesses in the lists",
    plant_bytes: "bytes in the lists",
    plant_unit: "counted",
    plant_op: "counted",
    plant_segment: "counted",
    plant_port: "port",
    plant_two_at_once: "port",
    plant_outside: "outside the memory",
    plant_below: "outside the memory",
    plant_small_memory: "outside the memory",
    plant_cycle: "outside the segment's cycles",
    plant_cycle_before: "outside the segment's cycles",
    plant_short_segment: "segment",
    plant_slots: "slots of unit",
    plant_slots_unit: "slots of unit",
    plant_slots_of_storage: "slots of unit storage",
    plant_segment_ends: "ends before it begins",
    plant_overlap: "overlap",
    plant_gap: "segment",
    plant_segment_order: "not in order",
    plant_frame: "frame",
    plant_frames: "frame",
    plant_rows: "begin before the row before",
    plant_slack: "slack below 0",
    plant_stalls: "stalls that are not in order",
    plant_stall_row: "stalls row",
    plant_stall_entry: "stall",
    plant_wrong_unit: "this kind of unit does not have",
    plant_lost_packets: "never arrive",
    plant_unsent_packet: "arrives that was not sent",
    plant_early_packet: "before it was sent",
    plant_flits: "flits",
    plant_flits_everywhere: "another number of flits",
    plant_pattern_size: "bytes in the lists",
    plant_kind: "kind",
    plant_kind_below: "kind",
    plant_name: "same name",
}


def problems_of(path):
    """Return verify's problems; the commands tell them too."""
    with open_trace(path) as trace:
        problems = verify(trace).problems
    told = check_sentences(path, ["verify"])
    assert [line for line in told if line.startswith("problem: ")] == [
        f"problem: {problem}" for problem in problems
    ]
    check_sentences(path, ["info", "stats"])
    return problems


def apart(path):
    """Return `problems_of` a trace, found in a process of its own, so that a crash is a failure."""
    if not hasattr(os, "fork"):
        return problems_of(path)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(SECONDS)
            try:
                text = json.dumps(problems_of(path))
            except BaseException:
                text = json.dumps(traceback.format_exc())
            os.write(write, text.encode()[: 1 << 15])
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status), signal.Signals(os.WTERMSIG(status)).name
    problems = json.loads(text)
    assert isinstance(problems, list), problems
    return problems


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_verify_names_a_planted_error(copied, plant):
    plant(copied)
    problems = apart(copied)
    assert any(PLANTED[plant] in problem for problem in problems), problems


@pytest.mark.parametrize(
    "name", ("units", "memories", "links", "causes", "kinds", "streams", "layers")
)
def test_verify_names_a_table_whose_ids_are_not_in_order(copied, name):
    change(copied, name, 1, "id", 0)
    with open_trace(copied) as trace:
        assert f"{name}: ids are not 0, 1, 2, ..." in verify(trace).problems
    check_sentences(copied)


UNKNOWN = (
    ("counters", "segment"), ("counters", "unit"), ("counters", "memory"), ("counters", "op"),
    ("slots", "segment"), ("slots", "unit"), ("slots", "cause"), ("flits", "segment"),
    ("flits", "link"), ("links", "source"), ("links", "target"), ("segments", "layer"),
    ("lists", "segment"), ("lists", "stream"), ("lists", "leader"), ("lists", "pattern_offset"),
    ("members", "unit"), ("members", "run_offset"), ("filter_groups", "layer"),
    ("filter_groups", "unit"), ("patterns/items", "memory"), ("patterns/items", "op"),
    ("weights/rows", "layer"), ("weights/rows", "unit"), ("weights/rows", "first"),
    ("waves", "layer"), ("segments", "wave"),
    ("patterns/first", ""), ("runs/first", ""), ("runs/kind", ""), ("columns/pattern", ""),
    ("columns/run", ""), ("columns/kind", ""),
)  # fmt: skip


@pytest.mark.parametrize("name, field", UNKNOWN)
def test_a_number_of_something_that_does_not_exist_is_noticed(copied, wanted, name, field):
    kind = np.iinfo(dict(TABLES[name])[field])
    row = members_of(copied, int(lists_of(copied, "psum")[0]))[0] if name == "members" else -1
    for value in {int(kind.max), int(kind.min), int(kind.max) // 2 + 1} - {0}:
        change(copied, name, row, field, value)
        notice(copied, wanted)


# What nothing but the table itself told of before: a table against the others.


def plant_link_flits(path):
    change(path, "flits", 4, "count", more(1))


def plant_link_of_flits(path):
    change(path, "flits", 0, "link", lambda link: (link + 1) % len(table(path, "links")))


def plant_link_twice(path):
    links = table(path, "links")
    change(path, "links", 1, "target", links["target"][0])
    change(path, "links", 1, "source", links["source"][0])


def plant_link_between_strangers(path):
    change(path, "links", 0, "target", 3)


def plant_group_size(path):
    change(path, "filter_groups", 0, "size", more(1000))


def plant_group_overlap(path):
    change(path, "filter_groups", 1, "first", 0)


def plant_weights_first(path):
    change(path, "weights/rows", 0, "first", 1 << 40)


def plant_weights_order(path):
    change(path, "weights/rows", 2, "first", 0)


def plant_unit_place(path):
    units = table(path, "units")
    change(path, "units", 1, "x", units["x"][2])
    change(path, "units", 1, "y", units["y"][2])


def plant_cause_both(path):
    change(path, "causes", 0, "is_idle", 1)


def plant_negative_price(path):
    change(path, "memories", 0, "read_byte_pj", -1.0)


def plant_no_price(path):
    change(path, "memories", 0, "read_byte_pj", np.nan)


def plant_wave(path):
    change(path, "segments", 3, "wave", 9)


def plant_wave_rows(path):
    change(path, "waves", 1, "end_row", more(1))


def plant_wave_channels(path):
    change(path, "waves", 0, "end_channel", 0)


def plant_wave_outputs(path):
    change(path, "waves", 1, "end_output", 0)


def plant_wave_twice(path):
    change(path, "waves", 1, "layer", 0)


def plant_price(path):
    change(path, "memories", 0, "read_byte_pj", 2.0)


def plant_memory_name(path):
    change(path, "memories", 1, "name", b"storage")


def plant_cause_name(path):
    change(path, "causes", 1, "name", b"executed")


def plant_door_name(path):
    change(path, "memories", -1, "name", b"noc_else")


UNSEEN = {
    plant_link_flits: "flits",
    plant_link_of_flits: "flits",
    plant_link_twice: "links",
    plant_link_between_strangers: "links",
    plant_group_size: "filter_groups",
    plant_group_overlap: "filter_groups",
    plant_weights_first: "weights",
    plant_weights_order: "weights",
    plant_unit_place: "units",
    plant_cause_both: "causes",
    plant_negative_price: "memories",
    plant_no_price: "memories",
    plant_memory_name: "memories",
    plant_cause_name: "causes",
    plant_door_name: "memories",
    plant_wave: "segments",
    plant_wave_rows: "waves",
    plant_wave_channels: "waves",
    plant_wave_outputs: "waves",
    plant_wave_twice: "waves",
}


@pytest.mark.parametrize("plant", UNSEEN, ids=lambda plant: plant.__name__)
def test_verify_names_a_table_that_contradicts_another(copied, plant):
    plant(copied)
    problems = apart(copied)
    assert any(UNSEEN[plant] in problem for problem in problems), problems


def test_a_harmless_edit_changes_no_count(copied, wanted):
    plant_price(copied)
    problems = ["digest: the file is not as it was written"]
    assert through_the_api(copied) == (wanted, problems, [])


# ---- random damage


def _span(rng, n, most):
    length = int(rng.integers(1, most + 1))
    first = int(rng.integers(0, max(1, n - length)))
    return slice(first, first + length)


def damaged(data, rng):
    """Return the bytes of a file with one random damage."""
    data = bytearray(data)
    n = len(data)
    where = _span(rng, n, 64)
    match int(rng.integers(0, 7)):
        case 0:
            data[where.start] ^= 1 << int(rng.integers(0, 8))
        case 1:
            data[where] = rng.bytes(len(data[where]))
        case 2:
            data[where] = bytes(len(data[where]))
        case 3:
            del data[where]
        case 4:
            data[where.start : where.start] = rng.bytes(where.stop - where.start)
        case 5:
            del data[int(rng.integers(0, n)) :]
        case 6:
            length = int(rng.integers(1, 4096))
            a, b = sorted(int(x) for x in rng.integers(0, n - length, 2))
            if a + length <= b:
                data[a : a + length], data[b : b + length] = (
                    data[b : b + length],
                    data[a : a + length],
                )
    return bytes(data)


def _value(dtype, old, rng):
    """Return a random, an extreme or a neighbouring value."""
    if dtype.kind == "S":
        return rng.bytes(dtype.itemsize)
    if dtype.kind == "f":
        return rng.choice([0.0, -1.0, np.nan, np.inf, 1e308, float(old) * 1.5])
    info = np.iinfo(dtype)
    values = [0, info.max, info.min, info.max if info.min == 0 else -1,
              int(rng.integers(info.min, info.max, dtype=dtype, endpoint=True)),
              int(rng.integers(0, 20)), int(old) + 1, int(old) - 1, int(old) + 1, int(old) - 1,
              info.max // 2 + 1]  # fmt: skip
    value = values[int(rng.integers(0, len(values)))]
    return (value - info.min) % (info.max - info.min + 1) + info.min


def _attribute(file, rng):
    name = str(rng.choice(list(ATTRIBUTES)))
    old, kind = file.attrs[name], ATTRIBUTES[name]
    if kind is str:
        text = rng.bytes(int(rng.integers(0, 30))).decode("latin-1").replace("\0", "")
        file.attrs[name] = text
    elif kind is bool:
        file.attrs[name] = not old
    elif kind is float:
        file.attrs[name] = float(_value(np.dtype("<f8"), old, rng))
    else:
        file.attrs[name] = np.int64(_value(np.dtype("<i8"), old, rng))
    return f"attribute {name} = {file.attrs[name]!r}, was {old!r}"


def edited(path, rng):
    """Change a random value of a trace; return what was done."""
    with h5py.File(path, "r+") as file:
        held = [name for name in TABLES if len(file[name])]
        if rng.random() < 0.08:
            return _attribute(file, rng)
        name = held[int(rng.integers(0, len(held)))]
        rows = file[name][...]
        row = int(rng.integers(0, len(rows)))
        field = "" if not rows.dtype.names else str(rng.choice(rows.dtype.names))
        column = rows[field] if field else rows
        old = column[row]
        column[row] = _value(column.dtype, old, rng)
        file[name][...] = rows
        return f"{name}[{row}] {field} = {column[row]!r}, was {old!r}"


def mutate(good, path, seed):
    """Make a damaged trace; return what was done."""
    rng = np.random.default_rng(seed)
    if seed in BYTE_SEEDS:
        path.write_bytes(damaged(good.read_bytes(), rng))
        return "bytes"
    shutil.copy(good, path)
    return edited(path, rng)


def _outcome(path, wanted):
    counts, problems, refusals = through_the_api(path)
    for sentence in refusals + problems:
        if "\n" in sentence:
            return "unnamed", f"more than a line: {sentence}"
    if any(path.name not in sentence for sentence in refusals):
        return "unnamed", refusals[0]
    try:
        check_sentences(path)
    except AssertionError as error:
        return "unnamed", str(error)
    if problems:
        return "problems", problems[0]
    if counts is None:
        is_at_once = len(refusals) == 1 and "verify" not in refusals[0]
        with_verify = len(refusals) == 2 or _is_refused_at_once(path)
        return ("refused" if is_at_once and with_verify else "late"), refusals[0]
    other = [part for part in counts if counts[part] != wanted[part]]
    if not other:
        return "same", ""
    return (other[0] if other in (["slots"], ["flits"]) else "silent"), f"{other} differ"


def _is_refused_at_once(path):
    try:
        open_trace(path).close()
    except TraceError:
        return True
    return False


def _try(good, path, wanted, seed, pipe):
    """Damage and read a trace, in a process of its own."""
    signal.alarm(SECONDS)
    done = mutate(good, path, seed)
    os.write(pipe, f"{done}\n".encode())
    try:
        outcome, why = _outcome(path, wanted)
    except MemoryError as error:
        outcome, why = "memory", str(error)
    except BaseException as error:
        own = [f for f in traceback.extract_tb(error.__traceback__) if "test_" not in f.filename]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        mine = [f for f in own if "firemesh" in f.filename or "/traces/" in f.filename]
        mine = [f for f in mine if "site-packages" not in f.filename]
        near = f"{Path(mine[-1].filename).name}:{mine[-1].lineno}" if mine else place
        outcome, why = "traceback", f"{near}: {type(error).__name__}: {error}"
    os.write(pipe, json.dumps([outcome, why[:5000]]).encode())


def attempt(good, path, wanted, seed):
    """Return outcome and explanation of a mutation; a crash, a hang or a big one is its own."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(read)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES,) * 2)
            _try(good, path, wanted, seed, write)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        done, text = pipe.readline().decode().strip(), pipe.read()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        which = os.WTERMSIG(status)
        what = "hang" if which == signal.SIGALRM else "crash"
        return what, f"{done}: {signal.Signals(which).name}"
    if not text:
        return "crash", f"{done}: no answer"
    outcome, why = json.loads(text)
    if usage.ru_maxrss > MOST_RESIDENT:
        outcome, why = "memory", f"{usage.ru_maxrss} KiB; {outcome}: {why}"
    return outcome, f"{done}: {why}"


def work(good, folder, first, end, step):
    """Try mutations; print a line for each."""
    path = Path(folder) / f"run{os.getpid()}.h5"
    good = Path(good)
    wanted = through_the_api(good)[0]
    for command in COMMANDS:
        ended("trace", command, str(good))
    for seed in range(first, end, step):
        began = time.monotonic()
        outcome, why = attempt(good, path, wanted, seed)
        print(json.dumps([seed, outcome, why, time.monotonic() - began]), flush=True)


def survey(good, folder, seeds):
    """Return [seed, outcome, explanation, seconds] of mutations, tried in two processes."""
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, good, folder, str(first), str(seeds.stop),
             str(2 * seeds.step)],
            stdout=subprocess.PIPE, text=True,
        )
        for first in (seeds.start, seeds.start + seeds.step)
    ]  # fmt: skip
    lines = [line for worker in workers for line in worker.communicate()[0].splitlines()]
    assert [worker.returncode for worker in workers] == [0, 0]
    found = sorted(json.loads(line) for line in lines)
    assert [seed for seed, *_ in found] == list(seeds)
    return found


needs_fork = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")


def check_survey(found, allowed):
    print(Counter(outcome for _, outcome, *_ in found))
    bad = [f"{seed}: {outcome}: {why}" for seed, outcome, why, _ in found if outcome not in allowed]
    assert not bad, f"{len(bad)} of {len(found)}\n" + "\n".join(bad)


@needs_fork
def test_random_damage_to_bytes_is_refused_noticed_or_harmless(good, tmp_path):
    check_survey(survey(good, tmp_path, BYTE_SEEDS[::10]), {"refused", "problems", "same"})


@needs_fork
def test_random_edits_of_values_are_refused_noticed_or_harmless(good, tmp_path):
    found = survey(good, tmp_path, FIELD_SEEDS[::10])
    check_survey(found, EDITED)


@needs_fork
@pytest.mark.slow
def test_all_random_damage_is_refused_noticed_or_harmless(good, tmp_path):
    check_survey(survey(good, tmp_path, BYTE_SEEDS), {"refused", "problems", "same"})
    found = survey(good, tmp_path, FIELD_SEEDS)
    check_survey(found, EDITED)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
