"""Blocks of accesses of a segment, in the order of storage or of cycles."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decode import Segment
from .errors import DamageError
from .long_rows import MaskRows, SpanRows
from .members import BLOCK, EntryRows, Member
from .schema import ACCESS, Walk
from .shapes import Shapes

MOST_WINDOW = 1 << 20
"""Cycles of a block at most."""
LEAST_WINDOW = 16
FEW_MEMBERS = 32
"""Members up to which counts of rows are kept for the expansion."""
MOST_GROWTH = 64.0
MOST_BLOCKS = 8
"""How many times larger a block in cycle order is where many members have masks."""
ROWS: dict[Walk, type[Member]] = {
    Walk.ENTRY: EntryRows,
    Walk.RUN: EntryRows,
    Walk.SPAN: SpanRows,
    Walk.MASKS: MaskRows,
}


def members(
    segment: Segment, shapes: Shapes, layer: int, units: set[int] | None = None
) -> list[Member]:
    """Return the rows of wanted units that hold wanted accesses, by unit and list."""
    index = segment.index
    found = []
    for number in segment.numbers:
        for member in segment.members(number):
            unit = int(index.members["unit"][member])
            if units is None or unit in units:
                found.append((unit, number, member))
    kept = []
    for _, number, member in sorted(found):
        if segment.rows(number):
            one = ROWS[segment.walk(number)](segment, number, member, shapes, layer)
            if one.total:
                kept.append(one)
            if len(found) > FEW_MEMBERS:
                one.forget()
    return kept


def in_storage_order(found: list[Member]) -> Iterator[NDArray[Any]]:
    """Yield blocks of accesses by unit, list and row."""
    for member in found:
        yield from member.blocks()
        member.forget()


def in_cycle_order(found: list[Member], low: int, high: int) -> Iterator[NDArray[Any]]:
    """Yield blocks of accesses in cycles ``low`` to ``high``, by cycle, unit, list and row."""
    if not found:
        return
    segment = found[0].segment
    is_all = low <= segment.begin and high >= segment.finish
    low = max(low, segment.begin, min(member.window[0] for member in found))
    high = min(high, segment.finish, max(member.window[1] for member in found))
    n_masks = sum(isinstance(member, MaskRows) for member in found)
    wanted = BLOCK * min(MOST_BLOCKS, max(1, n_masks // FEW_MEMBERS))
    width, seen = LEAST_WINDOW, 0
    while low < high:
        end = min(high, low + width)
        count, change = np.zeros(end - low, np.int64), np.zeros(end - low + 1, np.int64)
        spans = [(member, member.span(low, end)) for member in found]
        for member, part in spans:
            if part is not None:
                member.count(part, low, end, count, change)
        if n_masks:
            count += np.cumsum(change[:-1])
        edges = np.concatenate([[0], np.cumsum(count)])
        n = int(edges[-1])
        if n > 4 * wanted and width > LEAST_WINDOW:
            width = max(LEAST_WINDOW, min(width // 2, int(np.searchsorted(edges, wanted))))
            continue
        block = np.empty((n, 3), np.uint64)
        cursor = edges[:-1].copy()
        for member, part in spans:
            if part is not None:
                member.place(part, low, end, cursor, block)
        low = end
        width = int(width * min(MOST_GROWTH, wanted / max(1, n)))
        width = min(MOST_WINDOW, max(LEAST_WINDOW, width))
        seen += n
        if n:
            yield block.view(ACCESS)[:, 0]
    outside = sum(member.total for member in found) - seen
    if is_all and outside:
        raise DamageError(f"{outside} accesses lie outside the segment's cycles")
