"""The part of a run that an analysis looks at, and its bins of time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..progress import Progress
from ..reader import Trace
from ..selected import segments_of
from ..selection import Selection

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


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
    if (trace.segments["layer"] >= len(trace.layers)).any():
        raise trace.damaged("segments", ValueError("it tells of layers that do not exist"))
    found = segments_of(trace, selection)
    low, high = selection.cycles or (0, trace.cycles)
    if not len(found):
        raise TraceError(
            f"{trace.path}: nothing runs in the selection; see firemesh trace info for the layers "
            f"and frames, cycles go to {trace.cycles}"
        )
    of = trace.segments[found]
    return Window(found, max(low, int(of["cycle0"][0])), min(high, int(of["cycle1"][-1])))


def layer_spans(trace: Trace, part: Window) -> list[dict[str, Any]]:
    """Return when layers run in a window, in order of time; waves of a layer are one span.

    Returns
    -------
    list of dict
        ``frame``, ``layer``, ``first_cycle`` and ``end_cycle``, the one behind the last.
    """
    of = trace.segments[part.segments]
    begins = np.ones(len(of), bool)
    for name in ("frame", "layer"):
        begins[1:] &= of[name][1:] == of[name][:-1]
    begins[1:] = ~begins[1:]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(of)) - 1
    low, high = np.maximum(of["cycle0"][first], part.low), np.minimum(of["cycle1"][last], part.high)
    return [
        {"frame": int(of["frame"][one]), "layer": trace.layers[of["layer"][one]]}
        | {"first_cycle": int(begin), "end_cycle": int(end)}
        for one, begin, end in zip(first, low, high, strict=True)
    ]


def cycles_inside(trace: Trace, part: Window) -> Floats:
    """Return float64[n]: how many cycles of each segment of a window lie in it."""
    of = trace.segments[part.segments]
    begin, end = of["cycle0"].astype(np.float64), of["cycle1"].astype(np.float64)
    clipped: Floats = np.minimum(end, part.high) - np.maximum(begin, part.low)
    return clipped


def parts_inside(trace: Trace, part: Window) -> Floats:
    """Return float64[segments]: which part of each segment's cycles lies in a window, 0 to 1."""
    of = trace.segments[part.segments]
    inside = np.zeros(len(trace.segments))
    inside[part.segments] = cycles_inside(trace, part) / (of["cycle1"] - of["cycle0"])
    return inside


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


def spread(trace: Trace, part: Window, time: Bins, amount: Floats) -> Floats:
    """Spread what segments hold evenly over their cycles.

    Parameters
    ----------
    trace : Trace
    part : Window
    time : Bins
    amount : float64[n, k]
        Of the whole of each segment of the window, k different things.

    Returns
    -------
    float64[n_bins, k]
        What falls into each bin, and into the window.
    """
    of = trace.segments[part.segments]
    at = np.stack([of["cycle0"], of["cycle1"]], axis=1).ravel().astype(np.float64)
    edges = np.append(time.starts, part.high).astype(np.float64)
    result = np.empty((time.n, amount.shape[1]))
    for column in range(amount.shape[1]):
        end = np.cumsum(amount[:, column])
        so_far = np.stack([end - amount[:, column], end], axis=1).ravel()
        result[:, column] = np.diff(np.interp(edges, at, so_far))
    return result


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


def check_inside(trace: Trace, outside: int) -> None:
    """Raise when a kernel found accesses outside the cycles that it was told of.

    Raises
    ------
    TraceError
        Such a trace is damaged.
    """
    if outside:
        raise trace.damaged("lists", ValueError(f"{outside} accesses lie outside their segments"))


def words(block: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a block as uint64[n, 3], as kernels take it: see `firemesh.traces.exporters.cut`."""
    plain: NDArray[np.uint64] = np.ascontiguousarray(block).view(np.uint64).reshape(-1, 3)
    return plain


def about(trace: Trace, selection: Selection) -> dict[str, Any]:
    """Return the facts that every analysis begins with; ``layers`` tells when each runs."""
    told = {
        "trace": trace.path.name,
        "network": trace.attribute("network"),
        "clock_hz": int(trace.attribute("clock_hz")),
        "selection": selection.facts(),
        "layers": layer_spans(trace, window(trace, selection)),
    }
    if not trace.complete:
        told["unfinished"] = "the run has not come to its end; this is of what there is so far"
    return told
