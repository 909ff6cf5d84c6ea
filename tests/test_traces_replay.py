"""Accesses in the formats of memory simulators, read back as these read them, one by one."""

import gzip
import json
import re
import struct
from collections import namedtuple
from pathlib import Path

import foreign_readers as readers
import pytest
from exported_traces import SELECTED, ended, written
from foreign_readers import Access, MisreadError

import firemesh
from firemesh.traces.errors import TraceError

MODES = {"conv1": "mnf", "conv2": "flexnn", "fc1": "mnf", "*": "flexnn"}
OPS = ("R", "W")
PS_HZ = 10**12

Format = namedtuple("Format", "to read suffix has_cycles is_whole burst options forced")
"""How to export and read a format: whether a record is a whole burst, and of how many bytes."""

FORMATS = {
    "dramsim3": Format("dramsim3", readers.read_dramsim3, "", True, True, 64, "cbmr", {}),
    "dramsys": Format("dramsys", readers.read_dramsys, ".stl", True, True, 64, "cbmr", {}),
    "ramulator1": Format("ramulator1", readers.read_ramulator1, "", False, True, 64, "bm", {}),
    "ramulator2": Format("ramulator2", readers.read_ramulator2, "", False, True, 64, "bm", {}),
    "prospero": Format("prospero", readers.read_prospero_text, "", True, False, 64, "cbmr", {}),
    "prospero-binary": Format(
        "prospero", readers.read_prospero_binary, "", True, False, 64, "cbmr", {"form": "binary"}
    ),
    "gem5": Format(
        "gem5", lambda data: readers.read_gem5(data)[2], "", True, False, 0, "bmr", {}
    ),
}  # fmt: skip
"""``options``: of clock, burst bytes, merge, relative, those that it has."""

OF_DRAM = ("dramsim3", "dramsys", "ramulator1", "ramulator2")

Case = namedtuple("Case", "trace selection options", defaults=({}, {}))
CASES = {
    "all": Case("digits"),
    "all of flexnn": Case("flexnn", {"memory": ("dram", "storage")}),
    "all of a hybrid": Case("hybrid", {"memory": ("dram", "storage", "weight")}),
    "default of flexnn": Case("flexnn", {"layer": "fc2"}),
    "default of a hybrid's layer": Case("hybrid", {"layer": "conv1"}),
    "a layer": Case("digits", {"layer": "fc2"}),
    "layers": Case("flexnn", {"layer": ("conv1_pool", "fc2")}),
    "a unit": Case("digits", {"unit": "pe3", "layer": ("fc1", "fc2"), "memory": "psum"}),
    "units": Case("flexnn", {"unit": ("vpe0_3", "storage"), "memory": ("rf_fl", "dram")}),
    "a memory": Case("digits", {"memory": "weight", "layer": "conv2"}),
    "reads": Case("digits", {"op": "read", "layer": "fc1", "memory": ("psum", "storage")}),
    "writes": Case("flexnn", {"op": "write", "memory": "dram"}),
    "a window": Case("digits", {"cycles": (640, 690), "memory": ("psum", "weight", "bias")}),
    "a window of dram": Case("flexnn", {"cycles": (170, 190)}),
    "a frame": Case("frames", {"frame": 1, "layer": "fc2"}),
    "merged": Case("flexnn", {"memory": "dram"}, {"merge": True}),
    "merged on chip": Case("digits", {"layer": ("fc1", "fc2")}, {"merge": True}),
    "merged from reads and writes": Case(
        "digits", {"memory": "psum", "unit": "pe1", "layer": "fc2"}, {"merge": True}
    ),
    "small bursts": Case("flexnn", {"memory": "dram"}, {"burst_bytes": 4}),
    "large bursts": Case("flexnn", {"memory": ("dram", "acc"), "layer": "fc2"},
                         {"burst_bytes": 256}),
    "large bursts, merged": Case("flexnn", {"memory": "dram"},
                                 {"burst_bytes": 256, "merge": True}),
    "a faster clock": Case("flexnn", {"memory": "dram"}, {"clock_hz": 2_400_000_000}),
    "a slower clock": Case("flexnn", {"memory": "dram"}, {"clock_hz": 333_000_000}),
    "an odd clock": Case("flexnn", {"memory": "dram"}, {"clock_hz": 1_234_567_891}),
    "relative": Case("digits", {"layer": "fc2"}, {"relative": True}),
    "relative in a window": Case("flexnn", {"cycles": (190, 600), "memory": ("dram", "storage")},
                                 {"relative": True, "clock_hz": 1_600_000_000}),
    "all at once": Case(
        "hybrid",
        {"cycles": (200, 2000), "layer": ("conv2", "fc1"), "op": "read",
         "memory": ("dram", "psum")},
        {"relative": True, "clock_hz": 777_000_000, "burst_bytes": 32, "merge": True},
    ),
}  # fmt: skip
LETTERS = {"clock_hz": "c", "burst_bytes": "b", "merge": "m", "relative": "r"}


def is_of(name, case):
    """Tell whether a format has the options of a case; DRAMSys takes whole MHz."""
    if name == "dramsys" and case == "an odd clock":
        return False
    return all(LETTERS[option] in FORMATS[name].options for option in CASES[case].options)


PAIRS = [(name, case) for name in FORMATS for case in CASES if is_of(name, case)]
every_pair = pytest.mark.parametrize("name, case", PAIRS)
every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Return name -> path of a trace, each made once."""
    folder, made = tmp_path_factory.mktemp("replayed"), {"digits": firemesh.sample_trace()}
    network, images = firemesh.load("digits"), firemesh.images("digits", 2)[0]
    runs = {
        "flexnn": (images[:1], {"mode": "flexnn"}),
        "hybrid": (images[:1], {"mode": MODES}),
        "frames": (images, {}),
    }

    def find(name):
        if name not in made:
            frames, options = runs[name]
            made[name] = folder / f"{name}.h5"
            firemesh.run(network, frames, trace=made[name], **options)
        return made[name]

    return find


Chosen = namedtuple("Chosen", "cycle unit memory op address size layer")


def chosen(trace, to, **selection):
    """Return the accesses of a selection, by names, one by one; DRAM's alone for its simulators."""
    if to in OF_DRAM and "memory" not in selection:
        of_dram = chosen(trace, to, memory="dram", **selection) if "dram" in trace.memories else []
        return of_dram or chosen(trace, to, memory="storage", **selection)
    return [
        Chosen(cycle, trace.units[unit], trace.memories[memory], op, address, size,
               trace.layers[layer])
        for block in trace.accesses(**selection)
        for cycle, address, unit, layer, size, memory, op in block.tolist()
    ]  # fmt: skip


def totals(accesses):
    """Return what a side file says of the selection."""
    return {
        "accesses": len(accesses),
        "reads": sum(one.op == 0 for one in accesses),
        "writes": sum(one.op == 1 for one in accesses),
        "bytes": sum(one.size for one in accesses),
        "first_cycle": accesses[0].cycle,
        "last_cycle": accesses[-1].cycle,
    }


def pieces(accesses, side, burst, is_whole):
    """Yield each access cut at bursts, where it was placed, in the consumer's cycles; its layer."""
    base = {(row["memory"], row["unit"]): row["base"] for row in side["addresses"]}
    zero, machine = side["cycle_0_is_cycle_of_run"], side["machine_clock_hz"]
    for one in accesses:
        begin = base[one.memory, one.unit] + one.address
        end = begin + one.size
        cycle = (one.cycle - zero) * side["clock_hz"] // machine
        for first in range(begin - begin % burst, end, burst) if burst else [begin]:
            low, high = (max(first, begin), min(first + burst, end)) if burst else (begin, end)
            if is_whole:
                low, high = first, first + burst
            yield Access(cycle, OPS[one.op], low, high - low, one.unit), one.layer


def merged(records, burst, is_whole):
    """Return records without those that the one before can stand for.

    That has the same burst, unit, layer and operation; and where records have the sizes of
    accesses, it ends where this one begins.
    """
    found = []
    for one, layer in records:
        last, its_layer = found[-1] if found else (None, None)
        is_like = last and (last.op, last.unit, its_layer) == (one.op, one.unit, layer)
        if is_like and last.address // burst == one.address // burst:
            if is_whole:
                continue
            if last.address + last.size == one.address:
                found[-1] = last._replace(size=last.size + one.size), layer
                continue
        found.append((one, layer))
    return [one for one, _ in found]


def expected(accesses, side, form, merge=False, burst_bytes=None, **_):
    """Return the records that a file must have."""
    burst = form.burst if burst_bytes is None else burst_bytes
    records = list(pieces(accesses, side, burst, form.is_whole))
    return merged(records, burst, form.is_whole) if merge else [one for one, _ in records]


def as_read(records, found):
    """Return records with what the reader told, so that both can be compared."""
    has_cycle, has_size = found[0].cycle is not None, found[0].size is not None
    return [
        (one.cycle if has_cycle else None, one.op, one.address, one.size if has_size else None)
        for one in records
    ]


@pytest.fixture(scope="module")
def exported(traces, tmp_path_factory):
    """Return (format, case) -> what its reader found, what it must find, accesses, side file."""
    made, selected = {}, {}

    def find(name, case):
        if (name, case) not in made:
            made[name, case] = export(name, case)
        return made[name, case]

    def accesses_of(to, which, selection):
        key = to in OF_DRAM, which, str(selection)
        if key not in selected:
            with firemesh.open_trace(traces(which)) as trace:
                selected[key] = chosen(trace, to, **selection)
        return selected[key]

    def export(name, case):
        form, (which, selection, options) = FORMATS[name], CASES[case]
        if "merge" in options and not form.burst:
            options = {"burst_bytes": 64} | options
        out = tmp_path_factory.mktemp("out") / f"out{form.suffix}"
        report, data, side = written(
            traces(which), form.to, out, **selection, **options, **form.forced
        )
        accesses = accesses_of(form.to, which, selection)
        assert accesses
        return form.read(data), expected(accesses, side, form, **options), accesses, side

    return find


# ---- every format


@every_pair
def test_a_simulator_reads_each_selected_access_at_its_place_and_time(exported, name, case):
    found, wanted, _, _ = exported(name, case)
    assert [one[:4] for one in found] == as_read(wanted, found)
    assert (found[0].cycle is not None) == FORMATS[name].has_cycles


@every_pair
def test_totals_of_the_side_file_are_those_of_the_selection_and_of_the_reader(exported, name, case):
    found, wanted, accesses, side = exported(name, case)
    assert side["selected"] == totals(accesses)
    sizes = [one.size if one.size is not None else side["burst_bytes"] for one in found]
    assert side["written"] == {
        "records": len(found),
        "reads": sum(one.op == "R" for one in found),
        "writes": sum(one.op == "W" for one in found),
        "bytes": sum(sizes),
        "first_cycle": wanted[0].cycle,
        "last_cycle": wanted[-1].cycle,
    }
    assert side["counts"]["records"] == len(found)
    if CASES[case].options.get("merge"):
        assert side["merged"] is True


@pytest.mark.parametrize(
    "name, case", [pair for pair in PAIRS if "cycles" not in CASES[pair[1]].selection]
)
def test_totals_of_a_selection_without_window_are_the_engines_counters(
    exported, traces, name, case
):
    which, selection, _ = CASES[case]
    _, _, accesses, side = exported(name, case)
    memories = {one.memory for one in accesses}
    count = bytes_ = 0
    with firemesh.open_trace(traces(which)) as trace:
        fields = ("frame", "layer", "unit", "memory", "op")
        for row in trace.counters(by=fields):
            told = dict(zip(row.dtype.names, row.item(), strict=True))
            wanted = {"memory": tuple(memories)} | selection
            if all(told[field] in _names(wanted[field]) for field in fields if field in wanted):
                count, bytes_ = count + told["count"], bytes_ + told["bytes"]
    assert (side["selected"]["accesses"], side["selected"]["bytes"]) == (count, bytes_)


def _names(wanted):
    return wanted if isinstance(wanted, tuple) else (wanted,)


@pytest.mark.parametrize("case", CASES)
def test_accesses_come_by_cycle_then_unit(exported, traces, case):
    _, _, accesses, _ = exported("prospero", case)
    with firemesh.open_trace(traces(CASES[case].trace)) as trace:
        units = list(trace.units)
    keys = [(one.cycle, units.index(one.unit)) for one in accesses]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "name, case", [pair for pair in PAIRS if pair[0] in ("dramsim3", "prospero", "gem5")]
)
def test_memories_are_placed_side_by_side_and_hold_their_accesses(exported, name, case):
    _, _, accesses, side = exported(name, case)
    places = {(row["memory"], row["unit"]): row for row in side["addresses"]}
    assert len(places) == len(side["addresses"])
    assert {(one.memory, one.unit) for one in accesses} <= set(places)
    ranges = sorted((row["base"], row["base"] + row["bytes"]) for row in side["addresses"])
    burst = max(side["burst_bytes"], 1)
    for (_, end), (begin, _) in zip(ranges, ranges[1:], strict=False):
        assert end <= begin
    assert all(begin % burst == 0 for begin, _ in ranges)
    for one in accesses:
        assert one.address + one.size <= places[one.memory, one.unit]["bytes"]


def test_cases_hold_accesses_that_are_cut_merged_and_out_of_line(exported):
    for name, case, is_more in (
        ("prospero", "all", True), ("dramsim3", "small bursts", True), ("gem5", "all", False),
        ("dramsim3", "merged", False), ("prospero", "merged", False), ("gem5", "merged", False),
    ):  # fmt: skip
        found, _, accesses, _ = exported(name, case)
        assert (len(found) > len(accesses)) == is_more
    assert any(one.address % 64 for one in exported("prospero", "merged")[0])
    both = exported("dramsim3", "merged from reads and writes")
    assert {one.op for one in both[0]} == {"R", "W"} and len(both[0]) < len(both[2])
    layers = exported("ramulator1", "merged on chip")[2]
    assert len({one.layer for one in layers}) == 2


@every_format
def test_the_side_file_tells_clocks_bursts_selection_and_the_consumers_command(exported, name):
    case = "all at once" if is_of(name, "all at once") else "a layer"
    _, _, _, side = exported(name, case)
    _, selection, options = CASES[case]
    assert side["clock_hz"] == options.get("clock_hz", PS_HZ if name == "gem5" else 200_000_000)
    for field in SELECTED:
        if field in selection and field not in ("memory", "cycles", "frame"):
            assert tuple(side["selection"][field]) == _names(selection[field])
    assert "FILE" in side["consumer_command"] or "CONFIG" in side["consumer_command"]
    assert not re.search(r"\d{4}-\d\d|/tmp|/home|/root", json.dumps(side))


@every_format
def test_a_selection_without_accesses_is_refused_and_leaves_nothing(traces, tmp_path, name):
    form = FORMATS[name]
    for selection in ({"cycles": (10**9, 10**9 + 1)},
                      {"layer": "fc2", "cycles": (0, 1), "memory": "psum"}):  # fmt: skip
        with pytest.raises(TraceError) as error:
            written(traces("digits"), form.to, tmp_path / f"o{form.suffix}", **selection,
                    **form.forced)  # fmt: skip
        assert str(error.value).startswith(f"{traces('digits')}: ")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in FORMATS if "b" in FORMATS[name].options])
@pytest.mark.parametrize("burst", (-64, 3, 48, 10**9))
def test_a_burst_that_is_no_power_of_two_is_refused(capsys, traces, tmp_path, name, burst):
    form = FORMATS[name]
    out = tmp_path / f"o{form.suffix}"
    code, said, err = ended(
        capsys, traces("digits"), "--to", form.to, "--out", out, "--burst-bytes", burst
    )
    assert (code, said) == (2, "") and "--burst-bytes: must be a power of two" in err
    assert err.endswith(f"got {burst}\n") and not list(tmp_path.iterdir())


# ---- DRAMsim3


@pytest.mark.parametrize("case", ("all", "merged", "a faster clock", "relative in a window"))
def test_dramsim3_issues_every_burst_once_in_the_cycles_that_the_side_file_names(
    traces, tmp_path, case
):
    which, selection, options = CASES[case]
    _, data, side = written(traces(which), "dramsim3", tmp_path / "d", **selection, **options)
    sent = readers.issue_dramsim3(data, side["cycles"])
    records = readers.read_dramsim3(data)
    assert [(word[0], address) for _, word, address in sent] == [
        (one.op, one.address) for one in records
    ]
    assert all(cycle >= one.cycle for (cycle, *_), one in zip(sent, records, strict=True))
    assert f"-c {side['cycles']} " in side["consumer_command"] + " "


def test_dramsim3_ends_with_a_sentinel_that_never_comes_to_its_turn(traces, tmp_path):
    _, data, side = written(traces("digits"), "dramsim3", tmp_path / "d", layer="fc2")
    assert data.endswith(b"\n0x0 READ 18446744073709551615\n")
    assert side["sentinel"] == readers.SENTINEL
    without = data.replace(f"{readers.SENTINEL}\n".encode(), b"")
    n = side["written"]["records"]
    assert len(readers.issue_dramsim3(data, side["cycles"])) == n
    assert len(readers.issue_dramsim3(without, side["cycles"])) == n + 1  # one again
    late = b"0x0 READ 0\n0x40 READ 9"
    assert len(readers.issue_dramsim3(late, 99)) == 1  # the last one lost
    for wrong in (without, data[:-1], data.replace(b"READ", b"read"), b"# a\n" + data):
        with pytest.raises(MisreadError):
            readers.read_dramsim3(wrong)


def test_dramsim3_takes_any_word_but_write_for_a_read_so_there_are_only_two(traces, tmp_path):
    _, data, side = written(traces("flexnn"), "dramsim3", tmp_path / "d")
    words = [line.split()[1] for line in data.decode().splitlines()]
    assert set(words) == {"READ", "WRITE"}
    assert words.count("WRITE") == side["written"]["writes"] > 0


# ---- DRAMSys


def test_dramsys_wraps_cycles_at_32_bits_so_longer_traces_are_refused(capsys, tmp_path):
    path, out = tmp_path / "run.h5", tmp_path / "o.stl"
    slow = firemesh.machine("mnf-tiny").replace(clock_hz=100_000)
    firemesh.run("digits", firemesh.images("digits", 1)[0], slow, trace=path)
    with firemesh.open_trace(path) as trace:
        first = trace.cycles - 300
        assert trace.cycles * 10**7 > 2**32
    arguments = path, "--to", "dramsys", "--out", out, "--clock", 10**12
    code, said, err = ended(capsys, *arguments)
    assert (code, said) == (2, "") and err.count("\n") == 1
    assert err.startswith("firemesh: ") and "--cycles" in err and "--relative" in err
    assert [one.name for one in tmp_path.iterdir()] == ["run.h5"]
    part = "--cycles", f"{first}:{first + 300}", "--relative"
    code, _, err = ended(capsys, *arguments, *part)
    assert (code, err) == (0, "")
    assert 2**31 < readers.read_dramsys(out.read_bytes())[-1].cycle < 2**32


def test_dramsys_has_sizes_of_the_burst_and_no_comment(traces, tmp_path):
    data = written(traces("flexnn"), "dramsys", tmp_path / "o.stl", burst_bytes=32)[1]
    assert {one.size for one in readers.read_dramsys(data)} == {32}
    for wrong in (b"# a\n" + data, b"\n" + data, data.replace(b": (32)", b" (32)", 1)):
        with pytest.raises(MisreadError):
            readers.read_dramsys(wrong)
    with pytest.raises(MisreadError, match="wraps"):
        readers.read_dramsys(b"4294967296: (64) read 0x0\n")


# ---- Ramulator


@pytest.mark.parametrize("name", ("ramulator1", "ramulator2"))
def test_ramulators_traces_have_no_time_and_say_so(capsys, traces, tmp_path, name):
    code, said, err = ended(
        capsys, traces("flexnn"), "--to", name, "--out", tmp_path / "o", "--layer", "fc2"
    )
    assert (code, err) == (0, "") and "a bandwidth experiment, not a replay" in said
    side = json.loads((tmp_path / "o.meta.json").read_text())
    assert "a bandwidth experiment, not a replay" in side["note"]
    for option in ("--clock 5", "--relative"):
        told = ended(capsys, traces("flexnn"), "--to", name, "--out", "o", *option.split())
        assert told[0] == 2 and f"leave it out for {name}\n" in told[2]


def test_ramulator1_loses_a_last_line_without_end_so_there_is_none(traces, tmp_path):
    data = written(traces("flexnn"), "ramulator1", tmp_path / "o", layer="fc2")[1]
    assert data.endswith(b" R\n") or data.endswith(b" W\n")
    for wrong in (data[:-1], data + b"\n", data.replace(b" R\n", b" R \n"), b"0x0 r\n"):
        with pytest.raises(MisreadError):
            readers.read_ramulator1(wrong)


def test_ramulator2_refuses_trailing_blanks_so_there_are_none(traces, tmp_path):
    data = written(traces("flexnn"), "ramulator2", tmp_path / "o", layer="fc2")[1]
    assert all(len(line.split(" ")) == 2 for line in data.decode().splitlines())
    for wrong in (data.replace(b"\n", b" \n", 1), b"LD  0x0\n", b"LD 0x8000000000000000\n"):
        with pytest.raises(MisreadError):
            readers.read_ramulator2(wrong)


# ---- Prospero


def test_prosperos_text_has_decimal_addresses(traces, tmp_path):
    data = written(traces("digits"), "prospero", tmp_path / "o", layer="fc2")[1]
    assert b"x" not in data and len(readers.read_prospero_text(data)) > 100
    for wrong in (b"0 R 0x40 64\n", b"0 R 4f 64\n", b"0 R 64\n", data[:-1], b"\n" + data):
        with pytest.raises(MisreadError):
            readers.read_prospero_text(wrong)


@pytest.mark.parametrize("case", ("merged on chip", "relative in a window", "large bursts"))
def test_prosperos_binary_form_holds_what_its_text_holds(traces, tmp_path, case):
    which, selection, options = CASES[case]
    path, both = traces(which), selection | options
    text = written(path, "prospero", tmp_path / "t", **both)[1]
    binary = written(path, "prospero", tmp_path / "b", form="binary", **both)[1]
    records = readers.read_prospero_binary(binary)
    assert records == readers.read_prospero_text(text)
    assert len(binary) == 21 * len(records)
    with pytest.raises(MisreadError):
        readers.read_prospero_binary(binary[:-1])


def test_prosperos_records_stay_within_a_cache_line_which_is_all_it_asks_for(traces, tmp_path):
    for burst in (64, 32, 128):
        _, data, side = written(traces("digits"), "prospero", tmp_path / str(burst),
                                layer="conv2", burst_bytes=burst)  # fmt: skip
        line = side["cache_line_bytes"]
        for one in readers.read_prospero_text(data):
            assert one.address % burst + one.size <= burst <= line
        assert f"cache_line_size={line}" in side["consumer_command"]


# ---- packed files


@pytest.mark.parametrize("to, form", (("prospero", "binary"), ("gem5", None)))
def test_a_packed_file_holds_the_plain_one_and_neither_name_nor_time(traces, tmp_path, to, form):
    plain = written(traces("flexnn"), to, tmp_path / "plain", form=form, layer="fc2")[1]
    packed = written(traces("flexnn"), to, tmp_path / "a.gz", form=form, layer="fc2")[1]
    other = written(traces("flexnn"), to, tmp_path / "b.gz", form=form, layer="fc2")[1]
    assert gzip.decompress(packed) == plain and packed == other
    magic, _, flags, time = struct.unpack_from("<HBBI", packed)
    assert (magic, flags, time) == (0x8B1F, 0, 0)


def test_prosperos_text_cannot_be_packed(capsys, traces, tmp_path):
    out = tmp_path / "o.gz"
    code, _, err = ended(capsys, traces("digits"), "--to", "prospero", "--out", out)
    assert code == 2 and "--form binary" in err and ".gz" in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# ---- gem5


def test_gem5s_header_names_units_and_packets_point_to_them(traces, tmp_path):
    _, data, side = written(traces("digits"), "gem5", tmp_path / "g", layer="fc2")
    _, names, packets = readers.read_gem5(data)
    with firemesh.open_trace(traces("digits")) as trace:
        wanted = [one.unit for one in chosen(trace, "gem5", layer="fc2")]
    assert [names[packet.unit] for packet in packets] == wanted
    assert str(side["ticks"]) in side["consumer_command"]
    assert side["ticks"] > packets[-1].cycle


def test_gem5_has_picoseconds_at_any_clock_of_the_machine(tmp_path):
    machine = firemesh.machine("mnf-tiny").replace(clock_hz=333_000_000)
    firemesh.run("digits", firemesh.images("digits", 1)[0], machine, trace=tmp_path / "run.h5")
    data = written(tmp_path / "run.h5", "gem5", tmp_path / "g", memory="storage")[1]
    with firemesh.open_trace(tmp_path / "run.h5") as trace:
        cycles = [one.cycle for one in chosen(trace, "gem5", memory="storage")]
        assert trace.attribute("clock_hz") == 333_000_000
    ticks = [packet.cycle for packet in readers.read_gem5(data)[2]]
    assert ticks == [cycle * PS_HZ // 333_000_000 for cycle in cycles]


def test_gem5s_form_units_is_a_file_for_each_unit_with_its_accesses(traces, tmp_path):
    out = tmp_path / "g"
    report, files, side = written(traces("digits"), "gem5", out, form="units", layer="fc1")
    with firemesh.open_trace(traces("digits")) as trace:
        accesses = chosen(trace, "gem5", layer="fc1")
    form, seen = FORMATS["gem5"], []
    for name, data in files.items():
        unit = Path(name).stem
        _, names, packets = readers.read_gem5(data)
        mine = [one for one in accesses if one.unit == unit]
        wanted = expected(mine, side, form)
        assert [one[:4] for one in packets] == [one[:4] for one in wanted] and mine
        assert {names[one.unit] for one in packets} == {unit}
        seen.append(unit)
    assert set(seen) == {one.unit for one in accesses}
    assert side["selected"] == totals(accesses)
    assert side["written"]["records"] == len(accesses) == report.counts["records"]


def test_what_is_no_gem5_file_is_told_apart():
    header = b"\x0a\x01a\x18" + bytes([0x80, 0xA0, 0x94, 0xA5, 0x8D, 0x1D])
    packet = bytes([0x08, 5, 0x10, 1, 0x18, 64, 0x20, 8, 0x30, 3])

    def file(*messages):
        return b"gem5" + b"".join(bytes([len(one)]) + one for one in messages)

    assert readers.read_gem5(file(header, packet)) == ("a", {}, [Access(5, "R", 64, 8, 3)])
    wrong = (
        b"gem4" + file(header)[4:],
        file(b"\x0a\x01a\x18\x05", packet),  # another frequency
        file(header, packet)[:-1],
        file(header, packet[:6]),  # no size
        file(header, packet.replace(b"\x10\x01", b"\x10\x02")),  # a response
    )
    for data in wrong:
        with pytest.raises(MisreadError):
            readers.read_gem5(data)


# ---- Dinero


@pytest.mark.parametrize("case", ("all", "a unit", "reads", "a window", "units", "a frame"))
def test_dinero_has_a_file_for_each_memory_with_its_accesses_in_order(traces, tmp_path, case):
    which, selection, _ = CASES[case]
    report, files, side = written(traces(which), "dinero", tmp_path / "d", **selection)
    with firemesh.open_trace(traces(which)) as trace:
        accesses = chosen(trace, "dinero", **selection)
    mine = {}
    for one in accesses:
        mine.setdefault((one.unit, one.memory), []).append(one)
    names = {(row["unit"], row["memory"]): row["file"] for row in side["files"]}
    assert set(files) == set(names.values()) and set(names) == set(mine)
    for place, wanted in mine.items():
        found = readers.read_dinero(files[names[place]])
        assert found == [Access(None, OPS[one.op], one.address, one.size) for one in wanted]
    for row in side["files"]:
        wanted = mine[row["unit"], row["memory"]]
        assert row["reads"] == sum(one.op == 0 for one in wanted)
        assert row["writes"] == len(wanted) - row["reads"]
    assert side["selected"] == totals(accesses)
    total = side["written"]
    assert (total["records"], total["bytes"]) == (len(accesses), side["selected"]["bytes"])
    assert report.counts["files"] == len(files)


def test_dineros_numbers_are_hexadecimal_without_a_prefix(traces, tmp_path):
    _, files, side = written(traces("digits"), "dinero", tmp_path / "d", memory="weight",
                             unit="pe1", layer="conv2")  # fmt: skip
    (data,) = files.values()
    assert b"x" not in data and re.search(rb"[a-f]", data)
    for wrong in (b"r 0x40 4\n", b"0 40 4\n", b"r 40\n", b"i 40 4\n", data[:-1], b"r 40 0\n"):
        with pytest.raises(MisreadError):
            readers.read_dinero(wrong)
    assert "-informat D" in side["consumer_command"]


# ---- what does not change a file


@every_format
def test_a_file_does_not_depend_on_how_many_accesses_are_taken_at_once(
    traces, tmp_path, monkeypatch, name
):
    form, selection = FORMATS[name], {"memory": ("dram", "storage", "acc"), "layer": "fc2"}
    options = form.forced | {"merge": True, "burst_bytes": 64}
    whole = written(traces("flexnn"), form.to, tmp_path / f"a{form.suffix}", **selection, **options)
    inner, parts = firemesh.Trace.accesses, 0

    def in_parts(self, *arguments, **named):
        nonlocal parts
        for block in inner(self, *arguments, **named):
            for begin in range(0, len(block), 3):
                parts += 1
                yield block[begin : begin + 3]

    monkeypatch.setattr(firemesh.Trace, "accesses", in_parts)
    part = written(traces("flexnn"), form.to, tmp_path / f"b{form.suffix}", **selection, **options)
    assert part[1:] == whole[1:] and parts > 10
