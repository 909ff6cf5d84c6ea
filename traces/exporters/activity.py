"""What units do over time: first and last access, accesses and bytes in bins of cycles."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..blocks import in_cycle_order
from ..kernel import kernel
from ..schema import NETWORK_MEMORIES
from ..selection import numbers
from .packet_events import has_packets, window
from .records import Records
from .tally import AccessTally

Array = NDArray[Any]
Ints = NDArray[np.int64]
SIZE, MEMORY, OP = np.uint64(32), np.uint64(48), np.uint64(56)
MASK, BYTE = np.uint64(0xFFFF), np.uint64(0xFF)
FIRST, LAST, ACCESSES, BYTES = range(4)
"""Of a bin; the first is `NEVER` where there is none."""
NEVER = 1 << 62


@kernel
def note(
    access: Array, low: int, width: int, doors: int, mine: Array, total: Array, span: Array
) -> None:
    """Note accesses in the bins of their cycles.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses: cycle, address and the rest.
    low, width : int
        First cycle, and cycles of a bin.
    doors : int
        The first memory that is a door to the network.
    mine : int64[n_bins, 4]
        First and last cycle, accesses and bytes; changed.
    total : int64[n_memories, 2, n_bins, 2]
        Accesses and bytes; changed.
    span : int64[2]
        First and last cycle of accesses to memories; changed.
    """
    for i in range(len(access)):
        word, cycle = access[i, 2], np.int64(access[i, 0])
        memory, op = np.int64((word >> MEMORY) & BYTE), np.int64(word >> OP)
        size, at = np.int64((word >> SIZE) & MASK), (cycle - low) // width
        mine[at, 0] = min(mine[at, 0], cycle)
        mine[at, 1] = max(mine[at, 1], cycle)
        mine[at, 2] += 1
        mine[at, 3] += size
        total[memory, op, at, 0] += 1
        total[memory, op, at, 1] += size
        if memory < doors:
            span[0], span[1] = min(span[0], cycle), max(span[1], cycle)


class Activity(NamedTuple):
    """What was done in a segment.

    Parameters
    ----------
    number : int
        Of the segment.
    begin, end : int
        First cycle of it that is selected, and the one after the last.
    width : int
        Cycles of a bin; the last one may be shorter.
    of : dict
        (unit, stream) -> int64[n_bins, 4], see `note`.
    total : int64[n_memories, 2, n_bins, 2]
        By memory, op and bin, accesses and bytes; at the network's doors packets and flits.
    span : int64[2]
        First and last cycle of accesses to memories.
    """

    number: int
    begin: int
    end: int
    width: int
    of: dict[tuple[int, int], Ints]
    total: Ints
    span: Ints

    @property
    def starts(self) -> Ints:
        """int64[n_bins]: the first cycle of each bin."""
        return np.arange(self.begin, self.end, self.width)

    @property
    def lengths(self) -> Ints:
        """int64[n_bins]: cycles of each bin."""
        return np.diff(self.starts, append=self.end)


def ends(records: Records, number: int) -> tuple[int, int]:
    """Return the first cycle of a segment that is selected, and the one after the last."""
    record = records.trace.segments[number]
    low, high = window(records)
    return max(low, int(record["cycle0"])), min(high, int(record["cycle1"]))


def pairs(records: Records) -> set[tuple[int, int]]:
    """Return the units and streams that the selected segments have lists of."""
    index = records.trace._index
    keep = np.isin(index.lists["segment"], records.segments)
    stream = np.repeat(index.lists["stream"], index.lists["members"])
    is_mine = np.repeat(keep, index.lists["members"])
    units = numbers(records.trace.units, records.selection.unit, "unit")
    found = zip(index.members["unit"][is_mine].tolist(), stream[is_mine].tolist(), strict=True)
    return {(unit, stream) for unit, stream in set(found) if units is None or unit in units}


def activities(records: Records, width: int) -> Iterator[Activity]:
    """Yield what was done in each selected segment; accesses count as selected in ``records``.

    Parameters
    ----------
    records : Records
    width : int
        Cycles of a bin; bins begin with the segment.
    """
    for number in records.segments.tolist():
        found = _activity(records, number, width)
        _count(found, records.selected)
        yield found
    records.check()


def _count(found: Activity, tally: AccessTally) -> None:
    count, moved = found.total[: -len(NETWORK_MEMORIES)].sum(axis=(0, 2)).T.tolist()
    if not sum(count):
        return
    tally.count, tally.bytes = tally.count + sum(count), tally.bytes + sum(moved)
    tally.reads, tally.writes = tally.reads + count[0], tally.writes + count[1]
    first, tally.last_cycle = found.span.tolist()
    tally.first_cycle = first if tally.first_cycle is None else tally.first_cycle


def _activity(records: Records, number: int, width: int) -> Activity:
    trace = records.trace
    begin, end = ends(records, number)
    added = NETWORK_MEMORIES if has_packets(records.options) else ()
    memories = numbers(trace.memories, records.selection.memory, "memory") or set()
    shapes = trace._shapes([*sorted(memories), *added], records.selection.op)
    units = numbers(trace.units, records.selection.unit, "unit")
    n = -(-(end - begin) // width)
    of: dict[tuple[int, int], Ints] = {}
    total, span = np.zeros((len(trace.memories), 2, n, 2), np.int64), np.array([NEVER, -1])
    doors = len(trace.memories) - len(NETWORK_MEMORIES)
    is_whole = begin == trace.segments["cycle0"][number] and end == trace.segments["cycle1"][number]
    for member in trace._guard(lambda: trace._members(number, shapes, units)):
        stream = int(trace._index.lists["stream"][member.number])
        blocks = member.blocks() if is_whole else in_cycle_order([member], begin, end)
        while (block := trace._guard(lambda: next(blocks, None))) is not None:  # noqa: B023
            key = int(block["unit"][0]), stream
            if key not in of:
                of[key] = np.zeros((n, 4), np.int64)
                of[key][:, FIRST], of[key][:, LAST] = NEVER, -1
            note(words(block), begin, width, doors, of[key], total, span)
    return Activity(number, begin, end, width, of, total, span)


def words(block: Array) -> Array:
    """Return uint64[n, 3]: accesses as kernels take them."""
    return block.view(np.uint64).reshape(-1, 3)
