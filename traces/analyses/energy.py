"""Energy: by component and by layer, and power over time."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..kernel import kernel
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from .counted import counts, note_of_cut, rows_of, slots_of
from .figure import (
    end_of,
    look_of,
    mark_layers,
    name_units,
    part_look,
    short_numbers,
    time_axis,
    title,
)
from .finding import Finding, table
from .window import (
    Bins,
    Floats,
    Window,
    about,
    bins_of,
    blocks,
    check_inside,
    cycles_inside,
    parts_inside,
    spread,
    window,
    words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
SPREAD = ("mac", "idle", "noc")
"""Components that are counted wave by wave."""
Array = NDArray[Any]
CYCLE, WORD = 0, 2
LAYER, SIZE, MEMORY, OP = np.uint64(16), np.uint64(32), np.uint64(48), np.uint64(56)
MASK, BYTE = np.uint64(0xFFFF), np.uint64(0xFF)


@kernel
def add(access: Array, low: int, width: int, of_layer: Array, of_bin: Array) -> int:
    """Add bytes by layer, and to the bins of their cycles; return how many accesses are in none.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses: cycle, address and the rest.
    low, width : int
        First cycle, and cycles of a bin.
    of_layer : int64[n_layers, n_memories, 2]
        Bytes by memory and operation; changed.
    of_bin : int64[n_bins, n_memories, 2]
        Changed.
    """
    outside = 0
    for i in range(len(access)):
        word = access[i, WORD]
        memory, op = np.int64((word >> MEMORY) & BYTE), np.int64(word >> OP)
        size = np.int64((word >> SIZE) & MASK)
        at = (np.int64(access[i, CYCLE]) - low) // width
        if at < 0 or at >= len(of_bin):
            outside += 1
            continue
        of_layer[np.int64((word >> LAYER) & MASK), memory, op] += size
        of_bin[at, memory, op] += size
    return outside


class Parts(NamedTuple):
    """Energy in pJ of components; those of memories by reads and writes, other ones are reads.

    Parameters
    ----------
    names : list of str
    of_layer : float64[n_layers, n_components, 2]
    of_bin : float64[n_bins, n_components]
    """

    names: list[str]
    of_layer: Floats
    of_bin: Floats


def energy(
    trace: Trace,
    selection: Selection = ALL,
    bins: int = BINS,
    by: str = "component",
    progress: Progress = silent,
) -> Finding:
    """Return energy by component or layer, and power over time.

    Parameters
    ----------
    trace : Trace
    selection : Selection
        Of layers, units, a frame and cycles. A unit's part of ``noc`` are flits that leave its
        router.
    bins : int
        At most so many, of equal width in whole cycles.
    by : {"component", "layer"}
        What rows are of.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by component: ``read_pj`` and ``write_pj`` of memories, ``total_pj``, ``share`` of
        all, mean ``mw``; or by layer: ``cycles``, ``total_pj``, ``share``, ``mw`` and the pJ of
        each component. Series by bin: ``cycle`` of its start, pJ of each component, ``total_pj``.

    Raises
    ------
    TraceError
        When ``by`` is something else.
    """
    if by not in ("component", "layer"):
        raise TraceError(f"by: must be component or layer, got {by}")
    part = window(trace, selection)
    time = bins_of(part, bins)
    parts = _joined(_memories(trace, selection, part, time, progress),
                    _counted(trace, selection, part, time))  # fmt: skip
    cycles = np.zeros(len(trace.layers))
    np.add.at(cycles, trace.segments["layer"][part.segments], cycles_inside(trace, part))
    facts = about(trace, selection) | {"cycles": part.cycles, "bin_cycles": time.width}
    note = "mac, idle and noc of a wave are spread evenly over its cycles"
    facts |= {"spread": note} | note_of_cut(trace, part, "mac, idle and noc")
    mw_of_pj = facts["clock_hz"] * 1e-9
    total = float(parts.of_layer.sum())
    facts |= {"total_pj": total, "mw": total / part.cycles * mw_of_pj}
    layers = np.flatnonzero(cycles)
    per_layer = parts.of_layer[layers].sum(axis=2)
    facts["of_layers"] = [
        {"layer": trace.layers[layer]} | dict(zip(parts.names, of.tolist(), strict=True))
        for layer, of in zip(layers, per_layer, strict=True)
    ]
    if by == "component":
        rows = _by_component(parts, total, part.cycles / mw_of_pj)
    else:
        names = np.array([trace.layers[layer] for layer in layers])
        rows = _by_layer(parts.names, names, per_layer, cycles[layers], total, mw_of_pj)
    series = table(
        cycle=time.starts, **{name: parts.of_bin[:, i] for i, name in enumerate(parts.names)},
        total_pj=parts.of_bin.sum(axis=1),
    )  # fmt: skip
    return Finding("energy", rows, facts, series, draw, (9, 6))


def _memories(
    trace: Trace, selection: Selection, part: Window, time: Bins, progress: Progress
) -> Parts:
    """Return the energy of accesses, each in the bin of its cycle."""
    n = len(trace.memories)
    of_layer = np.zeros((len(trace.layers), n, 2), np.int64)
    of_bin = np.zeros((time.n, n, 2), np.int64)
    for block in blocks(trace, selection, part, progress):
        outside = add(words(block), time.low, time.width, of_layer, of_bin)
        check_inside(trace, outside)
    memories = trace.table("memories")
    price = np.stack([memories["read_byte_pj"], memories["write_byte_pj"]], axis=1)
    kept = np.flatnonzero(of_layer.any(axis=(0, 2)))
    names = [trace.memories[one] for one in kept]
    return Parts(
        names, of_layer[:, kept] * price[kept], (of_bin[:, kept] * price[kept]).sum(axis=2)
    )


def _counted(trace: Trace, selection: Selection, part: Window, time: Bins) -> Parts:
    """Return the energy of what is counted wave by wave, spread over the wave's cycles."""
    whole = np.zeros((len(trace.segments), len(SPREAD)))
    if _has_pes(trace, selection):
        rows, _ = slots_of(trace, selection, part)
        causes = trace.table("causes")
        idle = trace.attribute("idle_cycle_pj") / trace.attribute("multipliers")
        for column, pj in ((0, causes["is_busy"] * trace.attribute("mac_pj")),
                           (1, causes["is_idle"] * idle)):  # fmt: skip
            np.add.at(whole[:, column], rows["segment"], rows["count"] * pj[rows["cause"]])
    flits, units = rows_of(trace, "flits"), numbers(trace.units, selection.unit, "unit")
    if units is not None:
        source = trace.table("links")["source"][flits["link"]]
        flits = flits[np.isin(source, sorted(units))]
    np.add.at(whole[:, 2], flits["segment"], flits["count"] * trace.attribute("flit_pj"))
    inside = whole * parts_inside(trace, part)[:, None]
    of_layer = np.zeros((len(trace.layers), len(SPREAD), 2))
    np.add.at(of_layer[:, :, 0], trace.segments["layer"], inside)
    n = len(SPREAD) if len(trace.links) else len(SPREAD) - 1
    over_time = spread(trace, part, time, whole[part.segments])
    return Parts(list(SPREAD[:n]), of_layer[:, :n], over_time[:, :n])


def _has_pes(trace: Trace, selection: Selection) -> bool:
    if selection.unit is None:
        return True
    units = numbers(trace.units, selection.unit, "unit") or set()
    return bool((trace.table("units")["kind"][sorted(units)] == b"pe").any())


def _joined(a: Parts, b: Parts) -> Parts:
    return Parts(
        a.names + b.names, np.concatenate([a.of_layer, b.of_layer], axis=1),
        np.concatenate([a.of_bin, b.of_bin], axis=1),
    )  # fmt: skip


def _by_component(parts: Parts, total: float, time: float) -> Array:
    of = parts.of_layer.sum(axis=0)
    split = np.where(np.isin(parts.names, SPREAD)[:, None], np.nan, of)
    mine = of.sum(axis=1)
    return table(
        component=np.array(parts.names), read_pj=split[:, 0], write_pj=split[:, 1], total_pj=mine,
        share=mine / total if total else np.full(len(mine), np.nan), mw=mine / time,
    )  # fmt: skip


def _by_layer(
    names: list[str], layers: Array, mine: Floats, cycles: Floats, total: float, mw_of_pj: float
) -> Array:
    of = mine.sum(axis=1)
    return table(
        layer=layers, cycles=counts(cycles), total_pj=of,
        share=of / total if total else np.full(len(of), np.nan),
        mw=of / cycles * mw_of_pj, **{f"{name}_pj": mine[:, i] for i, name in enumerate(names)},
    )  # fmt: skip


def draw(found: Finding, figure: "Figure") -> None:
    """Draw power over time, component on component, and a bar of energy for each layer."""
    series, layers = found.series, found.facts["of_layers"]
    assert series is not None and series.dtype.names is not None
    over, bars = figure.subplots(2, 1, height_ratios=(3, 2))
    edges, at = np.append(series["cycle"], end_of(found)), np.arange(len(layers))
    power = found.facts["clock_hz"] * 1e-12 / np.diff(edges)
    low, base = np.zeros(len(series)), np.zeros(len(layers))
    names = sorted(series.dtype.names[1:-1], key=lambda name: -float(series[name].sum()))
    for number, name in enumerate(names):
        if not series[name].any():
            continue
        colour, hatch = look_of(number)
        look = part_look(colour, hatch)
        high = low + series[name] * power
        over.stairs(high, edges, baseline=low, fill=True, linewidth=0, label=name, **look)
        of = np.array([layer[name] for layer in layers]) * 1e-12
        bars.bar(at, of, 0.8, base, linewidth=0, **look)
        low, base = high, base + of
    mark_layers(over, found)
    time_axis(over)
    over.set_ylabel(f"power at {found.facts['clock_hz'] / 1e9:g} GHz")
    name_units(bars, [layer["layer"] for layer in layers])
    bars.set_ylabel("energy")
    for axes, unit in ((over, "W"), (bars, "J")):
        axes.set_ylim(bottom=0)
        short_numbers(axes.yaxis, unit)
    title(figure, f"{found.facts['network']}: power over time, energy by layer")
    handles, labels = over.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
