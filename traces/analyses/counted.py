"""What was counted in a part of a run: from stored totals where they tell it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..kernel import kernel
from ..progress import Progress, silent
from ..reader import Trace
from ..schema import dtype_of
from ..selection import Selection, numbers
from .window import Floats, Ints, Window, parts_inside, words

Array = NDArray[Any]
WORD = 2
UNIT, SIZE, MEMORY, OP = np.uint64(0xFFFF), np.uint64(32), np.uint64(48), np.uint64(56)
MASK, BYTE = np.uint64(0xFFFF), np.uint64(0xFF)


@kernel
def add(access: Array, total: Array) -> None:
    """Add accesses and their bytes by unit, memory and operation.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses: cycle, address and the rest.
    total : int64[n_units, n_memories, 2, 2]
        Accesses and bytes; changed.
    """
    for i in range(len(access)):
        word = access[i, WORD]
        cell = total[np.int64(word & UNIT), np.int64((word >> MEMORY) & BYTE), np.int64(word >> OP)]
        cell[0] += 1
        cell[1] += np.int64((word >> SIZE) & MASK)


def rows_of(trace: Trace, name: str) -> Array:
    """Return a table of counts, when all that it tells of exists.

    Raises
    ------
    TraceError
        When it is damaged.
    """
    rows = trace.table(name)
    most = {
        "segment": len(trace.segments), "unit": len(trace.units), "memory": len(trace.memories),
        "op": len(trace.ops), "cause": len(trace.causes), "link": len(trace.links),
        "wait": len(trace.waits),
    }  # fmt: skip
    for field in most.keys() & set(rows.dtype.names or ()):
        if len(rows) and rows[field].max() >= most[field]:
            raise trace.damaged(name, ValueError(f"{field} {rows[field].max()} does not exist"))
    return rows


def pes_of(trace: Trace, selection: Selection) -> Ints:
    """Return int64[n]: numbers of the PEs that are selected.

    Raises
    ------
    TraceError
        When there are none.
    """
    wanted = numbers(trace.units, selection.unit, "unit")
    found = np.flatnonzero(trace.table("units")["kind"] == b"pe")
    if wanted is not None:
        found = found[np.isin(found, sorted(wanted))]
    if not len(found):
        raise TraceError(
            f"unit: {', '.join(trace.units[one] for one in sorted(wanted or ()))} is no PE, and "
            "has no multipliers; name PEs, see firemesh trace stats --by unit"
        )
    return found


def slots_of(trace: Trace, selection: Selection, part: Window) -> tuple[Array, Floats]:
    """Return the rows of table ``slots`` of selected PEs and segments, and how much of each.

    Returns
    -------
    structured array
        Fields segment, unit, cause, count: the whole segment's.
    float64[n]
        What of the count lies in the window: of a segment that it cuts, as much as of its cycles.
    """
    rows, inside = rows_of(trace, "slots"), parts_inside(trace, part)
    is_mine = inside[rows["segment"]] > 0
    if selection.unit is not None:
        is_mine &= np.isin(rows["unit"], pes_of(trace, selection))
    rows = rows[is_mine]
    return rows, rows["count"] * inside[rows["segment"]]


def counts(amount: Floats) -> Ints | Floats:
    """Return amounts as whole numbers where all are."""
    rounded = np.rint(amount)
    return rounded.astype(np.int64) if np.array_equal(rounded, amount) else amount


def n_cut(trace: Trace, part: Window) -> int:
    """Return how many segments a window cuts."""
    inside = parts_inside(trace, part)
    return int(((inside > 0) & (inside < 1)).sum())


def note_of_cut(trace: Trace, part: Window, what: str) -> dict[str, Any]:
    """Return a fact that tells of waves that are cut, where there are any."""
    n = n_cut(trace, part)
    told = f"{n} wave{'' if n == 1 else 's'}, which the window cuts, are"
    return {"cut": f"{what} of {told} taken in proportion to cycles"} if n else {}


def counters_of(
    trace: Trace,
    selection: Selection,
    part: Window,
    progress: Progress = silent,
    with_doors: bool = False,
) -> Array:
    """Return rows as of table ``counters``: accesses and bytes of a selection, exactly.

    Segments that lie in the window as a whole are read from what the engine counted; the accesses
    of those that it cuts are expanded.

    Parameters
    ----------
    trace : Trace
    selection : Selection
    part : Window
        What `firemesh.traces.analyses.window.window` returned for it.
    progress : callable, optional
    with_doors : bool
        Whether all memories are with the network's doors.
    """
    rows, inside = rows_of(trace, "counters"), parts_inside(trace, part)
    memories = numbers(trace.memories, selection.memory, "memory")
    if memories is None:
        memories = set(range(len(trace.memories) - (0 if with_doors else 2)))
    is_mine = (inside[rows["segment"]] == 1) & np.isin(rows["memory"], sorted(memories))
    for name, names in (("unit", trace.units), ("op", trace.ops)):
        if (wanted := numbers(names, getattr(selection, name), name)) is not None:
            is_mine &= np.isin(rows[name], sorted(wanted))
    parts = [rows[is_mine]]
    for number in np.flatnonzero((inside > 0) & (inside < 1)):
        parts.append(_expanded(trace, selection, part, int(number), memories, progress))
    progress(part.cycles, part.cycles)
    return np.concatenate(parts)


def _expanded(
    trace: Trace,
    selection: Selection,
    part: Window,
    number: int,
    memories: set[int],
    progress: Progress,
) -> Array:
    """Return counters of what a window leaves of a segment."""
    record = trace.segments[number]
    low, high = max(part.low, int(record["cycle0"])), min(part.high, int(record["cycle1"]))
    total = np.zeros((len(trace.units), len(trace.memories), 2, 2), np.int64)
    for block in trace.accesses(
        int(record["layer"]), selection.unit, sorted(memories), selection.op,
        int(record["frame"]), (low, high),
    ):  # fmt: skip
        add(words(block), total)
        progress(int(block["cycle"][-1]) - part.low, part.cycles)
    unit, memory, op = np.nonzero(total[..., 0])
    rows = np.zeros(len(unit), dtype_of("counters"))
    rows["segment"], rows["unit"], rows["memory"], rows["op"] = number, unit, memory, op
    rows["count"], rows["bytes"] = total[unit, memory, op].T
    return rows
