"""What a selection leaves of a trace's segments and of what the engine counted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reader import Trace
from .schema import NETWORK_MEMORIES
from .selection import Selection, numbers


def segments_of(trace: Trace, selection: Selection) -> NDArray[np.int64]:
    """Return int64[n]: the segments of which a selection holds cycles, in order of time.

    Raises
    ------
    TraceError
        When it names a layer or frame that there is not.
    """
    layers = numbers(trace.layers, selection.layer, "layer")
    found = trace._segment_numbers(selection.frame, layers)
    if selection.cycles is not None:
        of, (low, high) = trace.segments[found], selection.cycles
        found = found[(of["cycle1"] > low) & (of["cycle0"] < high)]
    return found


def counted(trace: Trace, selection: Selection) -> NDArray[Any]:
    """Return rows of table ``counters``: a selection's, whole segments where it has a window.

    The network's doors are left out where no memories are named.

    Raises
    ------
    TraceError
        When it names what there is not.
    """
    counters = trace.table("counters")
    keep = np.isin(counters["segment"], segments_of(trace, selection)) & (counters["count"] > 0)
    for name, names in (("unit", trace.units), ("memory", trace.memories), ("op", trace.ops)):
        wanted = numbers(names, getattr(selection, name), name)
        if wanted is not None:
            keep &= np.isin(counters[name], sorted(wanted))
    if selection.memory is None:
        keep &= counters["memory"] < len(trace.memories) - len(NETWORK_MEMORIES)
    rows: NDArray[Any] = counters[keep]
    return rows
