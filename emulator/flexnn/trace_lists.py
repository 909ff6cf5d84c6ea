"""The lists that a layer on the array adds to a trace: what units did, round after round.

Lists are made for some rounds at a time, so that memory stays bounded; all of them count from the
segment's first cycle.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.lists import Lists, Rule
from ...traces.schema import Walk
from ..kinds import Memory
from ..patterns import READ, WRITE, Item
from ..run_trace import Records
from ..streams import Stream
from .addresses import (
    file_layout,
    fl_offset,
    if_offset,
    of_offset,
    sram_layout,
)
from .dims import OF_DIMS, Dim
from .engine import LayerRun
from .mask_sets import MaskSet, add_sets
from .mesh_lists import MeshLists
from .moves import Moves, moves
from .segment_patterns import SegmentPatterns
from .timeline import Mark
from .transfers import transfers
from .window_rows import Grid, window_rows
from .wires import Load

Ints = NDArray[np.int64]
N_SPANS = 6
IF, IF_BITS, FL, FL_BITS, PSUM, LEAVE = range(N_SPANS)
"""Columns of the bytes that a VPE writes and gives back; see `transfers`."""


class ArrayLists:
    """Adds what a layer on the array did.

    Parameters
    ----------
    run : LayerRun
        With starts.
    lists : Lists
        Of the segment.
    records : Records
    regions : (int, int, int)
        First bytes in DRAM of ifmap, weights and ofmap.
    """

    def __init__(
        self, run: LayerRun, lists: Lists, records: Records, regions: tuple[int, int, int]
    ) -> None:
        self._run, self._lists, self._records = run, lists, records
        self._regions = regions
        self._cut, self._machine = run.layer.cut, run.layer.machine
        self._patterns = SegmentPatterns(records)
        self._files = file_layout(self._cut, self._machine)
        self._sram = sram_layout(self._cut)
        self._version = np.full(3, -1, np.int64)
        is_mesh = self._machine.sdn.kind == "mesh"
        self.mesh = MeshLists(run, lists, self._patterns) if is_mesh else None

    def make(self) -> None:
        """Add all lists."""
        run, layer = self._run, self._run.layer
        self._jobs()
        sets, key, place = add_sets(run, self._files, self._records.masks)
        bases = [self._window_patterns(found) for found in sets]
        grid = Grid(
            layer.wires.sizes, layer.wires.block, layer.places.vpe, run.domain, key, place,
            self._machine.array.lanes, int(self._cut.descriptor.lanes == "mxm"),
        )  # fmt: skip
        leaves_before = True
        for what in moves(layer):
            changed = np.concatenate([[leaves_before], what.leaves[:-1] > 0])
            leaves_before = bool(what.leaves[-1] > 0)
            version = self._versions(what, changed)
            self._transfers(what, version)
            self._windows(what, version, grid, sets, bases)
            if self.mesh:
                self.mesh.add(what)

    def _versions(self, what: Moves, changed: NDArray[np.bool_]) -> Ints:
        """Return int64[n, 3]: halves that IF, FL and OF are in."""
        new = np.stack([what.what[:, 0], what.what[:, 1], changed], axis=1).astype(np.int64)
        version = self._version + np.cumsum(new, axis=0)
        self._version = version[-1]
        half: Ints = version & 1
        return half

    # ---- between SRAM and register files

    def _transfers(self, what: Moves, version: Ints) -> None:
        layer, machine, rounds = self._run.layer, self._machine, what.rounds
        n, n_vpes = len(rounds), machine.array.n_vpes
        spans = np.zeros((n, n_vpes, N_SPANS), np.int32)
        loads = np.zeros((n, len(Load)), np.int64)
        count = np.zeros((n_vpes, len(Memory), 2), np.int64)
        transfers(
            layer.wires, layer.x, rounds.low, rounds.high, what.what, what.leaves,
            4 * machine.sdn.drain_bytes, count, np.zeros_like(count), loads, spans,
        )  # fmt: skip
        at = slice(rounds.first, rounds.first + n)
        marks = self._run.marks[at]
        self._operands(what, loads, marks, spans, version)
        self._results(what, loads, self._run.loads[at, Load.TREE], marks, spans, version)

    def _operands(
        self, what: Moves, loads: Ints, marks: Ints, spans: NDArray[np.int32], version: Ints
    ) -> None:
        """Add what SRAM gives, and what VPEs write of it."""
        low, sram, word = what.rounds.low, self._sram, self._machine.sram.read_bytes
        tiles = self._run.layer.loops.tiles[what.rounds.tile, 0]
        half = self._tile_halves()[what.rounds.tile]
        offset = (
            if_offset(self._cut, low, tiles),
            fl_offset(self._cut, low, tiles),
            4 * of_offset(self._cut, self._cut.tile, low - tiles),
        )
        begin = marks[:, Mark.BEGIN].copy()
        for which, columns in ((0, (IF, IF_BITS)), (1, (FL, FL_BITS)), (2, (PSUM,))):
            rows = np.flatnonzero(what.what[:, which])
            if not len(rows):
                continue
            size = loads[rows, which]
            address = sram.place(which, half[rows, which], offset[which][rows], size)
            self._spans(
                Stream.OPERAND_READ, [0], begin[rows], size, address,
                [Item(Memory.STORAGE, READ, word, a_step=word)],
            )  # fmt: skip
            begin[rows] += -(-size // word)
            for column in columns:
                self._file_writes(column, rows, marks, spans, version[:, which])

    def _file_writes(
        self, column: int, rows: Ints, marks: Ints, spans: NDArray[np.int32], half: Ints
    ) -> None:
        """Add what VPEs write of a load, one list for those that write the same."""
        memory, stream = {
            IF: (Memory.RF_IF, Stream.OPERAND_WRITE),
            IF_BITS: (Memory.BITMAP_IF, Stream.BITMAP_WRITE),
            FL: (Memory.RF_FL, Stream.OPERAND_WRITE),
            FL_BITS: (Memory.BITMAP_FL, Stream.BITMAP_WRITE),
            PSUM: (Memory.RF_OF, Stream.PSUM_RETURN),
        }[column]
        word = self._machine.sdn.column_bytes
        items = [Item(memory, WRITE, word, a_step=word), *self._bus(word)]
        size = np.ascontiguousarray(spans[rows, :, column].T)
        for units, of_units in _groups(size):
            held = np.flatnonzero(of_units)
            if not len(held):
                continue
            self._spans(
                stream, units + 1, marks[rows[held], Mark.BEGIN], of_units[held],
                half[rows[held]] * self._half(memory), items,
            )  # fmt: skip

    def _bus(self, word: int) -> list[Item]:
        """Return what a unit takes from a bus; nothing on the mesh, which carries packets."""
        return [] if self.mesh else [Item(Memory.BUS, READ, word, a_step=word)]

    def _half(self, memory: Memory) -> int:
        """Return the bytes from a memory's first half to its second."""
        files, lanes = self._files, self._machine.array.lanes
        is_mxm = self._cut.descriptor.lanes == "mxm"
        if_bytes = files.if_half * (1 if is_mxm else lanes)
        return {
            Memory.RF_IF: if_bytes,
            Memory.RF_FL: files.fl_half * lanes,
            Memory.RF_OF: files.of_half,
            Memory.BITMAP_IF: -(-if_bytes // 8),
            Memory.BITMAP_FL: -(-files.fl_half * lanes // 8),
        }[memory]

    def _results(
        self, what: Moves, loads: Ints, tree: Ints, marks: Ints, spans: NDArray[np.int32],
        version: Ints,
    ) -> None:  # fmt: skip
        """Add psums that leave VPEs, and what SRAM takes."""
        rows = np.flatnonzero(what.leaves)
        if not len(rows):
            return
        machine, cut = self._machine, self._cut
        word = 4 * machine.sdn.drain_bytes
        size = np.ascontiguousarray(spans[rows, :, LEAVE].T)
        for units, of_units in _groups(size):
            held = np.flatnonzero(of_units)
            for is_head in (False, True):
                some = units[self._run.layer.places.is_head[units] == is_head]
                if not len(held) or not len(some):
                    continue
                items = [Item(Memory.RF_OF, READ, word, a_step=word)]
                items += [] if is_head else [Item(Memory.BUS, WRITE, word, a_step=word)]
                at = rows[held]
                self._spans(
                    Stream.PSUM_LEAVE, some + 1, marks[at, Mark.LEAVE], of_units[held],
                    version[at, 2] * self._half(Memory.RF_OF), items,
                )  # fmt: skip
        low, tile = what.rounds.low[rows], what.rounds.tile[rows]
        width = what.leaves[rows].astype(np.int64)
        points = of_offset(cut, cut.tile, low - self._run.layer.loops.tiles[tile, 0])
        half = self._tile_halves()[tile, 2]
        drained, word = loads[rows, Load.DRAINED], machine.sram.write_bytes
        address = self._sram.place(2, half, width * points, drained)
        self._spans(
            Stream.RESULT_WRITE, [0], marks[rows, Mark.LEAVE] + tree[rows], drained, address,
            [Item(Memory.STORAGE, WRITE, word, a_step=word), *self._bus(word)],
        )  # fmt: skip

    def _tile_halves(self) -> Ints:
        """Return int64[t, 3]: the half of SRAM in which each tile's IF, FL and OF lie."""
        tiles = self._run.layer.loops.tiles
        read = self._run.jobs.read[:-1] > 0
        of = tiles[:, :, list(OF_DIMS)].reshape(len(tiles), -1)
        changed = np.ones(len(tiles), bool)
        changed[1:] = (of[1:] != of[:-1]).any(axis=1)
        version = np.cumsum(np.column_stack([read, changed]), axis=0) - 1
        if len(tiles) == 1:
            version[:] = 0
        half: Ints = np.maximum(version, 0) & 1
        return half

    def _spans(
        self, stream: Stream, units: Any, start: Ints, size: NDArray[Any], address: Any,
        items: Sequence[Item],
    ) -> int:  # fmt: skip
        """Add a list of bursts of bytes, each from its own cycle on."""
        word = items[0].size
        pattern = self._patterns.add(items)
        size = size.astype(np.int64)
        end = start + -(-size // word)
        slack = start.copy()
        slack[1:] -= end[:-1]
        return self._lists.add(
            stream, units, len(start), Rule(walks=Walk.SPAN),
            {"span": size, "base": np.asarray(address, np.int64), "pattern": pattern},
            np.broadcast_to(slack, (len(units), len(start))),
        )  # fmt: skip

    # ---- windows

    def _window_patterns(self, found: MaskSet) -> int:
        """Add the patterns of windows; return the first one's number."""
        cut, files, lanes = self._cut, self._files, self._machine.array.lanes
        is_mxm, x = cut.descriptor.lanes == "mxm", self._run.layer.x
        points = cut.block[Dim.N] * cut.block[Dim.OY] * cut.block[Dim.OX]
        wide = 4 * lanes if is_mxm else 4
        n_oc = cut.layer.sizes[Dim.OC] % lanes or lanes
        bits_if = -(-found.positions * (1 if is_mxm else lanes) // 8)
        bits_fl = -(-found.positions * lanes // 8)
        patterns: list[list[Item]] = []
        for group in range(cut.block[Dim.G]):
            of_group = group * files.of_half // cut.block[Dim.G]
            for part in range(2):
                size = 4 * n_oc if is_mxm and part == 1 else wide
                for half in range(8):
                    at_if, at_fl, at_of = (
                        (half >> bit & 1) * step
                        for bit, step in enumerate((files.if_half, files.fl_half, files.of_half))
                    )
                    read_if = Item(
                        Memory.RF_IF, READ, 1, address=at_if, a_step=1,
                        address_step=0 if is_mxm else files.lane,
                    )  # fmt: skip
                    pair = [
                        Item(
                            Memory.RF_FL, READ, 1, address=at_fl, b_step=1, address_step=files.lane
                        ),
                        Item(Memory.ACC, WRITE, 4, address_step=4),
                    ]
                    bitmaps = []
                    if x.skips_if:
                        base = (half & 1) * self._half(Memory.BITMAP_IF)
                        bitmaps.append(Item(Memory.BITMAP_IF, READ, bits_if, address=base))
                    if x.skips_fl:
                        base = (half >> 1 & 1) * self._half(Memory.BITMAP_FL)
                        bitmaps.append(Item(Memory.BITMAP_FL, READ, bits_fl, address=base))
                    last = Item(
                        Memory.RF_OF, WRITE, size, address=at_of + of_group, a_step=wide,
                        b_step=wide * points,
                    )  # fmt: skip
                    patterns += [
                        pair if is_mxm else [read_if, *pair],
                        bitmaps,
                        [last],
                        [read_if] if is_mxm else [],
                    ]
        return self._patterns.append(patterns)

    def _windows(
        self, what: Moves, version: Ints, grid: Grid, sets: list[MaskSet], bases: list[int]
    ) -> None:
        """Add the rows of every VPE: one list for each shape of its reduction blocks."""
        run, rounds = self._run, what.rounds
        at = slice(rounds.first, rounds.first + len(rounds))
        start, taken = run.start[at], run.each[at]
        room = np.empty((6, len(rounds) * self._cut.block[Dim.G] * 2), np.int64)
        box, used = np.zeros((2, 8), np.int64), np.flatnonzero(run.layer.places.is_used)
        empty = self._machine.sparsity.empty_window_cycles
        for key, found in enumerate(sets):
            columns, units, counts = [], [], []
            for v in used:
                n = window_rows(
                    grid, int(v), key, rounds.low, rounds.high, start, taken, version, box,
                    np.zeros(1, np.int64), room,
                )  # fmt: skip
                if n:
                    columns.append(room[:, :n].copy())
                    units.append(v + 1)
                    counts.append(n)
            if not counts:
                continue
            slack, a, n_a, b, n_b, pattern = np.concatenate(columns, axis=1)
            self._lists.add_each(
                Stream.WINDOWS, np.array(units), np.array(counts),
                Rule(walks=Walk.MASKS, mask_a=found.a, mask_b=found.b, empty=empty,
                     pattern_offset=bases[key]),
                {"window_a": a, "windows_a": n_a, "window_b": b, "windows_b": n_b,
                 "pattern": pattern},
                slack,
            )  # fmt: skip

    # ---- DRAM

    def _jobs(self) -> None:
        """Add what comes from DRAM and goes to it, with SRAM's side."""
        run, cut = self._run, self._cut
        found, loops = run.jobs, run.layer.loops
        width, half = self._machine.dram.bytes_per_cycle, self._tile_halves()
        begin = run.filled - found.cycles
        whole = cut.layer.sizes
        zero = np.zeros(8, np.int64)
        for which in range(2):
            rows = np.flatnonzero(found.read[:-1, which])
            if not len(rows):
                continue
            low, size = loops.tiles[rows, 0], found.read[rows, which]
            whole_cut = cut.untiled
            offset = (if_offset, fl_offset)[which](whole_cut, low, zero)
            dram = self._regions[which] + offset
            sram = self._sram.base(which, half[rows, which])
            self._both(Stream.TILE_IN, begin[rows], size, dram, sram, READ)
            begin[rows] += -(-size // width)
        for job, (size, tiles) in enumerate(zip(found.written, found.tiles, strict=True)):
            if not len(size):
                continue
            words = -(-size // width)
            start = begin[job] + np.cumsum(words) - words
            low = loops.tiles[tiles, 0]
            dram = self._regions[2] + of_offset(cut, whole, low)
            sram = self._sram.base(2, half[tiles, 2])
            self._both(Stream.TILE_OUT, start, size, dram, sram, WRITE)

    def _both(
        self, stream: Stream, start: Ints, size: Ints, dram: Ints, sram: Any, op: int
    ) -> None:
        """Add bursts of DRAM, and SRAM's in the same cycles."""
        width = self._machine.dram.bytes_per_cycle
        sides = ((Memory.DRAM, op, dram), (Memory.STORAGE, 1 - op, sram))
        for memory, way, address in sides:
            self._spans(stream, [0], start, size, address, [Item(memory, way, width, a_step=width)])


def _groups(size: NDArray[Any]) -> list[tuple[Ints, NDArray[Any]]]:
    """Return rows [v, n] that are equal: which, and the row."""
    rows: dict[bytes, list[int]] = {}
    for v, row in enumerate(size):
        rows.setdefault(row.tobytes(), []).append(v)
    return [(np.array(units), size[units[0]]) for units in rows.values()]
