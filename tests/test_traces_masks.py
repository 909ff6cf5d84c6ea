"""Spans and masks: random lists, written and read, are what a naive expansion of them says."""

import tempfile
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import firemesh
from firemesh.traces import blocks, long_rows, members
from firemesh.traces.lists import Rule
from firemesh.traces.masks import pack
from firemesh.traces.opened import open_trace
from firemesh.traces.schema import NETWORK_MEMORIES, Walk, dtype_of, table
from firemesh.traces.verify import verify
from firemesh.traces.writer import TraceWriter

FIELDS = ("cycle", "unit", "memory", "op", "address", "size")
MEMORIES = ("sram", "rf", "acc", *NETWORK_MEMORIES)
UNITS = 3
MULTIPLIERS = 4
BASE, BYTES = 1 << 20, 1 << 40
COLUMNS = {"of": None, "pattern": 0, "run": -1, "base": 0, "span": 0,
           "window_a": 0, "windows_a": 1, "window_b": 0, "windows_b": 1}  # fmt: skip
often = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))

# ---- a trace of lists, put together with the writer


def attributes(**changes):
    text = ("program_version", "machine", "network", "network_digest", "input_digest", "command")
    numbers = dict.fromkeys(("seed", "frames", "clock_hz", "flit_bits"), 1)
    prices = dict.fromkeys(("mac_pj", "flit_pj", "idle_cycle_pj"), 0.5)
    return {
        **dict.fromkeys(text, "x"), **numbers, **prices, "mode": "masks", "values": False,
        "multipliers": MULTIPLIERS, **changes,
    }  # fmt: skip


def shared_tables(n_units=UNITS, ports=1 << 20, names=MEMORIES):
    """Return the tables that do not tell accesses: storage, PEs that have every memory, a layer."""
    n = len(names)
    zero = dict.fromkeys((name for name, _ in firemesh.traces.schema.TABLES["layers"]), 0)
    is_door = np.array([name in NETWORK_MEMORIES for name in names])
    return {
        "units": table(
            "units", id=np.arange(n_units), name=[f"unit{i}" for i in range(n_units)],
            kind=["storage"] + ["pe"] * (n_units - 1), x=np.arange(n_units), y=0,
        ),
        "memories": table(
            "memories", id=np.arange(n), name=list(names), unit_kind="node",
            bytes=np.where(is_door, 0, BYTES), word_bytes=1, banks=1,
            bank_bytes=np.where(is_door, 0, BYTES), read_ports=ports, write_ports=ports,
            read_byte_pj=1.0, write_byte_pj=1.0,
        ),
        "causes": table("causes", id=[0], name="executed", is_busy=1, is_idle=0),
        "streams": table("streams", id=[0], name="any", doc="Any."),
        "layers": table("layers", **zero | {"name": "layer", "op": "Any", "mode": "masks",
                                            "tile": "", "output": "out"}),
    }  # fmt: skip


def add_segment(writer, cycle0, cycle1, counted, n_units=UNITS):
    """Add a segment and its counters: {(unit, memory, op): (count, bytes)}."""
    number = writer.rows("segments")
    row = np.zeros(1, dtype_of("segments"))
    row["frame"], row["cycle0"], row["cycle1"] = number, cycle0, cycle1
    writer.append("segments", row)
    rows = [(number, *at, *counted[at]) for at in sorted(counted)]
    writer.append("counters", np.array(rows, dtype_of("counters")))
    slots = [(number, pe, 0, MULTIPLIERS * (cycle1 - cycle0)) for pe in range(1, n_units)]
    writer.append("slots", np.array(slots, dtype_of("slots")))


def add_patterns(writer, patterns):
    """Append patterns of (period, items); return the number of the first."""
    first = writer.rows("patterns/period")
    edge = writer.rows("patterns/items") + np.cumsum([len(items) for _, items in patterns])
    before = [] if writer.rows("patterns/first") else [0]
    writer.append("patterns/first", np.array([*before, *edge], "<u4"))
    writer.append("patterns/period", np.array([period for period, _ in patterns], "<u4"))
    items = np.zeros(sum(len(items) for _, items in patterns), dtype_of("patterns/items"))
    for row, item in zip(items, (item for _, items in patterns for item in items), strict=True):
        for name, value in {"count": 1, **item}.items():
            row[name] = value
    writer.append("patterns/items", items)
    return first


def add_runs(writer, runs):
    """Append runs of entries (kind, a, b); return the number of the first."""
    before = [] if writer.rows("runs/first") else [0]
    first = max(0, writer.rows("runs/first") - 1)
    edge = writer.rows("runs/kind") + np.cumsum([len(run) for run in runs], dtype=int)
    writer.append("runs/first", np.array([*before, *edge], "<u4"))
    entries = np.array([entry for run in runs for entry in run], "<u4").reshape(-1, 3)
    for name, values in zip("kind a b".split(), entries.T, strict=True):
        writer.append(f"runs/{name}", values.copy())
    return first


# ---- random lists


class Set:
    """A mask set: bits, and where its windows and sections lie."""

    def __init__(self, rng, lanes, sections, bits):
        windows = int(rng.integers(1, 6))
        self.lanes, self.sections, self.bits, self.windows = lanes, sections, bits, windows
        shape = windows, lanes, sections * bits
        self.is_set = rng.random(shape) < rng.choice([0.05, 0.3, 0.7, 1.0])
        self.address, self.section = rng.integers(0, 99, windows), rng.integers(0, 99, sections)

    def write(self, writer):
        self.number = writer.masks.add(
            pack(self.is_set), self.sections, self.bits, self.address, self.section
        )

    def place(self, window, lane, position):
        """Return the bytes at which a position of a lane lies."""
        lane = lane if self.lanes > 1 else 0
        begin = position // self.bits * self.bits
        rank = int(self.is_set[window, lane, begin:position].sum())
        return int(self.address[window]) + int(self.section[position // self.bits]) + rank


def random_sets(rng):
    """Return two sets of equally many positions."""
    positions = int(rng.choice([1, 6, 36, 63, 64, 65, 128, 130, 192, 200]))
    divisors = [n for n in range(1, positions + 1) if positions % n == 0]
    lanes = int(rng.integers(1, 5))
    some = [lanes, int(rng.choice([1, lanes]))]
    rng.shuffle(some)
    return [
        Set(rng, of, bits, positions // bits)
        for of, bits in zip(some, rng.choice(divisors, 2), strict=True)
    ]


def random_item(rng, size, many=False):
    item = {
        "memory": int(rng.integers(0, 3)), "op": int(rng.integers(0, 2)), "size": size,
        "cycle": int(rng.integers(-3, 8)), "address": int(rng.integers(0, 50)),
        "a_step": int(rng.integers(-3, 9)), "b_step": int(rng.integers(-3, 9)),
        "address_step": int(rng.integers(0, 9)), "cycle_step": int(rng.integers(0, 3)),
    }  # fmt: skip
    return item | ({"count": int(rng.integers(1, 4))} if many else {})


def random_patterns(rng):
    """Return four patterns for entries, four for spans, four for masks, and one of an access."""
    made = []
    for number in range(12):
        size, n = int(rng.integers(1, 9)), int(rng.integers(0, 4))
        if 4 <= number < 8:
            n = max(n, 1)
        items = [random_item(rng, size, many=number < 4) for _ in range(n)]
        made.append((int(rng.integers(0, 4)), items))
    only = {"memory": 0, "op": 0, "size": 1, "cycle": 0, "address": 0, "a_step": 0, "b_step": 0}
    return [*made, (1, [only | {"address_step": 0, "cycle_step": 0}])]


def random_column(rng, n, low, high):
    """Return a column: an array, or a number for all rows."""
    if rng.random() < 0.4:
        return int(rng.integers(low, high + 1))
    return rng.integers(low, high + 1, n)


def plain_list():
    """Return a list with an access in each of more rows than others have."""
    n = 8
    rule = {"walks": 0, "queues": 0, "lag": 0, "least": 1, "step": 1, "run_step": 0, "empty": 0}
    return {
        "walk": Walk.ENTRY, "rows": n, "leader": -1, "units": [1], "slack": np.zeros((1, n), int),
        "base_offset": np.zeros(1, int), "ahead": np.zeros(1, int), "queues": 0, "lag": 0,
        "rule": rule | {"modulo": 0}, "columns": {"pattern": 12, "base": BASE},
    }  # fmt: skip


def random_list(rng, before, sets):
    """Return a list that may follow one before."""
    one = {"walk": Walk(int(rng.integers(0, 4))), "rows": int(rng.integers(1, 7)), "leader": -1}
    one["units"] = sorted(
        rng.choice(UNITS, int(rng.integers(1, UNITS + 1)), replace=False).tolist()
    )
    columns = {"base": random_column(rng, one["rows"], BASE, BASE + 999)}
    one["queues"] = one["lag"] = 0
    if before and rng.random() < 0.6:
        one["leader"] = int(rng.integers(0, len(before)))
        leader = before[one["leader"]]
        one["queues"], one["lag"] = int(rng.integers(0, 2)), int(rng.integers(0, 5))
        if rng.random() < 0.5:
            columns["of"] = np.sort(rng.integers(0, leader["rows"], one["rows"]))
        else:
            one["rows"] = min(one["rows"], leader["rows"])
            columns = {"base": random_column(rng, one["rows"], BASE, BASE + 999)}
        if rng.random() < 0.3:
            del columns["base"]
    of = slice(4 * min(2, max(0, one["walk"] - 1)), None)
    n = one["rows"]
    if one["walk"] == Walk.MASKS:
        one["sets"] = sets[int(rng.integers(0, len(sets)))]
        columns["pattern"] = 8
        for letter, mask in zip("ab", one["sets"], strict=True):
            first = random_column(rng, n, 0, mask.windows)
            columns[f"window_{letter}"] = first
            many = rng.integers(0, mask.windows - np.broadcast_to(first, n) + 1)
            columns[f"windows_{letter}"] = many if isinstance(first, np.ndarray) else int(many[0])
    else:
        columns["pattern"] = of.start + random_column(rng, n, 0, 3)
        columns["run"] = random_column(rng, n, -1, 2) if rng.random() < 0.7 else np.full(n, -1)
        if one["walk"] == Walk.RUN:
            columns["pattern"] = random_column(rng, n, 0, 1)
    if one["walk"] == Walk.SPAN and (rng.random() < 0.8 or one["leader"] < 0):
        columns["span"] = random_column(rng, n, 0, 40)
    slack = rng.integers(0, 9, (len(one["units"]), n)) * (rng.random() < 0.7)
    one["slack"] = slack if one["leader"] < 0 or one["queues"] else np.sort(slack, axis=1)
    one["base_offset"] = rng.integers(0, 999, len(one["units"]))
    one["ahead"] = rng.integers(0, 3, len(one["units"]))
    one["rule"] = {
        "walks": int(one["walk"]), "queues": one["queues"], "lag": one["lag"],
        "least": int(rng.integers(0, 5)), "step": int(rng.integers(0, 9)),
        "run_step": int(rng.integers(0, 9)), "empty": int(rng.integers(0, 3)),
        "modulo": int(rng.choice([0, 0, 1024, 1000])),
    }  # fmt: skip
    one["columns"] = columns
    return one


class Case:
    """Lists of some segments, and what the naive expansion says of them."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.segments = []
        for _ in range(int(rng.integers(1, 3))):
            sets = [random_sets(rng) for _ in range(int(rng.integers(1, 3)))]
            lists = [plain_list()]
            for _ in range(int(rng.integers(1, 5))):
                lists.append(random_list(rng, lists, sets))
            runs = [
                [tuple(rng.integers(0, (3, 9, 9)).tolist()) for _ in range(rng.integers(0, 4))]
                for _ in range(3)
            ]
            self.segments.append((sets, lists, random_patterns(rng), runs))
        self.begins, self.accesses, begin = [], [], 17
        for number, segment in enumerate(self.segments):
            found = naive(segment, begin)
            lowest = min((access[0] for access in found), default=begin)
            shift = max(0, begin - lowest)  # items may come before their rows
            found = naive(segment, begin + shift)
            end = max([begin + 1, *(access[0] + 1 for access in found)])
            end = max(end, latest(segment, begin + shift) + 1)
            self.begins.append((begin, end, shift))
            self.accesses += [(number, *access) for access in found]
            begin = end

    def write(self, path, commit=lambda writer: None, resume=False):
        """Write the trace; ``commit`` is called after each segment."""
        writer = TraceWriter(path, attributes(frames=len(self.segments)), resume=resume)
        if not resume:
            for name, rows in shared_tables().items():
                writer.append(name, rows)
        for number in range(writer.rows("segments"), len(self.segments)):
            segment, (begin, end, shift) = self.segments[number], self.begins[number]
            counted = {}
            for _, _, unit, memory, op, _, size in (a for a in self.accesses if a[0] == number):
                n, total = counted.get((unit, memory, op), (0, 0))
                counted[unit, memory, op] = n + 1, total + size
            write_segment(writer, segment, shift)
            add_segment(writer, begin, end, counted)
            commit(writer)
        writer.finish({})


def write_segment(writer, segment, shift):
    """Append a segment's sets, patterns, runs and lists; rows begin ``shift`` cycles later."""
    sets, all_lists, patterns, runs = segment
    for both in sets:
        for one in both:
            one.write(writer)
    first, first_run = add_patterns(writer, patterns), add_runs(writer, runs)
    lists, first_list = writer.lists(writer.rows("segments")), writer.rows("lists")
    for one in all_lists:
        masks = [mask.number for mask in one.get("sets", [])] or [-1, -1]
        rule = Rule(**one["rule"], pattern_offset=first, mask_a=masks[0], mask_b=masks[1])
        leads = one["leader"] < 0
        slack = one["slack"].copy()
        slack[:, 0] += shift if leads else 0
        lists.add(
            0, one["units"], one["rows"], rule, one["columns"], slack,
            -1 if leads else first_list + one["leader"],
            {"base_offset": one["base_offset"], "ahead": one["ahead"], "run_offset": first_run},
        )  # fmt: skip


# ---- the naive expansion


def column(lists, one, name):
    """Return a column of a list as a list of numbers."""
    values = one["columns"].get(name)
    if values is not None:
        return np.broadcast_to(values, one["rows"]).tolist()
    if name == "of":
        return list(range(one["rows"]))
    if one["leader"] < 0:
        return [COLUMNS[name]] * one["rows"]
    leader = column(lists, lists[one["leader"]], name)
    return [leader[row] for row in column(lists, one, "of")]


def windows_of(one, columns, row):
    """Yield (cycles before, ia, ib, window of A, of B, pairs of each lane) of a row of masks."""
    a, b = one["sets"]
    spent = 0
    for ib, ia in product(range(columns["windows_b"][row]), range(columns["windows_a"][row])):
        wa, wb = columns["window_a"][row] + ia, columns["window_b"][row] + ib
        pairs = []
        for lane in range(max(a.lanes, b.lanes)):
            in_a = a.is_set[wa, lane if a.lanes > 1 else 0]
            in_b = b.is_set[wb, lane if b.lanes > 1 else 0]
            pairs.append([p for p in range(a.sections * a.bits) if in_a[p] and in_b[p]])
        yield spent, ia, ib, wa, wb, pairs
        spent += max(map(len, pairs)) or one["rule"]["empty"]
    yield spent, 0, 0, 0, 0, None


def entries_of(one, columns, row, patterns, runs):
    """Return the entries (kind, a, b, lane, cycle, bytes left) of a row, and its cycles."""
    found, cycle, p = [], 0, columns["pattern"][row]
    if one["walk"] == Walk.ENTRY:
        return [(0, 0, 0, 0, 0, 999)], patterns[p][0]
    if one["walk"] == Walk.RUN:
        for kind, a, b in runs[columns["run"][row]] if columns["run"][row] >= 0 else []:
            found.append((kind, a, b, 0, cycle, 999))
            cycle += patterns[p + kind][0]
        return found, cycle
    if one["walk"] == Walk.SPAN:
        left = columns["span"][row]
        while left > 0:
            found.append((0, len(found), 0, 0, cycle, left))
            left -= patterns[p][1][0]["size"]
            cycle += patterns[p][0]
        return found, cycle
    a, b = one["sets"]
    for spent, ia, ib, wa, wb, pairs in windows_of(one, columns, row):
        if pairs is None:
            return found, spent
        most = max(map(len, pairs))
        longest = [len(lane) for lane in pairs].index(most)
        if most or one["rule"]["empty"]:
            found.append((1, ia, ib, 0, spent, 999))
        for lane, positions in enumerate(pairs):
            for i, position in enumerate(positions):
                at = a.place(wa, lane, position), b.place(wb, lane, position)
                found.append((0, *at, lane, spent + i, 999))
                if lane == longest:
                    found.append((3, *at, lane, spent + i, 999))
        if most:
            found.append((2, ia, ib, 0, spent + most - 1, 999))
    raise AssertionError


def gone_through(segment, begin):
    """Yield (list, columns, member, row, start, entries, cycles) of all rows."""
    _, lists, patterns, runs = segment
    starts = {}
    for number, one in enumerate(lists):
        columns = {name: column(lists, one, name) for name in COLUMNS}
        for member, unit in enumerate(one["units"]):
            free, mine = begin, []
            for row in range(one["rows"]):
                entries, cycles = entries_of(one, columns, row, patterns, runs)
                if one["leader"] < 0:
                    start = free
                else:
                    of = starts[one["leader"]]
                    leader = of.get(unit, next(iter(of.values())))
                    at = min(columns["of"][row] + int(one["ahead"][member]), len(leader) - 1)
                    start = leader[at] + one["lag"]
                    start = max(start, free) if one["queues"] else start
                start += int(one["slack"][member, row])
                free = start + max(cycles, one["rule"]["least"])
                mine.append(start)
                yield one, columns, member, row, start, entries, cycles
            starts.setdefault(number, {})[unit] = mine


def latest(segment, begin):
    """Return the last cycle in which a row begins."""
    return max(start for *_, start, _, _ in gone_through(segment, begin))


def naive(segment, begin):
    """Return (cycle, unit, memory, op, address, size) of all accesses."""
    patterns, found = segment[2], []
    for one, columns, member, row, start, entries, _ in gone_through(segment, begin):
        rule = one["rule"]
        base = columns["base"][row] + rule["step"] * columns["of"][row]
        base += rule["run_step"] * columns["run"][row] + int(one["base_offset"][member])
        for kind, a, b, lane, cycle, left in entries:
            for item in patterns[columns["pattern"][row] + kind][1]:
                for k in range(item.get("count", 1)):
                    address = base + item["address"] + a * item["a_step"] + b * item["b_step"]
                    address += (lane + k) * item["address_step"]
                    address = address % rule["modulo"] if rule["modulo"] else address
                    when = start + cycle + item["cycle"] + k * item["cycle_step"]
                    size = min(item["size"], left)
                    where = one["units"][member], item["memory"], item["op"]
                    found.append((when, *where, address, size))
    return found


# ---- laws


def read(trace, **selection):
    found = []
    for block in trace.accesses(**selection):
        found += zip(*(block[name].tolist() for name in FIELDS), strict=True)
    return found


def by_the_page(path):
    from test_traces_page import by_the_page

    return by_the_page(path)


@pytest.fixture(params=[(1 << 18, 16), (16, 1)], ids=["large blocks", "small blocks"])
def sizes(request):
    """Let blocks be as they are, or so small that they end everywhere."""
    block, window = request.param
    with (
        mock.patch.object(members, "BLOCK", block),
        mock.patch.object(blocks, "BLOCK", block),
        mock.patch.object(long_rows, "BLOCK", block),
        mock.patch.object(blocks, "LEAST_WINDOW", window),
    ):
        yield


@often
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_random_spans_and_masks_are_read_as_they_are_expanded_naively(sizes, seed, data):
    case = Case(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        case.write(path)
        wanted = sorted(access[1:] for access in case.accesses)
        assert by_the_page(path) == sorted(case.accesses)
        with open_trace(path) as trace:
            assert verify(trace).problems == []
            in_cycles = read(trace)
            assert sorted(in_cycles) == wanted
            assert [a[:2] for a in in_cycles] == sorted(a[:2] for a in wanted)
            assert sorted(read(trace, order="storage")) == wanted
            first, end = sorted(data.draw(st.integers(0, trace.cycles + 9)) for _ in range(2))
            units = data.draw(st.sets(st.integers(0, UNITS - 1), min_size=1))
            memory = data.draw(st.sets(st.integers(0, 2), min_size=1))
            op = data.draw(st.sampled_from([0, 1]))
            some = [
                a for a in wanted
                if first <= a[0] < end and a[1] in units and a[2] in memory and a[3] == op
            ]  # fmt: skip
            for order in ("cycle", "storage"):
                selection = {"unit": sorted(units), "memory": sorted(memory), "op": op}
                assert sorted(read(trace, cycles=(first, end), order=order, **selection)) == some
