"""Bandwidth: bytes that memories read and write, over time."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection
from .figure import end_of, mark_layers, time_axis, title
from .finding import Finding, table
from .window import Bins, about, bins_of, blocks, check_inside, window, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
COLOUR = {"read": "#0072B2", "write": "#D55E00"}
WIDTH = {"read": 2.2, "write": 0.9}
"""Of lines; writes lie on reads."""
Array = NDArray[Any]
ADDRESS, WORD = 1, 2
SIZE, MEMORY, OP = np.uint64(32), np.uint64(48), np.uint64(56)
MASK, BYTE = np.uint64(0xFFFF), np.uint64(0xFF)


@kernel
def add(access: Array, low: int, width: int, total: Array) -> int:
    """Add accesses and their bytes to the bins of their cycles; return how many are in none.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses: cycle, address and the rest.
    low, width : int
        First cycle, and cycles of a bin.
    total : int64[n_memories, 2, n_bins, 2]
        By memory, operation and bin, accesses and bytes; changed.
    """
    outside = 0
    for i in range(len(access)):
        word = access[i, 2]
        memory, op = np.int64((word >> MEMORY) & BYTE), np.int64(word >> OP)
        at = (np.int64(access[i, 0]) - low) // width
        if at < 0 or at >= total.shape[2]:
            outside += 1
            continue
        total[memory, op, at, 0] += 1
        total[memory, op, at, 1] += np.int64((word >> SIZE) & MASK)
    return outside


def bandwidth(
    trace: Trace, selection: Selection = ALL, bins: int = BINS, progress: Progress = silent
) -> Finding:
    """Return how many bytes each memory reads and writes in bins of time.

    Parameters
    ----------
    trace : Trace
    selection : Selection
    bins : int
        At most so many, of equal width in whole cycles.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by memory and op: ``accesses``, ``bytes``, ``bytes_per_cycle`` over the whole window,
        ``peak_bytes_per_cycle`` of the busiest bin, and the same in GB/s at the machine's clock.
        Series by memory, op and bin: ``cycle`` of its start, ``accesses``, ``bytes``,
        ``bytes_per_cycle``.
    """
    part = window(trace, selection)
    time = bins_of(part, bins)
    total = np.zeros((len(trace.memories), 2, time.n, 2), np.int64)
    for block in blocks(trace, selection, part, progress):
        check_inside(trace, add(words(block), time.low, time.width, total))
    facts = about(trace, selection) | {"cycles": part.cycles, "bin_cycles": time.width}
    return _finding(trace, facts, part.cycles, time, total)


def _finding(
    trace: Trace, facts: dict[str, Any], cycles: int, time: Bins, total: NDArray[np.int64]
) -> Finding:
    memory, op = np.nonzero(total[..., 0].sum(axis=2))
    mine, lengths = total[memory, op], np.full(time.n, time.width)
    lengths[-1] = cycles - time.width * (time.n - 1)
    rate, count = mine[..., 1] / lengths, len(memory)
    peak = rate.max(axis=1, initial=0.0)
    accesses, moved = mine.sum(axis=1).T if count else np.zeros((2, 0), np.int64)
    names, ops = np.array(trace.memories)[memory], np.array(trace.ops)[op]
    giga = facts["clock_hz"] / 1e9
    rows = table(
        memory=names, op=ops, accesses=accesses, bytes=moved, bytes_per_cycle=moved / cycles,
        peak_bytes_per_cycle=peak, gb_per_s=moved / cycles * giga, peak_gb_per_s=peak * giga,
    )  # fmt: skip
    series = table(
        memory=np.repeat(names, time.n), op=np.repeat(ops, time.n),
        cycle=np.tile(time.starts, count), accesses=mine[..., 0].ravel(),
        bytes=mine[..., 1].ravel(), bytes_per_cycle=rate.ravel(),
    )  # fmt: skip
    return Finding("bandwidth", rows, facts, series, draw, (8, 7))


def draw(found: Finding, figure: "Figure") -> None:
    """Draw bytes a cycle over time: a row of axes for each memory, lines for reads and writes."""
    series, rows = found.series, found.rows
    assert series is not None
    names, end = list(dict.fromkeys(rows["memory"].tolist())), end_of(found)
    axes = figure.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
    lines: dict[str, Any] = {}
    for number, name in enumerate(names):
        one = axes[number]
        for op, colour in COLOUR.items():
            mine = series[(series["memory"] == name) & (series["op"] == op)]
            if len(mine):
                edges = np.append(mine["cycle"], end)
                look = {"color": colour, "linewidth": WIDTH[op], "baseline": None}
                lines[op] = one.stairs(mine["bytes_per_cycle"], edges, **look)
        one.set_ylabel(name, rotation=0, ha="right", va="center")
        one.set_ylim(bottom=0)
        mark_layers(one, found, number == 0)
    title(figure, f"{found.facts['network']}: bytes a cycle")
    figure.legend(lines.values(), lines, loc="outside lower right", ncols=2, frameon=False)
    time_axis(axes[-1])
