"""FIFOs: how full the queues of events are, over time."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..kernel import kernel
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from .figure import SMALL, end_of, mark_layers, time_axis, title
from .finding import Finding, table
from .window import Bins, Window, about, bins_of, window, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
QUEUE = "event_fifo"
"""The memory that is a queue: a write pushes, a read pops."""
Array = NDArray[Any]
Ints = NDArray[np.int64]
OP, UNIT = np.uint64(56), np.uint64(0xFFFF)
PUSHES, POPS, AREA, PEAK, FULL, EMPTY = range(6)
"""Columns of totals; ``AREA`` is the sum of messages over cycles."""


class Queues(NamedTuple):
    """What is known of the queues; unit u's are rows u.

    Parameters
    ----------
    held, since : int64[n_units]
        Messages at the end of cycle ``since`` and of those after it.
    total : int64[n_units, 6]
        See `PUSHES` and the next.
    area, peak : int64[n_units, n_bins]
        Sum of messages over cycles, and the most in a cycle.
    """

    held: Ints
    since: Ints
    total: Ints
    area: Ints
    peak: Ints


@kernel
def hold(
    unit: Any, end: Any, size: int, low: int, high: int, width: int, held: Array, since: Array,
    total: Array, area: Array, peak: Array,
) -> None:  # fmt: skip
    """Count the cycles before ``end`` in which a queue held what it holds.

    Parameters
    ----------
    unit, end : int
    size : int
        Messages of a full queue.
    low, high, width : int
        Cycles that are looked at, and cycles of a bin.
    held, since, total, area, peak
        See `Queues`; changed.
    """
    n, at, stop = held[unit], max(since[unit], low), min(end, high)
    since[unit] = end
    if at >= stop:
        return
    total[unit, AREA] += n * (stop - at)
    total[unit, PEAK] = max(total[unit, PEAK], n)
    if n >= size:
        total[unit, FULL] += stop - at
    if n == 0:
        total[unit, EMPTY] += stop - at
        return
    while at < stop:
        one = (at - low) // width
        edge = min(stop, low + (one + 1) * width)
        area[unit, one] += n * (edge - at)
        peak[unit, one] = max(peak[unit, one], n)
        at = edge


@kernel
def follow(
    access: Array, size: int, low: int, high: int, width: int, held: Array, since: Array,
    total: Array, area: Array, peak: Array,
) -> int:  # fmt: skip
    """Follow pushes and pops in order of cycles; return the first that cannot be, or -1.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses to the queues.
    size, low, high, width : int
        See `hold`.
    held, since, total, area, peak
        See `Queues`; changed.
    """
    for i in range(len(access)):
        cycle, word = np.int64(access[i, 0]), access[i, 2]
        unit, op = np.int64(word & UNIT), np.int64(word >> OP)
        if cycle > since[unit]:
            if held[unit] < 0 or held[unit] > size:
                return i
            hold(unit, cycle, size, low, high, width, held, since, total, area, peak)
        held[unit] += 2 * op - 1
        if cycle >= low:
            total[unit, PUSHES if op == 1 else POPS] += 1
    return -1


def fifo(
    trace: Trace, selection: Selection = ALL, bins: int = BINS, progress: Progress = silent
) -> Finding:
    """Return how many messages wait in the event FIFO of each PE.

    A cycle's occupancy is what the FIFO holds at its end, behind the push and the pop of that
    cycle: what the next cycle begins with, and what decides whether the PE is ready then.

    Parameters
    ----------
    trace : Trace
    selection : Selection
        Without memory and op.
    bins : int
        At most so many, of equal width in whole cycles.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by unit: ``pushes``, ``pops``, ``capacity`` in messages, ``mean`` and ``peak``
        occupancy, ``full_cycles``, ``empty_cycles``, and ``full_share`` of the cycles. Series by
        unit and bin: ``cycle`` of its start, ``cycles`` of it that are looked at, ``mean`` (nan
        without such cycles), ``peak``.

    Raises
    ------
    TraceError
        When the machine has no such FIFO, no selected layer uses it, or more is popped than was
        pushed.
    """
    part, units = window(trace, selection), _units(trace, selection)
    time, record = bins_of(part, bins), trace.table("memories")[trace.memories.index(QUEUE)]
    size, n = int(record["bytes"]) // int(record["word_bytes"]), len(trace.units)
    queues = Queues(
        np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros((n, 6), np.int64),
        np.zeros((n, time.n), np.int64), np.zeros((n, time.n), np.int64),
    )  # fmt: skip
    looked = np.zeros(time.n, np.int64)
    for number in part.segments.tolist():
        begin, end = (int(trace.segments[number][name]) for name in ("cycle0", "cycle1"))
        _segment(trace, number, units, size, part, time, queues)
        looked += _overlap(time, max(begin, part.low), min(end, part.high))
        progress(min(end, part.high) - part.low, part.cycles)
    facts = about(trace, selection) | {"memory": QUEUE, "cycles": int(looked.sum())}
    facts |= {"bin_cycles": time.width}
    return _finding(np.array(trace.units), units, size, time, queues, looked, facts)


def _units(trace: Trace, selection: Selection) -> list[int]:
    """Return the selected units that have a queue."""
    memories = trace.table("memories")
    memory = memories[(memories["name"] == QUEUE.encode()) & (memories["word_bytes"] > 0)]
    has_one = np.isin(trace.table("units")["kind"], memory["unit_kind"])
    if not has_one.any():
        raise TraceError(
            f"{trace.path}: the machine has no event FIFO, which is a part of mode mnf; "
            "give a trace of mode mnf or auto"
        )
    wanted = numbers(trace.units, selection.unit, "unit")
    found = [unit for unit in np.flatnonzero(has_one).tolist() if wanted is None or unit in wanted]
    if not found:
        raise TraceError("unit: has no event FIFO, PEs have one; select at least one of them")
    return found


def _segment(
    trace: Trace, number: int, units: list[int], size: int, part: Window, time: Bins, queues: Queues
) -> None:
    """Follow the queues through a segment, from its begin, when they are empty."""
    record = trace.segments[number]
    end, where = int(record["cycle1"]), (size, part.low, part.high, time.width)
    queues.held[:], queues.since[:] = 0, int(record["cycle0"])
    shapes, stop = trace._shapes(QUEUE, None), min(end, part.high)
    for block in trace._expanded(number, shapes, set(units), "cycle", 0, stop):
        if (at := follow(words(block), *where, *queues)) >= 0:
            raise _unsound(trace, int(block["unit"][at]), int(block["cycle"][at]), queues.held)
    for unit in units:
        if not 0 <= queues.held[unit] <= (size if stop < end else 0):
            raise _unsound(trace, unit, stop, queues.held)
        hold(unit, stop, *where, *queues)


def _unsound(trace: Trace, unit: int, cycle: int, held: Ints) -> TraceError:
    return TraceError(
        f"{trace.path}: is damaged: {QUEUE} of {trace.units[unit]} holds {held[unit]} messages "
        f"before cycle {cycle}; make the trace again"
    )


def _overlap(time: Bins, begin: int, end: int) -> Ints:
    """Return int64[n_bins]: the cycles from ``begin`` to ``end`` in each bin."""
    overlap: Ints = np.minimum(end, time.starts + time.width) - np.maximum(begin, time.starts)
    return np.maximum(overlap, 0)


def _finding(
    names: Array, units: list[int], size: int, time: Bins, queues: Queues, looked: Ints,
    facts: dict[str, Any],
) -> Finding:  # fmt: skip
    total, n = queues.total[units], len(units)
    cycles = facts["cycles"]
    rows = table(
        unit=names[units], pushes=total[:, PUSHES], pops=total[:, POPS],
        capacity=np.full(n, size), mean=total[:, AREA] / cycles, peak=total[:, PEAK],
        full_cycles=total[:, FULL], empty_cycles=total[:, EMPTY],
        full_share=total[:, FULL] / cycles,
    )  # fmt: skip
    mean = np.full((n, time.n), np.nan)
    np.divide(queues.area[units], looked, out=mean, where=looked > 0)
    series = table(
        unit=np.repeat(names[units], time.n), cycle=np.tile(time.starts, n),
        cycles=np.tile(looked, n), mean=mean.ravel(), peak=queues.peak[units].ravel(),
    )  # fmt: skip
    return Finding("fifo", rows, facts, series, draw, (8, 5))


def draw(found: Finding, figure: "Figure") -> None:
    """Draw each PE's mean occupancy as a row of a heat map over time, all of them below it."""
    series, rows = found.series, found.rows
    assert series is not None
    n, size = len(rows), int(rows["capacity"][0])
    mean = series["mean"].reshape(n, -1)
    edges = np.append(series["cycle"][: mean.shape[1]], end_of(found))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    image = above.pcolormesh(
        edges, np.arange(n + 1), np.ma.masked_invalid(mean), vmin=0, vmax=size, cmap="cividis"
    )
    above.invert_yaxis()
    step = -(-n // 16)
    above.set_yticks(np.arange(0, n, step) + 0.5, rows["unit"][::step], fontsize=SMALL)
    figure.colorbar(image, ax=(above, below), label=f"mean messages of {size}", pad=0.01)
    peak = series["peak"].reshape(n, -1).max(axis=0).astype(float)
    peak[series["cycles"][: len(peak)] == 0] = np.nan
    below.stairs(peak, edges, color="#D55E00", baseline=None, label="most of any PE")
    below.stairs(mean.mean(axis=0), edges, color="#0072B2", baseline=None, label="mean of all PEs")
    below.set_ylim(0, size * 1.05)
    below.set_ylabel("messages")
    time_axis(below)
    mark_layers(above, found)
    mark_layers(below, found, False)
    title(figure, f"{found.facts['network']}: messages in the event FIFOs")
    figure.legend(loc="outside lower right", ncols=2, frameon=False)
