"""The difference of two traces, against a brute force over all accesses and packets."""

import json
import shutil
from collections import Counter

import h5py
import numpy as np
import pytest
from analysed_runs import ended, runs

import firemesh
from firemesh.emulator.cli import main
from firemesh.traces.diff import same
from firemesh.traces.diff.difference import diff
from firemesh.traces.diff.rows import What, accesses_of
from firemesh.traces.diff.sides import Common, Side
from firemesh.traces.diff.streams import Pair
from firemesh.traces.errors import TraceError
from firemesh.traces.selection import Selection

full = pytest.fixture(scope="module")(runs)
ONE = Selection(layer="conv2", unit=("pe1", "pe3", "storage"), memory=("psum", "event_fifo"))


def began(trace):
    """Return (frame, layer) -> its first cycle."""
    first = {}
    for frame, layer, _, begin, _ in trace.segments.tolist():
        first.setdefault((frame, trace.layers[layer]), begin)
    return first


def listed(trace, other, selection, relative):
    """Return accesses in order as (order key, dict), of what both traces have."""
    units = [unit for unit in trace.units if unit in other.units]
    memories = [name for name in trace.memories if name in other.memories]
    layers = [layer for layer in trace.layers if layer in other.layers]
    rows, begins = [], began(trace)
    arguments = selection.arguments
    arguments["layer"] = arguments["layer"] or layers
    for block in trace.accesses(**arguments):
        for cycle, address, unit, layer, size, memory, op in block.tolist():
            name = trace.layers[layer]
            if trace.units[unit] not in units or trace.memories[memory] not in memories:
                continue
            span = 0
            if relative:
                starts = [(b, key) for key, b in begins.items() if b <= cycle]
                begin, key = max(starts)
                span, cycle = sorted(began(trace).values()).index(begin), cycle - begin
            row = dict(
                cycle=cycle, unit=trace.units[unit], layer=name, memory=trace.memories[memory],
                op=trace.ops[op], address=address, bytes=size,
            )  # fmt: skip
            key = (span, cycle, units.index(trace.units[unit]),
                   memories.index(trace.memories[memory]), op, address, size)  # fmt: skip
            rows.append((key, row))
    return sorted(rows, key=lambda one: one[0])


def first_of(a, b):
    """Return (side, row, rows before, rows of a, rows of b) where two lists first differ."""
    n = next((i for i, (one, two) in enumerate(zip(a, b)) if one != two), min(len(a), len(b)))  # noqa: B905
    if n == len(a) == len(b):
        return None
    heads = [(rows[n][0], side, rows[n][1]) for side, rows in (("a", a), ("b", b)) if n < len(rows)]
    _, side, row = min(heads)
    parts = (a[max(0, n - 4) : n], a[n : n + 4], b[n : n + 4])
    return side, row, *([row for _, row in part] for part in parts)


def told(divergence):
    """Return a divergence as `first_of` does."""
    if divergence is None:
        return None
    assert divergence.cycle == divergence.row["cycle"]
    return divergence.side, divergence.row, divergence.before, divergence.a, divergence.b


def packets(trace, other):
    """Return packets, and arrivals, in order as (order key, dict)."""
    kinds = [name.decode() for name in trace.table("kinds")["name"]]
    sent, arrived = [], []
    for block in trace.packets():
        for created, number, source, layer, flits, kind, _ in block.tolist():
            row = dict(cycle=created, source=trace.units[source], layer=trace.layers[layer],
                       number=number, kind=kinds[kind], flits=flits)  # fmt: skip
            sent.append(((created, source, number, flits, kind), row))
    for block in trace.deliveries():
        for cycle, number, source, unit, layer, flits in block.tolist():
            row = dict(cycle=cycle, unit=trace.units[unit], layer=trace.layers[layer],
                       source=trace.units[source], number=number, flits=flits)  # fmt: skip
            arrived.append(((cycle, unit, source, number), row))
    return [sorted(rows, key=lambda one: one[0]) for rows in (sent, arrived)]


PAIRS = [("mnf", "lanes"), ("mnf", "small"), ("chain", "mnf"), ("frames", "mnf"), ("mnf", "auto"),
         ("flexnn", "mnf"), ("frames", "others")]  # fmt: skip
SELECTIONS = [Selection(), Selection(op="write"), Selection(cycles=(100, 350))]


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
@pytest.mark.parametrize("selection", SELECTIONS, ids=["all", "writes", "window"])
def test_first_access_that_differs_is_that_of_sorted_lists(full, names, selection):
    with firemesh.open_trace(full(names[0])) as a, firemesh.open_trace(full(names[1])) as b:
        found = diff(a, b, selection)
        lists = listed(a, b, selection, False), listed(b, a, selection, False)
    assert told(found.access) == first_of(*lists)
    assert not found.is_same


@pytest.mark.parametrize("relative", [False, True])
def test_selected_layers_are_compared_alone_and_from_their_begin_on_request(full, relative):
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(full("small")) as b:
        found = diff(a, b, ONE, relative)
        lists = listed(a, b, ONE, relative), listed(b, a, ONE, relative)
    assert told(found.access) == first_of(*lists)
    assert {row["layer"] for row in found.totals} <= {"conv2"}


def test_a_layer_that_only_starts_later_is_alike_from_its_begin_on(full):
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(full("twice")) as b:
        later = Selection(frame=0, memory=("weight", "psum", "pointer"))
        assert diff(a, b, later).access is None
        whole = diff(a, b, Selection(), relative=True)
    assert whole.access is not None
    assert whole.access.side == "b" and whole.access.a == []
    assert len(whole.access.before) == 4


@pytest.mark.parametrize("names", PAIRS[:4] + PAIRS[-1:], ids="-".join)
def test_first_packet_and_arrival_that_differ_are_those_of_sorted_lists(full, names):
    with firemesh.open_trace(full(names[0])) as a, firemesh.open_trace(full(names[1])) as b:
        found = diff(a, b)
        (sent_a, arrived_a), (sent_b, arrived_b) = packets(a, b), packets(b, a)
    assert told(found.packet) == first_of(sent_a, sent_b)
    assert told(found.arrival) == first_of(arrived_a, arrived_b)


@pytest.mark.parametrize("names", [("mnf", "mnf"), *PAIRS], ids="-".join)
def test_segments_that_are_stored_alike_need_not_be_told(full, names, monkeypatch):
    with firemesh.open_trace(full(names[0])) as a, firemesh.open_trace(full(names[1])) as b:
        found = diff(a, b).to_dict()
        monkeypatch.setattr(same.Stored, "is_same", lambda self, i, k: False)
        slow = diff(a, b).to_dict()
    skipped = found["compared"].pop("stored_alike")
    assert skipped == {("mnf", "mnf"): 4, ("frames", "mnf"): 4, ("frames", "others"): 4}.get(
        names, 0
    )
    assert slow["compared"].pop("stored_alike") == 0
    assert found == slow


@pytest.mark.parametrize("cycles", [None, (100, 350)])
@pytest.mark.parametrize("names", [("mnf", "lanes"), ("mnf", "auto")], ids="-".join)
def test_totals_that_differ_are_those_of_expanded_accesses(full, names, cycles):
    counts = []
    with firemesh.open_trace(full(names[0])) as a, firemesh.open_trace(full(names[1])) as b:
        found = diff(a, b, Selection(cycles=cycles))
        for trace, other in ((a, b), (b, a)):
            count = Counter()
            for _, row in listed(trace, other, Selection(cycles=cycles), False):
                what = row["layer"], f"{row['memory']} {row['op']}"
                count[*what, "accesses"] += 1
                count[*what, "bytes"] += row["bytes"]
            counts.append(count)
        slots = [Counter(), Counter()]
        for trace, of in zip((a, b), slots, strict=True):
            for layer, cause, count in trace.slots().tolist():
                of[layer, cause, "slots"] += count
    if cycles is None and names[1] == "lanes":
        counts = [count + of for count, of in zip(counts, slots, strict=True)]
        rows = [row for row in found.totals if row["of"] != "stalls"]
    else:
        rows = [row for row in found.totals if row["of"] in ("accesses", "bytes")]
    wanted = {
        key: (counts[0][key], counts[1][key])
        for key in counts[0] | counts[1]
        if counts[0][key] != counts[1][key]
    }
    assert {(r["layer"], r["what"], r["of"]): (r["a"], r["b"]) for r in rows} == wanted
    for row in rows:
        assert row["change"] == (row["b"] / row["a"] - 1 if row["a"] else None)


def test_cycles_of_layers_are_those_of_their_segments(full):
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(full("small")) as b:
        found = diff(a, b).cycles
        for row, layer in zip(found, a.layers, strict=True):
            for name, trace in (("a", a), ("b", b)):
                of = trace.segments[trace.segments["layer"] == trace.layers.index(layer)]
                assert row[name] == int((of["cycle1"] - of["cycle0"]).sum())


def synthetic(rng, n):
    """Return rows of accesses in few cycles, in order of cycles."""
    rows = np.zeros((n, 3), np.uint64)
    rows[:, 0] = np.sort(rng.integers(0, max(1, n // 3), n))
    rows[:, 1] = rng.integers(0, 3, n)
    rows[:, 2] = rng.integers(0, 2, n)
    return rows


class Never:
    """Segments that are never stored alike."""

    def is_same(self, i, k):
        return False


@pytest.mark.parametrize("seed", range(60))
def test_order_within_cycles_and_borders_of_blocks_and_segments_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    common = Common(["l"], ["u0", "u1"], ["m"], [], ["read", "write"], False)
    a = synthetic(rng, int(rng.integers(0, 60)))
    b = a[np.lexsort([rng.random(len(a)), a[:, 0]])]
    if seed % 3 and len(b):
        at = int(rng.integers(len(b)))
        b = np.delete(b, at, 0) if seed % 3 == 1 else b
        b[at % max(1, len(b)) :, 1] += np.uint64(seed % 2)
    blocks = {}
    for name, rows in (("a", a), ("b", b)):
        edges = np.sort(rng.integers(0, len(rows) + 1, 6))
        blocks[name] = [part.copy() for part in np.split(rows, edges)]
    what = accesses_of(common)
    nothing = np.zeros(0, np.int64)
    sides = [
        Side(name, np.arange(4), nothing, nothing, nothing, nothing, nothing, 0, 0)
        for name in ("a", "b")
    ]

    def rows_of(side, i):
        yield from (block for block in blocks[side.trace][2 * i : 2 * i + 2] if len(block))

    plain = What("access", 3, rows_of, what.order, what.tell)
    found = Pair(*sides, plain, Never(), lambda done: None).divergence()
    lists = [
        sorted(
            (((r[0], r[2], r[1]), what.tell(np.array(r, np.uint64))) for r in rows.tolist()),
            key=lambda one: one[0],
        )
        for rows in (a, b)
    ]
    assert told(found) == first_of(*lists)


def test_the_command_names_parameter_cycle_unit_and_access_and_ends_as_diff_does(full, capsys):
    code, out, err = ended(capsys, "diff", full("mnf"), full("lanes"))
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(full("lanes")) as b:
        first = diff(a, b).access
    assert (code, err) == (1, "")
    assert "machine pe.fire_lanes: 1 -> 3\n" in out
    assert (
        f"first access that differs: cycle {first.cycle}, {first.row['unit']}, psum read\n" in out
    )
    assert "in this cycle: bytes 4 -> 12\n" in out
    told = [line for line in out.splitlines() if line.startswith("in this cycle: ")]
    assert told and not any(key in line for line in told for key in ("unit ", "source ", "op "))
    assert "does not have it in this cycle\n" in out
    code, out, err = ended(capsys, "diff", full("mnf"), full("mnf"))
    assert (code, err) == (0, "") and out.splitlines()[-1].startswith(
        "same: compared layers 4, units 12,"
    )
    code, out, err = ended(capsys, "diff", full("mnf"), full("lanes"), "--json")
    assert code == 1 and json.loads(out)["is_same"] is False


@pytest.mark.parametrize(
    "options, words",
    [
        (["--unit", "pe1"], "unit must be one of storage, vpe0_0"),
        (["--layer", "nothing"], "layer must be one of conv1"),
        (["--cycles", "999999:1000000"], "nothing runs in the selection in either"),
        (["--frame", "7"], "frame must be one of 0..0, got 7"),
        (["--relative", "--cycles", "0:5"], "cannot be selected"),
    ],
)
def test_a_selection_that_leaves_nothing_is_refused_in_one_sentence(full, capsys, options, words):
    code, out, err = ended(capsys, "diff", full("mnf"), full("flexnn"), *options)
    assert (code, out) == (2, "")
    assert words in err and err.count("\n") == 1


def test_names_of_one_trace_only_are_told_and_left_out(full):
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(full("flexnn")) as b:
        found = diff(a, b)
    assert found.compared["units"] == ["storage"]
    alone = {(row["table"], row["name"]) for row in found.names if not row["field"]}
    assert ("units", "pe1") in alone and ("units", "vpe0_0") in alone
    assert all(row["a"] == "-" or row["b"] == "-" for row in found.names if not row["field"])


def test_the_command_line_of_a_run_alone_makes_no_difference(full, tmp_path):
    path = tmp_path / "by_command.h5"
    main(["run", "digits", "--frames", "1", "--trace", str(path)])
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(path) as b:
        found = diff(a, b)
    assert [row["name"] for row in found.attributes] == ["command"]
    assert found.is_same


def test_a_number_that_is_asked_for_is_the_name_in_the_first_trace(full):
    with firemesh.open_trace(full("mnf")) as a, firemesh.open_trace(full("auto")) as b:
        assert diff(a, b, Selection(unit=1)).compared["units"] == [a.units[1]]
        with pytest.raises(TraceError, match="unit: must be one of"):
            diff(a, b, Selection(unit=99))


@pytest.mark.parametrize(
    "table, field", [("counters", "unit"), ("counters", "memory"), ("slots", "cause")]
)
def test_counts_of_what_does_not_exist_are_refused(full, capsys, tmp_path, table, field):
    path = shutil.copy(full("mnf"), tmp_path / "run.h5")
    with h5py.File(path, "r+") as file:
        rows = file[table][...]
        rows[field][-1] = 200
        file[table][...] = rows
    code, out, err = ended(capsys, "diff", full("mnf"), path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"table {table} is damaged" in err
