"""What the accesses of an event look like: patterns and runs of a layer, made once.

A row of a PE's load or psum list is one event. It walks the weight rows of the event's channel and
phase, the run; each row is an entry (with packed weights each weight is one, and then the row). An
entry's kind says which taps and filters it holds, the event's class where in the ofmap the event
falls: both together are the pattern, its accesses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...encoders.events import axis_reach
from ..kinds import Memory
from ..patterns import READ, WRITE, Item
from .machine import Machine
from .mapping import Mapping
from .patterns import Patterns, Runs
from .pe import INDEX_BYTES, PSUM_BYTES
from .rows import NO_SLOT, Rows
from .state import Event
from .steps import Block
from .waves import Wave

MAC_WRITE_CYCLES = 2


@dataclass(frozen=True)
class AxisClasses:
    """Along one axis, what events can be.

    Parameters
    ----------
    number : int64[ofmap, taps, jumps, phases]
        Class by first ofmap position, tap, jump and phase; -1 for what cannot be.
    example : int64[classes, 3]
        First ofmap position, tap and jump of one of each class.
    """

    number: NDArray[np.int64]
    example: NDArray[np.int64]


def axis_classes(mapping: Mapping, axis: int) -> AxisClasses:
    """Return the classes of events along one axis.

    Events of a class have tap, jump and phase in common, and the place of their first position in
    the tile, so that their psum words differ by an offset only.
    """
    window = mapping.shape.window
    size = (mapping.shape.height, mapping.shape.width)[axis]
    reach = axis_reach(np.arange(size), window, axis)
    low, jump, kernel = (part[reach.is_event] for part in (reach.low, reach.jump, reach.kernel))
    tap = kernel // window.kernel_step(axis)
    phase = kernel * window.dilations[axis] % window.strides[axis]
    period = 1 if mapping.is_linear else mapping.tile[axis]
    keys = np.stack([tap, jump, phase, low // window.ofmap_step(axis) % period], axis=1)
    if not len(keys):
        return AxisClasses(np.full((1, 1, 1, 1), -1), np.zeros((0, 3), np.int64))
    _, at, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    table = np.full((window.ofmap[axis], *(keys[:, :3].max(axis=0) + 1)), -1, np.int64)
    table[low, tap, jump, phase] = number.ravel()
    return AxisClasses(table, np.stack([low, tap, jump], axis=1)[at])


@dataclass(frozen=True)
class Touch:
    """An event, as far as patterns depend on it: first position, tap and jump, each (y, x)."""

    low: tuple[int, int]
    tap: tuple[int, int]
    jump: tuple[int, int]

    def position(self, mapping: Mapping, tap: tuple[int, int]) -> tuple[int, int] | None:
        """Return the ofmap position that meets a tap; None when the event does not touch it."""
        back = self.tap[0] - tap[0], self.tap[1] - tap[1]
        if tap[0] == NO_SLOT or not all(0 <= b <= j for b, j in zip(back, self.jump, strict=True)):
            return None
        window = mapping.shape.window
        return (
            self.low[0] + back[0] * window.ofmap_step(0),
            self.low[1] + back[1] * window.ofmap_step(1),
        )


@dataclass(frozen=True)
class Entries:
    """How a layer's weight rows become entries of runs.

    Parameters
    ----------
    kind, a, b : int64[n_entries]
    first_of_row : int64[n_rows + 1]
    positions : list
        By kind: its kernel positions as (tap, filter of the first lane, filters, byte in the row);
        None in place of a byte where ``a`` is the weight's.
    is_row : list of bool
        By kind: whether the entry is a whole row, which is read and takes a cycle.
    """

    kind: NDArray[np.int64]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    first_of_row: NDArray[np.int64]
    positions: list[list[tuple[tuple[int, int], int, int, int]]]
    is_row: list[bool]


def _kinds(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct rows of a matrix, and which of them each row is."""
    weights = np.random.default_rng(0).integers(1, 2**62, keys.shape[1]) | 1
    _, at, number = np.unique(keys @ weights, return_index=True, return_inverse=True)
    if (keys[at][number] == keys).all():
        return keys[at], number
    found, number = np.unique(keys, axis=0, return_inverse=True)
    return found, number.ravel()


def _row_numbers(block: Block, rows: Rows) -> NDArray[np.int64]:
    """Return int64[n_rows]: each row's number in its PE's weight SRAM."""
    n_rows = np.diff(rows.first)
    return np.arange(len(rows.place)) + np.repeat(block.row_base - rows.first[:-1], n_rows)


def _whole_rows(block: Block, rows: Rows) -> Entries:
    place, mapping = rows.place.astype(np.int64), block.mapping
    n, width = place.shape[:2]
    size = place[:, :1, 3]
    found, kind = _kinds(np.concatenate([place[:, :, :2].reshape(n, 2 * width), size], axis=1))
    positions = [
        [
            ((int(key[2 * i]), int(key[2 * i + 1])), 0, int(key[-1]), i * mapping.filters)
            for i in range(width)
            if key[2 * i] != NO_SLOT
        ]
        for key in found
    ]
    group = place[:, :, 2].max(axis=1) // mapping.filters
    a = _row_numbers(block, rows)
    return Entries(kind, a, group, np.arange(n + 1), positions, [True] * len(found))


def _single_weights(block: Block, rows: Rows, width: int) -> Entries:
    place, mapping = rows.place.astype(np.int64), block.mapping
    exists = place[:, :, 2] != NO_SLOT
    row, at = np.nonzero(exists)
    tap_y, tap_x, slot = place[row, at, :3].T
    found, kind = _kinds(np.stack([tap_y, tap_x, slot % mapping.filters], axis=1))
    positions = [[((int(y), int(x)), int(f), 1, 0)] for y, x, f in found]
    span = place[:, :, :2].max(initial=0) + 1
    tap = np.where(exists, place[:, :, 0] * span + place[:, :, 1], span * span)
    held = np.zeros((len(place), span * span + 1), np.int64)
    np.put_along_axis(held, tap, 1, axis=1)
    sets, set_of_row = _kinds(held[:, :-1])
    for key in sets:
        taps = [divmod(int(tap), int(span)) for tap in np.flatnonzero(key)]
        positions.append([((y, x), 0, 0, 0) for y, x in taps])
    number = _row_numbers(block, rows)
    n_weights = exists.sum(axis=1)
    first = np.concatenate([[0], np.cumsum(n_weights + 1)])
    columns = np.empty((3, first[-1]), np.int64)
    of_weight = first[row] + at
    columns[:, of_weight] = kind, number[row] * width + at, slot // mapping.filters
    columns[:, first[1:] - 1] = len(found) + set_of_row, number, np.zeros_like(number)
    is_row = [False] * len(found) + [True] * len(sets)
    kinds, a, b = columns
    return Entries(kinds, a, b, first, positions, is_row)


class BlockRuns:
    """Runs of a block of weights, which its waves share.

    Attributes
    ----------
    entries : Entries
    entry_of_row : int64[n_rows + 1]
    first_entry : int64[n_pointers + 1]
        First entry of each run of the block.
    run : int
        The first of the runs of each PE's (channel, phase), as ``rows.pointer``.
    n_kinds : int
    """

    def __init__(self, block: Block, rows: Rows, runs: Runs) -> None:
        pe = block.machine.pe
        if pe.weights == "ideal":
            self.entries = _single_weights(block, rows, pe.multipliers)
        else:
            self.entries = _whole_rows(block, rows)
        self.n_kinds = max(1, len(self.entries.positions))
        self.entry_of_row = self.entries.first_of_row
        self.first_entry = self.entry_of_row[rows.pointer]
        self.run = runs.add(self.first_entry, self.entries.kind, self.entries.a, self.entries.b)


class EventPatterns:
    """Patterns of a wave's events.

    Attributes
    ----------
    load, psum : int
        First pattern of the blocks [classes, kinds] of weight rows read and of psums.
    runs : BlockRuns
    """

    def __init__(self, wave: Wave, runs: BlockRuns, machine: Machine, patterns: Patterns) -> None:
        self.runs, self._mapping, self._pe = runs, wave.mapping, machine.pe
        self._axes = axis_classes(self._mapping, 0), axis_classes(self._mapping, 1)
        self._class, touches = self._classes()
        self.load = len(patterns.period)
        for touch in touches:
            for kind in range(runs.n_kinds):
                patterns.add(*self._load(touch, kind))
        self.psum = len(patterns.period)
        for touch in touches:
            for kind in range(runs.n_kinds):
                patterns.add(*self._psum(touch, kind))

    def _module(self, low_y: Any, low_x: Any) -> Any:
        """Return what of the first position's module its axes do not tell."""
        if not self._mapping.is_linear:
            return low_y * 0
        return self._mapping.place(low_y, low_x)[0]

    def _classes(self) -> tuple[NDArray[np.int64], list[Touch]]:
        """Return int64[y classes, x classes, modules] and an event of each class."""
        n_modules = self._pe.modules if self._mapping.is_linear else 1
        found = np.full((*(len(axis.example) for axis in self._axes), n_modules), -1, np.int64)
        touches: list[Touch] = []
        for y, row in enumerate(self._examples(0)):
            for x, column in enumerate(self._examples(1)):
                for low_y, tap_y, jump_y in row:
                    for low_x, tap_x, jump_x in column:
                        module = self._module(low_y, low_x)
                        if found[y, x, module] < 0:
                            found[y, x, module] = len(touches)
                            touches.append(Touch((low_y, low_x), (tap_y, tap_x), (jump_y, jump_x)))
        return found, touches

    def _examples(self, axis: int) -> list[list[tuple[int, int, int]]]:
        """Return events of each class of an axis; all of them where the module may differ."""
        classes = self._axes[axis]
        if not self._mapping.is_linear:
            return [[tuple(example)] for example in classes.example.tolist()]
        found: list[list[tuple[int, int, int]]] = [[] for _ in classes.example]
        for low, tap, jump, phase in np.argwhere(classes.number >= 0).tolist():
            found[int(classes.number[low, tap, jump, phase])].append((low, tap, jump))
        return found

    def of_events(self, event: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return int64[n]: the first pattern of each event's class, in the block from 0."""
        strides = self._mapping.shape.window.strides
        phase_y, phase_x = np.divmod(event[:, Event.PHASE], strides[1])
        low_y, low_x = event[:, Event.LOW_Y], event[:, Event.LOW_X]
        y = self._axes[0].number[low_y, event[:, Event.TAP_Y], event[:, Event.JUMP_Y], phase_y]
        x = self._axes[1].number[low_x, event[:, Event.TAP_X], event[:, Event.JUMP_X], phase_x]
        result: NDArray[np.int64] = (
            self._class[y, x, self._module(low_y, low_x)] * self.runs.n_kinds
        )
        return result

    def bases(self, event: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return int64[n]: byte address, in a bank, of each event's first psum word."""
        y, x = event[:, Event.LOW_Y].astype(np.int64), event[:, Event.LOW_X].astype(np.int64)
        word: NDArray[np.int64] = self._mapping.place(y, x)[1]
        return word * self._word_bytes

    @property
    def _word_bytes(self) -> int:
        return PSUM_BYTES * self._pe.lanes

    def _touched(self, touch: Touch, kind: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield y, x, first filter, filters and byte of the touched positions of a kind."""
        if not self.runs.entries.positions:
            return
        for tap, first, size, byte in self.runs.entries.positions[kind]:
            at = touch.position(self._mapping, tap)
            if at is not None:
                yield *at, first, size, byte

    def _load(self, touch: Touch, kind: int) -> tuple[list[Item], int]:
        if not any(self._touched(touch, kind)) or not self.runs.entries.is_row[kind]:
            return [], 0
        width = self._pe.multipliers
        return [
            Item(Memory.WEIGHT, READ, width, a_step=width),
            Item(Memory.INDEX, READ, INDEX_BYTES, a_step=INDEX_BYTES),
        ], 1

    def _psum(self, touch: Touch, kind: int) -> tuple[list[Item], int]:
        pe, mapping = self._pe, self._mapping
        is_ideal = pe.weights == "ideal"
        origin = mapping.place(*touch.low)[1]
        items, wanted = [], [0] * pe.modules
        touched = list(self._touched(touch, kind))
        for y, x, first, size, byte in touched:
            if not size:
                continue
            module, word = mapping.place(y, x)
            module += first // pe.lanes
            later = wanted[module] if mapping.is_linear else 0
            wanted[module] += 1
            lane = first % pe.lanes if is_ideal else 0
            item = Item(
                Memory.PSUM,
                READ,
                PSUM_BYTES if is_ideal else self._word_bytes,
                cycle=later,
                address=int(
                    module * pe.psum_bank_bytes
                    + (word - origin) * self._word_bytes
                    + lane * PSUM_BYTES
                ),
                b_step=mapping.group_words * self._word_bytes,
                count=-(-size // pe.lanes),
                address_step=pe.psum_bank_bytes,
            )
            items += [
                item,
                item._replace(
                    op=WRITE,
                    cycle=later + MAC_WRITE_CYCLES,
                    operand=byte,
                    operand_a_step=1 if is_ideal else pe.multipliers,
                    operand_step=pe.lanes,
                ),
            ]
        period = max(1, *wanted) if touched and self.runs.entries.is_row[kind] else 0
        return items, period if mapping.is_linear else min(period, 1)
