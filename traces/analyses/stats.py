"""Totals of a part of a run: accesses and bytes, slots, flits, stalls."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from ..totals import totals
from .counted import counters_of, rows_of
from .window import window

TABLES = {"accesses": "counters", "slots": "slots", "flits": "flits", "stalls": "vc_stalls"}
"""What can be added up -> the trace's table."""
BY = {
    "accesses": ("layer", "memory", "op"),
    "slots": ("layer", "cause"),
    "flits": ("layer", "link"),
    "stalls": ("layer", "wait"),
}
"""What it is added up by where nothing else is asked for."""
HEEDS = {"slots": ("unit",), "flits": (), "stalls": ("unit",)}
"""Fields of a selection that counts by wave heed beside layer and frame."""


def stats(
    trace: Trace,
    selection: Selection = ALL,
    what: str = "accesses",
    by: Sequence[str] | None = None,
    progress: Progress = silent,
) -> NDArray[Any]:
    """Return totals of a part of a run.

    Whole waves are read from what the engine counted. The accesses of waves that a window of
    cycles cuts are expanded.

    Parameters
    ----------
    trace : Trace
    selection : Selection
    what : {"accesses", "slots", "flits", "stalls"}
    by : sequence of str, optional
        Of frame, layer and the table's own fields; None for `BY`.
    progress : callable, optional

    Returns
    -------
    structured array
        The fields of ``by``, ``count`` and, of accesses, ``bytes``; at the network's doors flits.

    Raises
    ------
    TraceError
        When there is no such table or field, the selection cannot be heeded, or leaves nothing.
    """
    if what not in TABLES:
        raise TraceError(f"--what: must be one of {', '.join(TABLES)}, got {what}")
    by = BY[what] if by is None else by
    if selection == ALL:
        return totals(trace, TABLES[what], by)
    if what != "accesses":
        return totals(trace, TABLES[what], by, _rows(trace, selection, what))
    totals(trace, TABLES[what], by, trace.table(TABLES[what])[:0])  # fields are checked first
    part = window(trace, selection)
    rows = counters_of(trace, selection, part, progress, with_doors=True)
    return totals(trace, TABLES[what], by, rows)


def _rows(trace: Trace, selection: Selection, what: str) -> NDArray[Any]:
    """Return the rows of a selection of what is counted wave by wave."""
    heeds = ("layer", "frame", *HEEDS[what])
    for field in ("cycles", "unit", "memory", "op"):
        if field not in heeds and getattr(selection, field) is not None:
            are = "wave by wave, not cycle by cycle" if field == "cycles" else f"by no {field}"
            raise TraceError(f"{field}: {what} are counted {are}; leave it out")
    rows, part = rows_of(trace, TABLES[what]), window(trace, selection)
    is_mine = np.isin(rows["segment"], part.segments)
    if selection.unit is not None:
        units = numbers(trace.units, selection.unit, "unit") or set()
        is_mine &= np.isin(rows["unit"], sorted(units))
    mine: NDArray[Any] = rows[is_mine]
    return mine
