"""Utilisation: what multipliers' slots were used for, or lost to, over time and by PE."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel, lowest_bit, popcount
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from .counted import counts, note_of_cut, pes_of, slots_of
from .figure import (
    CAUSES,
    MOST_NAMES,
    end_of,
    mark_layers,
    name_units,
    outlined,
    part_look,
    time_axis,
    title,
)
from .finding import Finding, table
from .window import Bins, Floats, Ints, Window, about, bins_of, check_inside, spread, window, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
ARITHMETIC = {"mnf": ("psum", "read"), "flexnn": ("acc", "write")}
"""Mode of a layer -> memory and operation of which there is an access in each cycle in which the
PE's arithmetic works: multiplications and fire scans read psums, FlexNN's products are written to
accumulators."""
Array = NDArray[Any]
CYCLE, ONE = 0, np.uint64(1)


@kernel
def mark(access: Array, begin: int, end: int, marks: Array) -> int:
    """Mark the cycles of a unit that have accesses; return how many have no place.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses.
    begin, end : int
        Cycle of the first mark, and the one behind the last.
    marks : uint64[n]
        A bit for each cycle; changed.
    """
    outside = 0
    for i in range(len(access)):
        at = np.int64(access[i, CYCLE]) - begin
        if at < 0 or at >= end - begin:
            outside += 1
            continue
        marks[at >> 6] |= ONE << np.uint64(at & 63)
    return outside


@kernel
def count_marks(marks: Array, begin: int, low: int, width: int, count: Array) -> None:
    """Count marks by bin, and take them away.

    Parameters
    ----------
    marks : uint64[n]
        Changed.
    begin : int
        Cycle of the first mark.
    low, width : int
        First cycle, and cycles of a bin.
    count : int64[n_bins]
        Changed.
    """
    for i in range(len(marks)):
        word = marks[i]
        if word == 0:
            continue
        at = begin + 64 * i - low
        if at >= 0 and at // width == (at + 63) // width:
            count[at // width] += popcount(word)
            word = np.uint64(0)
        while word:
            count[(at + lowest_bit(word)) // width] += 1
            word &= word - ONE
        marks[i] = 0


def utilization(
    trace: Trace, selection: Selection = ALL, bins: int = BINS, progress: Progress = silent
) -> Finding:
    """Return what the slots of multipliers were used for, by PE and over time.

    Parameters
    ----------
    trace : Trace
    selection : Selection
        Of layers, units, a frame and cycles.
    bins : int
        At most so many, of equal width in whole cycles.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by PE: ``slots``, ``active``, the part of its cycles in which its arithmetic works,
        and the part of its slots of each cause that there is. Series by bin: ``cycle`` of its
        start, ``active`` and causes of all PEs together; slots of a wave are spread evenly over
        its cycles.
    """
    part = window(trace, selection)
    units, time = pes_of(trace, selection), bins_of(part, bins)
    rows, amount = slots_of(trace, selection, part)
    causes = np.unique(rows["cause"])
    column = np.searchsorted(causes, rows["cause"])
    by_unit = np.zeros((len(units), len(causes)))
    np.add.at(by_unit, (np.searchsorted(units, rows["unit"]), column), amount)
    by_segment = np.zeros((len(part.segments), len(causes)))
    np.add.at(by_segment, (np.searchsorted(part.segments, rows["segment"]), column), rows["count"])
    active = _active(trace, selection, part, time, progress)[units]
    over_time = spread(trace, part, time, by_segment)
    names = [trace.causes[cause] for cause in causes]
    facts = about(trace, selection) | {"cycles": part.cycles, "bin_cycles": time.width}
    facts |= note_of_cut(trace, part, "slots")
    multipliers = trace.attribute("multipliers")
    return _finding(trace, facts, names, units, by_unit, over_time, active, time, multipliers)


def _active(
    trace: Trace, selection: Selection, part: Window, time: Bins, progress: Progress
) -> Ints:
    """Return int64[units, bins]: cycles in which each unit's arithmetic works."""
    count = np.zeros((len(trace.units), time.n), np.int64)
    wanted, modes = numbers(trace.layers, selection.layer, "layer"), trace.table("layers")["mode"]
    for mode, (memory, op) in ARITHMETIC.items():
        layers = set(np.flatnonzero(modes == mode.encode()).tolist())
        layers &= layers if wanted is None else wanted
        if not layers:
            continue
        of_mode = replace(selection, layer=sorted(layers), memory=memory, op=op)
        _count_cycles(trace, of_mode, part, time, progress, count)
    progress(part.cycles, part.cycles)
    return count


def _count_cycles(
    trace: Trace, selection: Selection, part: Window, time: Bins, progress: Progress, count: Ints
) -> None:
    """Add cycles with accesses to int64[units, bins]; each block is of one unit and segment."""
    segments, last = trace.segments, (-1, -1)
    begin, end, marks = 0, 0, np.zeros(0, np.uint64)
    for block in trace.accesses(**selection.arguments, order="storage"):
        number = int(np.searchsorted(segments["cycle0"], block["cycle"][0], "right")) - 1
        if last != (number, int(block["unit"][0])):
            count_marks(marks, begin, time.low, time.width, count[last[1]])
            if number != last[0]:
                begin, end = (int(segments[name][number]) for name in ("cycle0", "cycle1"))
                marks = np.zeros((end - begin + 63) // 64, np.uint64)
                progress(max(0, begin - part.low), part.cycles)
            last = number, int(block["unit"][0])
        check_inside(trace, mark(words(block), begin, end, marks))
    count_marks(marks, begin, time.low, time.width, count[last[1]])


def _finding(
    trace: Trace,
    facts: dict[str, Any],
    causes: list[str],
    units: Ints,
    by_unit: Floats,
    over_time: Floats,
    active: Ints,
    time: Bins,
    multipliers: int,
) -> Finding:
    slots, busy = by_unit.sum(axis=1), active.sum(axis=1) * multipliers
    shares = {name: by_unit[:, i] / slots for i, name in enumerate(causes)}
    rows = table(
        unit=np.array(trace.units)[units], slots=counts(slots),
        active=busy / slots, **shares,
    )  # fmt: skip
    facts |= {"slots": counts(slots.sum()).item()}
    facts |= {"active": float(busy.sum() / slots.sum())}
    executed = sum(by_unit[:, i].sum() for i, name in enumerate(causes) if name == "executed")
    facts |= {"executed": float(executed / slots.sum())}
    there = over_time.sum(axis=1)
    there[there < 0.5] = np.nan
    series = table(
        cycle=time.starts, active=active.sum(axis=0) * multipliers / there,
        **{name: over_time[:, i] / there for i, name in enumerate(causes)},
    )  # fmt: skip
    return Finding("utilization", rows, facts, series, draw, (9, 6))


def draw(found: Finding, figure: "Figure") -> None:
    """Draw slots by cause over time, one on another, active cycles as a line; a bar for each PE."""
    series, rows = found.series, found.rows
    assert series is not None and series.dtype.names is not None
    causes = series.dtype.names[2:]
    over, bars = figure.subplots(2, 1, height_ratios=(2, 1))
    edges, at = np.append(series["cycle"], end_of(found)), np.arange(len(rows))
    low, base = np.zeros(len(series)), np.zeros(len(rows))
    thick = 0.8 if len(rows) <= MOST_NAMES else 1.0
    for cause in causes:
        colour, hatch = CAUSES.get(cause, ("#DDDDDD", "**"))
        look = part_look(colour, hatch)
        high = low + 100 * np.nan_to_num(series[cause])
        over.stairs(high, edges, baseline=low, fill=True, linewidth=0, label=cause, **look)
        bars.bar(at, 100 * rows[cause], thick, base, linewidth=0, **look)
        low, base = high, base + 100 * rows[cause]
    over.stairs(100 * series["active"], edges, color="black", linewidth=1.2, label="active",
                baseline=None, path_effects=outlined())  # fmt: skip
    bars.plot(at, 100 * rows["active"], "_", color="black", markersize=6, path_effects=outlined())
    mark_layers(over, found)
    time_axis(over)
    name_units(bars, rows["unit"])
    for axes in (over, bars):
        axes.set_ylabel("% of slots")
        axes.set_ylim(0, 100)
    title(figure, f"{found.facts['network']}: multiplier slots; active: % of cycles")
    handles, labels = over.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
