"""A layer of an array of PEs that work through masks: what is wrong with its trace is told."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_traces_damage import apart, change, memory, more, table
from test_traces_masks import (
    Case,
    add_patterns,
    add_runs,
    add_segment,
    attributes,
    shared_tables,
    write_segment,
)

import firemesh
from firemesh.traces.lists import Rule
from firemesh.traces.masks import MOST_BITS, pack
from firemesh.traces.opened import open_trace
from firemesh.traces.schema import NETWORK_MEMORIES, Walk
from firemesh.traces.verify import verify
from firemesh.traces.writer import TraceWriter

MEMORIES = ("rf_if", "rf_fl", "acc", "bitmap_if", "bitmap_fl", "rf_of", *NETWORK_MEMORIES)
LANES, SECTIONS, BITS, BLOCK = 8, 9, 4, 4
"""Kernel positions, channels of a lane at each, points and filters of a PE in a round."""
OVERHEAD, WORD = 2, 16


def item(memory, op, size, **steps):
    return {"memory": MEMORIES.index(memory), "op": op, "size": size, **steps}


PAIR = [
    item("rf_if", 0, 1, a_step=1, address_step=SECTIONS * BITS),
    item("rf_fl", 0, 1, b_step=1, address_step=SECTIONS * BITS),
    item("acc", 1, 4, address_step=4),
]
FIRST = [item("bitmap_if", 0, 36, a_step=36), item("bitmap_fl", 0, 36, b_step=36)]
LAST = [item("rf_of", 1, 4, a_step=4, b_step=4 * BLOCK)]


class Layer:
    """Rounds of an array of PEs: columns take points, rows take filters, slices go innermost."""

    def __init__(self, rng, rows, columns, points, filters, slices):
        self.rows, self.columns = rows, columns
        shape = LANES, SECTIONS * BITS
        self.activations = rng.random((slices * points, *shape)) < 0.5
        self.weights = rng.random((slices * filters, *shape)) < 0.25
        blocks = filters // (rows * BLOCK), points // (columns * BLOCK), slices
        of_filters, of_points, of_slices = np.indices(blocks).reshape(3, -1)
        self.rounds = len(of_slices)
        column, row = np.arange(columns)[:, None], np.arange(rows)[:, None]
        self.window_a = of_slices * points + (of_points * columns + column) * BLOCK
        self.window_b = of_slices * filters + (of_filters * rows + row) * BLOCK
        self._count()
        slowest = self.cycles.max(axis=(0, 1)) + OVERHEAD
        self.slack = np.zeros_like(self.cycles)
        self.slack[:, :, 1:] = (slowest - self.cycles)[:, :, :-1]
        self.end = int(slowest.sum())
        in_a, in_b = self.activations.sum(axis=(1, 2)), self.weights.sum(axis=(1, 2))
        self.bytes_if = sum(in_a[self.window_a + k] for k in range(BLOCK))
        self.bytes_fl = sum(in_b[self.window_b + k] for k in range(BLOCK))

    def _count(self):
        """Count pairs, cycles and windows with pairs of each round, each [row, column, round]."""
        self.pairs = np.zeros((self.rows, self.columns, self.rounds), int)
        self.cycles, self.filled = np.zeros_like(self.pairs), np.zeros_like(self.pairs)
        a, b = pack(self.activations)[..., 0], pack(self.weights)[..., 0]
        for ia, ib, i in np.ndindex(BLOCK, BLOCK, self.rows):
            n = np.bitwise_count(a[self.window_a + ia] & b[self.window_b[i] + ib]).astype(int)
            self.pairs[i] += n.sum(axis=2)
            self.cycles[i] += n.max(axis=2)
            self.filled[i] += n.any(axis=2)

    @property
    def counted(self):
        """Accesses and bytes by unit, memory and op."""
        found = {}
        for i, j in np.ndindex(self.rows, self.columns):
            unit = 1 + i * self.columns + j
            times = {name: int(self.pairs[i, j].sum()) for name in ("rf_if", "rf_fl", "acc")}
            windows = int(self.filled[i, j].sum())
            times |= dict.fromkeys(("bitmap_if", "bitmap_fl", "rf_of"), windows)
            for one in PAIR + FIRST + LAST:
                n = times[MEMORIES[one["memory"]]]
                found[unit, one["memory"], one["op"]] = n, n * one["size"]
            for name, span in (("rf_if", self.bytes_if[j]), ("rf_fl", self.bytes_fl[i])):
                n = int((-(-span // WORD)).sum())
                found[unit, MEMORIES.index(name), 1] = n, int(span.sum())
        return found

    def write(self, path):
        """Write the trace; return its accesses."""
        n_units = 1 + self.rows * self.columns
        writer = TraceWriter(path, attributes(), force=True)
        for name, rows in shared_tables(n_units, 1, MEMORIES).items():
            if name == "memories":
                is_lane = np.isin(rows["name"], [b"rf_if", b"rf_fl", b"acc"])
                rows["read_ports"] = rows["write_ports"] = np.where(is_lane, LANES, 1)
            writer.append(name, rows)
        add_runs(writer, [])
        self._lists(writer)
        add_segment(writer, 0, self.end + 60, self.counted, n_units)
        writer.finish({})
        return sum(n for n, _ in self.counted.values())

    def _lists(self, writer):
        first = add_patterns(writer, [(0, PAIR), (0, FIRST), (0, LAST), (0, [])])
        words = [(1, [item(name, 1, WORD, a_step=WORD)]) for name in ("rf_if", "rf_fl")]
        loads, masks = add_patterns(writer, words), []
        for is_set in (self.activations, self.weights):
            address = np.arange(len(is_set)) % BLOCK * LANES * SECTIONS * BITS
            section = np.arange(SECTIONS) * BITS
            masks.append(writer.masks.add(pack(is_set), SECTIONS, BITS, address, section))
        lists, units = writer.lists(0), 1 + np.arange(self.rows * self.columns)
        leaders = lists.add_each(
            0, units, np.full(len(units), self.rounds),
            Rule(Walk.MASKS, mask_a=masks[0], mask_b=masks[1]),
            {
                "pattern": first, "windows_a": BLOCK, "windows_b": BLOCK,
                "window_a": np.tile(self.window_a, (self.rows, 1)).ravel(),
                "window_b": np.repeat(self.window_b, self.columns, axis=0).ravel(),
            },
            self.slack.reshape(-1),
        )  # fmt: skip
        grid = units.reshape(self.rows, self.columns)
        for pattern, spans, groups in ((0, self.bytes_if, grid.T), (1, self.bytes_fl, grid)):
            for span, group in zip(spans, groups, strict=True):
                columns, leader = {"pattern": loads + pattern, "span": span}, leaders[group[0] - 1]
                lists.add(0, group, self.rounds, Rule(Walk.SPAN), columns, None, leader)


def small(path):
    """Write the trace of a small layer."""
    layer = Layer(np.random.default_rng(3), 2, 2, 16, 16, 2)
    layer.write(path)
    return layer


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("layer") / "good.h5"
    small(path)
    return path


@pytest.fixture
def copied(good, tmp_path):
    return Path(shutil.copy(good, tmp_path / "run.h5"))


def test_the_layers_trace_agrees_with_what_was_counted(good):
    with open_trace(good) as trace:
        report = verify(trace)
        assert report.problems == []
        assert report.accesses == trace.counters(())["count"].sum()


# ---- planted errors


def lists_of(path, walk):
    return np.flatnonzero(table(path, "lists")["walks"] == walk)


def items_of(path, name):
    items = table(path, "patterns/items")
    return np.flatnonzero((items["memory"] == memory(path, name)) & (items["op"] == 0))


def plant_count(path):
    """Flip a bit of a count."""
    change(path, "counters", 3, "count", lambda count: count ^ 4)


def plant_bytes(path):
    change(path, "counters", 3, "bytes", lambda size: size ^ 1)


def plant_port(path):
    """Two words of the bitmaps are read in one cycle."""
    change(path, "patterns/items", items_of(path, "bitmap_if"), "memory", memory(path, "bitmap_fl"))


def plant_lanes(path):
    """All lanes read in a cycle, but only seven can."""
    change(path, "memories", memory(path, "rf_if"), "read_ports", LANES - 1)


def plant_bit(path):
    """A position more in a window: it is a pair, or another one's rank."""
    change(path, "masks/words", 0, "", lambda word: word ^ 8)


def plant_padding(path):
    change(path, "masks/words", 5, "", lambda word: word | np.uint64(1 << 63))


def plant_address(path):
    change(path, "masks/address", 0, "", -(1 << 40))


def plant_section(path):
    change(path, "masks/section", 2, "", 1 << 62)


def plant_window(path):
    change(path, "columns/window_a", 0, "", 1 << 20)


def plant_window_below(path):
    change(path, "columns/window_b", 0, "", -1)


def plant_windows(path):
    change(path, "lists", lists_of(path, Walk.MASKS)[0], "windows_a", -2 - 5000)


def plant_span(path):
    change(path, "columns/span", 0, "", more(1))


def plant_span_below(path):
    change(path, "columns/span", 0, "", -1)


def plant_span_size(path):
    """Words of a span differ."""
    change(path, "patterns/first", -2, "", lambda first: first - 1)


def plant_walk(path):
    change(path, "lists", 0, "walks", 4)


def plant_set(path):
    change(path, "lists", 0, "mask_b", 2)


def plant_no_set(path):
    change(path, "lists", 0, "mask_a", -1)


def plant_lengths(path):
    change(path, "masks/sets", 1, "bits", BITS - 1)


def plant_no_bits(path):
    change(path, "masks/sets", 0, "bits", 0)


def plant_too_many_bits(path):
    change(path, "masks/sets", 0, "bits", MOST_BITS)


def plant_set_lanes(path):
    change(path, "masks/sets", 1, "lanes", LANES - 2)


def plant_no_lanes(path):
    change(path, "masks/sets", 0, "lanes", 0)


def plant_set_windows(path):
    change(path, "masks/sets", 0, "windows", 2**32 - 1)


def plant_first_word(path):
    change(path, "masks/sets", 0, "first_word", 2**64 - 1)


def plant_first_address(path):
    change(path, "masks/sets", 1, "first_address", more(20))


def plant_first_section(path):
    change(path, "masks/sets", 1, "first_section", 2**63)


def plant_empty(path):
    """Windows without pairs take cycles: what comes after them is late."""
    change(path, "masks/words", slice(None), "", 0)


def plant_pattern(path):
    change(path, "lists", 0, "pattern_offset", 4)


def plant_item_count(path):
    change(path, "patterns/items", 0, "count", 2)


def plant_stall(path):
    """A stall of a row of masks."""
    change(path, "members", 0, "stalls", 1)
    with h5py.File(path, "r+") as file:
        file["stalls"].resize(1, axis=0)
        file["stalls"][0] = np.zeros(1, file["stalls"].dtype)[0]
        place = list(firemesh.traces.schema.TABLES).index("stalls")
        rows = file.attrs["rows"]
        rows[place] = 1
        file.attrs["rows"] = rows


def plant_kind(path):
    """Rows of masks as packets that are sent."""
    change(path, "lists", 0, "kind", -2)


PLANTED = {
    plant_count: "accesses in the lists",
    plant_bytes: "bytes in the lists",
    plant_port: "port",
    plant_lanes: "port",
    plant_bit: "counted",
    plant_padding: "beyond the last position",
    plant_address: "outside the memory",
    plant_section: "outside the memory",
    plant_window: "window_a",
    plant_window_below: "window_b",
    plant_windows: "windows_a",
    plant_span: "bytes in the lists",
    plant_span_below: "columns/span",
    plant_span_size: "spans",
    plant_walk: "walks",
    plant_set: "mask_b",
    plant_no_set: "mask_a",
    plant_lengths: "other lengths",
    plant_no_bits: "bits",
    plant_too_many_bits: "positions",
    plant_set_lanes: "lanes",
    plant_no_lanes: "lanes",
    plant_set_windows: "first_word",
    plant_first_word: "first_word",
    plant_first_address: "first_address",
    plant_first_section: "first_section",
    plant_empty: "accesses in the lists",
    plant_pattern: "patterns of masks",
    plant_item_count: "count",
    plant_stall: "stalls",
    plant_kind: "span or masks",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_verify_names_an_error_planted_in_spans_and_masks(copied, plant):
    plant(copied)
    problems = apart(copied)
    assert any(PLANTED[plant] in problem for problem in problems), problems


# ---- writing


@pytest.mark.parametrize("seed", range(4))
def test_sets_patterns_and_runs_of_later_commits_are_those_of_one(seed, tmp_path):
    case = Case(seed)
    case.write(tmp_path / "whole.h5")
    case.write(tmp_path / "parts.h5", commit=lambda writer: writer.commit({}))
    assert (tmp_path / "parts.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_what_was_not_committed_is_not_read_and_is_written_again_on_resume(tmp_path):
    case = next(case for case in map(Case, range(99)) if len(case.segments) == 2)
    path, whole = tmp_path / "run.h5", tmp_path / "whole.h5"
    case.write(whole)

    def stop(writer):
        if writer.rows("segments") == 1:
            writer.commit({})
        else:  # killed before its second commit
            writer.abandon()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.write(path, commit=stop)
    with open_trace(path) as trace:
        assert len(trace.segments) == 1
        found = sum(len(block) for block in trace.accesses())
        assert found == sum(access[0] == 0 for access in case.accesses)
    case.write(path, resume=True)
    assert path.read_bytes() == whole.read_bytes()


def test_a_window_that_is_too_large_is_refused_with_the_way_out(tmp_path):
    writer = TraceWriter(tmp_path / "run.h5", attributes())
    words = np.zeros((1, 1, MOST_BITS // 64 + 1), np.uint64)
    with pytest.raises(firemesh.TraceError, match="cut the layer into smaller blocks"):
        writer.masks.add(words, 1, MOST_BITS + 64)
    with pytest.raises(ValueError, match=r"words: must be windows x lanes x 2, got \(1, 3\)"):
        writer.masks.add(np.zeros((1, 3), np.uint64), 1, 65)
    writer.abandon()


def test_psums_of_a_layer_that_is_not_of_mode_mnf_are_refused_in_a_sentence(tmp_path):
    case, path = Case(0), tmp_path / "run.h5"
    writer = TraceWriter(path, attributes(values=True))
    for name, rows in shared_tables().items():
        writer.append(name, rows)
    write_segment(writer, case.segments[0], 0)
    add_segment(writer, 0, 1, {})
    writer.finish({})
    with open_trace(path) as trace:
        with pytest.raises(firemesh.TraceError, match="is of mode masks; name a layer of mode mnf"):
            next(trace.psums("layer", 1))
