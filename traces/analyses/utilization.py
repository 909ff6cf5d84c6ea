"""Utilisation: what multipliers' slots were used for, or lost to, over time and by PE."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from .counted import counts, note_of_cut, pes_of, slots_of
from .figure import CAUSES, MOST_NAMES, end_of, mark_layers, name_units, part_look, time_axis, title
from .finding import Finding, Progress, about, silent, table
from .window import Bins, Floats, Ints, Window, bins_of, spread, window, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
ARITHMETIC = {"mnf": ("psum", "read"), "flexnn": ("acc", "write")}
"""Mode of a layer -> memory and operation of which there is an access in each cycle in which the
PE's arithmetic works: multiplications and fire scans read psums, FlexNN's products are written to
accumulators."""
Array = NDArray[Any]
CYCLE, WORD, UNIT = 0, 2, np.uint64(0xFFFF)


@kernel
def mark(access: Array, low: int, width: int, last: Array, count: Array) -> None:
    """Count cycles that have accesses, by unit and bin.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses, in order of cycles.
    low, width : int
        First cycle, and cycles of a bin.
    last : int64[n_units]
        The cycle of each unit that was counted last; changed.
    count : int64[n_units, n_bins]
        Changed.
    """
    for i in range(len(access)):
        unit, cycle = np.int64(access[i, WORD] & UNIT), np.int64(access[i, CYCLE])
        if last[unit] != cycle:
            last[unit] = cycle
            count[unit, (cycle - low) // width] += 1


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
        last = np.full(len(trace.units), -1, np.int64)
        for block in trace.accesses(
            sorted(layers), selection.unit, memory, op, selection.frame, selection.cycles
        ):
            mark(words(block), time.low, time.width, last, count)
            progress(int(block["cycle"][-1]) - part.low, part.cycles)
    progress(part.cycles, part.cycles)
    return count


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
    facts |= {name: float(by_unit[:, i].sum() / slots.sum()) for i, name in enumerate(causes[:1])}
    there = over_time.sum(axis=1)
    there[there < 0.5] = np.nan
    series = table(
        cycle=time.starts, active=active.sum(axis=0) * multipliers / there,
        **{name: over_time[:, i] / there for i, name in enumerate(causes)},
    )  # fmt: skip
    return Finding("utilization", rows, facts, series)


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
                baseline=None)  # fmt: skip
    bars.plot(at, 100 * rows["active"], "_", color="black", markersize=6)
    mark_layers(over, found)
    time_axis(over)
    name_units(bars, rows["unit"])
    for axes in (over, bars):
        axes.set_ylabel("% of slots")
        axes.set_ylim(0, 100)
    title(figure, f"{found.facts['network']}: multiplier slots; active: % of cycles")
    handles, labels = over.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
