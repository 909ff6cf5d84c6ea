"""The part of a run that an analysis looks at, and its bins of time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..selection import Selection, numbers
from .finding import Progress

Ints = NDArray[np.int64]


class Window(NamedTuple):
    """Segments that are looked at, and cycles.

    Parameters
    ----------
    segments : int64[n]
        Numbers, in order of time.
    low, high : int
        Cycles of the run; those before the first segment and behind the last are left out.
    """

    segments: Ints
    low: int
    high: int

    @property
    def cycles(self) -> int:
        """How many cycles it is long, with what lies between its segments."""
        return self.high - self.low


def window(trace: Trace, selection: Selection) -> Window:
    """Return the part of a run that a selection leaves.

    Raises
    ------
    TraceError
        When it leaves nothing, or names what there is not.
    """
    layers = numbers(trace.layers, selection.layer, "layer")
    found = trace._segment_numbers(selection.frame, layers)
    low, high = selection.cycles or (0, trace.cycles)
    of = trace.segments[found]
    found = found[(of["cycle1"] > low) & (of["cycle0"] < high)]
    if not len(found):
        raise TraceError(
            f"{trace.path}: nothing runs in the selection; see firemesh trace info for the layers "
            f"and frames, cycles go to {trace.cycles}"
        )
    of = trace.segments[found]
    return Window(found, max(low, int(of["cycle0"][0])), min(high, int(of["cycle1"][-1])))


class Bins(NamedTuple):
    """Bins of time, all of one width; the last may reach beyond the end.

    Parameters
    ----------
    low : int
        First cycle.
    width : int
        Cycles.
    n : int
    """

    low: int
    width: int
    n: int

    @property
    def starts(self) -> Ints:
        """int64[n]: the first cycle of each."""
        starts: Ints = self.low + self.width * np.arange(self.n)
        return starts


def bins_of(part: Window, n: int) -> Bins:
    """Return at most ``n`` bins over a window, each of whole cycles.

    Raises
    ------
    TraceError
        When ``n`` is not 1 to 1,000,000.
    """
    if not 1 <= n <= 1_000_000:
        raise TraceError(f"bins: must be 1 to 1,000,000, got {n}")
    width = -(-part.cycles // n)
    return Bins(part.low, width, -(-part.cycles // width))


def blocks(
    trace: Trace, selection: Selection, part: Window, progress: Progress, order: str | None = None
) -> Iterator[NDArray[Any]]:
    """Yield the accesses of a selection block by block, and tell how far it is.

    Parameters
    ----------
    trace : Trace
    selection : Selection
    part : Window
        What `window` returned for it.
    progress : callable
    order : {"cycle", "storage"}, optional
        None where it does not matter: the faster one, for a few cycles that of cycles.
    """
    segments = trace.segments
    order = order or ("storage" if selection.cycles is None else "cycle")
    for block in trace.accesses(**selection.arguments, order=order):
        yield block
        at = int(np.searchsorted(segments["cycle0"], block["cycle"][-1], "right")) - 1
        progress(int(segments["cycle0"][at]) - part.low, part.cycles)
    progress(part.cycles, part.cycles)


def words(block: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a block as uint64[n, 3], as kernels take it: see `firemesh.traces.exporters.cut`."""
    plain: NDArray[np.uint64] = np.ascontiguousarray(block).view(np.uint64).reshape(-1, 3)
    return plain
