"""Banks: how accesses spread over the banks of memories, and where they meet."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..kernel import kernel
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection
from .figure import short_numbers, title
from .finding import Finding, table
from .window import about, blocks, window, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Ints = NDArray[np.int64]
SIZE, MEMORY, OP = np.uint64(32), np.uint64(48), np.uint64(56)
MASK, BYTE = np.uint64(0xFFFF), np.uint64(0xFF)
LAST, USED, COUNT = range(3)
"""Of a bank: the last cycle in which it was used, accesses in that cycle, accesses in all."""
ACCESSES, FILLED, MOST, CONFLICTS = range(4)
"""Of a memory: accesses, cycles of banks with any, most of a bank in a cycle, those too many."""
CYCLE, TURNS, EXTRA = range(3)
"""Of a unit's memory: a cycle, the turns that it takes, turns beyond the first of all cycles."""
MOST_BANKS = 1 << 21
"""Of all units."""
MOST_NUMBER = 1 << 40
"""Ports, or bytes, that may be asked for."""
MOST_PANELS = 4
MOST_NAMES, MOST_NUMBERS = 16, 200
"""Units that are named, and cells with numbers in them, in a figure."""


class Layout(NamedTuple):
    """Banks of memories, as the kernel takes them; memory m's are row m.

    Parameters
    ----------
    width : int64[n]
        Bytes from bank to bank; 0 where there is one.
    inverse : float64[n]
        Of the width, by which addresses are divided but for 1 more or less.
    banks : int64[n]
    first : int64[n]
        Its first bank among those of all memories.
    ports : int64[n, 2]
        Of a bank, for reads and writes.
    """

    width: Ints
    inverse: NDArray[np.float64]
    banks: Ints
    first: Ints
    ports: Ints


@kernel
def count(
    access: Array, is_spread: bool, width: Array, inverse: Array, banks: Array, first: Array,
    ports: Array, bank: Array, memory: Array, unit: Array,
) -> int:  # fmt: skip
    """Count accesses of banks, in order of cycles; return the first behind the last bank, or -1.

    Parameters
    ----------
    access : uint64[n, 3]
        Words of accesses.
    is_spread : bool
        Whether an access is one of each ``width`` bytes that it touches; else of its first byte.
    width, inverse, banks, first, ports
        See `Layout`.
    bank : int64[n_units, n_banks, 2, 3]
        By operation, `LAST` and the next; changed.
    memory : int64[n_memories, 2, 4]
        `ACCESSES` and the next; changed.
    unit : int64[n_units, n_memories, 2, 3]
        `CYCLE` and the next; changed.
    """
    for i in range(len(access)):
        cycle, address, word = np.int64(access[i, 0]), np.int64(access[i, 1]), access[i, 2]
        u, m, op = np.int64(word & MASK), np.int64((word >> MEMORY) & BYTE), np.int64(word >> OP)
        memory[m, op, ACCESSES] += 1
        begin, end = np.int64(0), np.int64(0)
        if width[m] > 0:
            begin = np.int64(address * inverse[m])
            begin += (address >= (begin + 1) * width[m]) - (address < begin * width[m])
            end = begin
            if is_spread:
                end = (address + max(int((word >> SIZE) & MASK), 1) - 1) // width[m]
            elif begin < 0 or begin >= banks[m]:
                return i
        for k in range(begin, end + 1):
            b = first[m] + (k % banks[m] if is_spread else k)
            used = bank[u, b, op, USED] + 1
            if bank[u, b, op, LAST] != cycle:
                bank[u, b, op, LAST], used = cycle, 1
                memory[m, op, FILLED] += 1
            bank[u, b, op, USED] = used
            bank[u, b, op, COUNT] += 1
            if used > memory[m, op, MOST]:
                memory[m, op, MOST] = used
            if used > ports[m, op]:
                memory[m, op, CONFLICTS] += 1
                if unit[u, m, op, CYCLE] != cycle:
                    unit[u, m, op, CYCLE], unit[u, m, op, TURNS] = cycle, 1
                turns = (used + ports[m, op] - 1) // ports[m, op]
                if turns > unit[u, m, op, TURNS]:
                    unit[u, m, op, EXTRA] += turns - unit[u, m, op, TURNS]
                    unit[u, m, op, TURNS] = turns
    return -1


def banks(
    trace: Trace,
    selection: Selection = ALL,
    banks: int | None = None,
    ports: int | None = None,
    interleave: int | None = None,
    progress: Progress = silent,
) -> Finding:
    """Return how accesses spread over banks, and how many want more ports than there are.

    Parameters
    ----------
    trace : Trace
    selection : Selection
    banks : int, optional
        As if each memory had so many; by default those that it has.
    ports : int, optional
        As if each bank had so many for reads, and so many for writes.
    interleave : int, optional
        As if so many bytes lay in a bank, the next ones in the next bank, and so on around; by
        default each bank holds one range of addresses.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by memory and op: ``banks``, ``ports``, ``accesses``, ``busiest``, the
        share of each unit's busiest bank, ``mean`` and ``most`` accesses of a bank in a cycle that
        has any, ``conflicts``, ``extra`` cycles of all units and ``extra_worst`` of the unit with
        most. Series by memory, unit, op and bank: ``accesses``.

    Raises
    ------
    TraceError
        When a number is below 1 or too large.
    """
    for name, value in (("banks", banks), ("ports", ports), ("interleave", interleave)):
        most = MOST_BANKS if name == "banks" else MOST_NUMBER
        if value is not None and not 1 <= value <= most:
            raise TraceError(f"{name}: must be 1 to {most:,}, got {value}")
    part, layout = window(trace, selection), _layout(trace, banks, ports, interleave)
    n_units, n = len(trace.units), len(trace.memories)
    of_bank = np.zeros((n_units, int(layout.banks.sum()), 2, 3), np.int64)
    of_memory, of_unit = np.zeros((n, 2, 4), np.int64), np.zeros((n_units, n, 2, 3), np.int64)
    of_bank[..., LAST], of_unit[..., CYCLE] = -1, -1
    is_spread = banks is not None or interleave is not None
    for block in blocks(trace, selection, part, progress, "cycle"):
        at = count(words(block), is_spread, *layout, of_bank, of_memory, of_unit)
        if at >= 0:
            raise TraceError(
                f"{trace.path}: is damaged: {trace.memories[block['memory'][at]]} has no bank of "
                f"address {block['address'][at]}; make the trace again"
            )
    facts = about(trace, selection) | {"cycles": part.cycles}
    asked = {"banks": banks, "ports": ports, "interleave": interleave}
    facts |= {f"as_if_{name}": value for name, value in asked.items() if value is not None}
    return _finding(trace, layout, of_bank, of_memory, of_unit, facts)


def _layout(trace: Trace, banks: int | None, ports: int | None, interleave: int | None) -> Layout:
    record = trace.table("memories")
    names = ("bytes", "word_bytes", "bank_bytes")
    size, word, own = (record[name].astype(np.int64) for name in names)
    n = np.where(size > 0, -(-size // np.maximum(own, 1)), 1)
    if banks is not None:
        n = np.where(size > 0, banks, 1)
        word = np.maximum(word, 1)
        own = np.maximum(-(-size // n // word) * word, word)
    if interleave is not None:
        own = np.full(len(size), interleave)
    if int(n.sum()) * len(trace.units) > MOST_BANKS:
        raise TraceError(
            f"banks: must be {MOST_BANKS:,} in all units and memories at most, got "
            f"{int(n.sum()) * len(trace.units):,}; choose fewer"
        )
    has = np.stack([record["read_ports"], record["write_ports"]], 1).astype(np.int64)
    has = np.maximum(has, 1) if ports is None else np.full_like(has, ports)
    width = np.where(n > 1, own, 0)
    return Layout(width, 1 / np.maximum(width, 1), n, np.cumsum(n) - n, has)


def _finding(
    trace: Trace, layout: Layout, of_bank: Ints, of_memory: Ints, of_unit: Ints,
    facts: dict[str, Any],
) -> Finding:  # fmt: skip
    rows = []
    for memory, op in np.argwhere(of_memory[..., ACCESSES]).tolist():
        first, n = int(layout.first[memory]), int(layout.banks[memory])
        mine = of_bank[:, first : first + n, op, COUNT]
        total, filled, most, conflicts = of_memory[memory, op].tolist()
        extra, used = of_unit[:, memory, op, EXTRA], int(mine.sum())
        rows.append(
            (trace.memories[memory], trace.ops[op], n, int(layout.ports[memory, op]),
             total, mine.max(axis=1).sum() / used, used / filled, most,
             conflicts, int(extra.sum()), int(extra.max()))
        )  # fmt: skip
    told = ("memory", "op", "banks", "ports", "accesses", "busiest", "mean", "most", "conflicts",
            "extra", "extra_worst")  # fmt: skip
    series = _series(trace, layout, of_bank[..., COUNT])
    of_banks = ("memory", "unit", "op", "bank", "accesses")
    return Finding("banks", _columns(told, rows), facts, _columns(of_banks, series), draw, (8, 5))


def _series(trace: Trace, layout: Layout, used: Ints) -> list[Any]:
    """Return memory, unit, op, bank, accesses of what is used at all."""
    found = []
    for memory, name in enumerate(trace.memories):
        first, n = int(layout.first[memory]), int(layout.banks[memory])
        mine = used[:, first : first + n]
        for unit, op in np.argwhere(mine.any(axis=1)).tolist():
            told = name, trace.units[unit], trace.ops[op]
            found += [(*told, k, int(mine[unit, k, op])) for k in range(n)]
    return found


def _columns(names: tuple[str, ...], rows: list[Any]) -> Array:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return table(**{name: np.array(column) for name, column in zip(names, columns, strict=True)})


def draw(found: Finding, figure: "Figure") -> None:
    """Draw accesses by unit and bank, a heat map for each memory of several banks.

    Where all memories have one bank, it draws their accesses by unit.
    """
    series = found.series
    assert series is not None
    names = [str(name) for name in dict.fromkeys(found.rows["memory"].tolist())]
    several = [name for name in names if series["bank"][series["memory"] == name].any()]
    shown = (several or names)[:MOST_PANELS]
    axes = figure.subplots(1, max(1, len(shown)), squeeze=False)[0]
    for one, name in zip(axes, shown, strict=False):
        mine = series[series["memory"] == name]
        units = list(dict.fromkeys(mine["unit"].tolist()))
        cells = np.zeros((len(units), int(mine["bank"].max()) + 1))
        place = {unit: number for number, unit in enumerate(units)}
        np.add.at(cells, ([place[unit] for unit in mine["unit"].tolist()], mine["bank"]),
                  mine["accesses"])  # fmt: skip
        _map(figure, one, cells, units)
        rows = found.rows[found.rows["memory"] == name]
        one.set_title(f"{name}: {rows['conflicts'].sum():,} conflicts", fontsize="medium")
    axes[0].set_ylabel("unit")
    title(figure, f"{found.facts['network']}: reads and writes by unit and bank")


def _map(figure: "Figure", axes: "Axes", cells: Array, units: list[str]) -> None:
    """Draw accesses of units and banks, with numbers where there is room."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    image = axes.imshow(cells, aspect="auto", cmap="cividis", vmin=0, interpolation="none")
    step = -(-len(units) // MOST_NAMES)
    axes.set_yticks(np.arange(0, len(units), step), units[::step])
    axes.set_xlabel("bank")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    write = EngFormatter(sep=" ", places=1) if cells.max() >= 1000 else "{:.0f}".format
    is_small = cells.size <= MOST_NUMBERS and len(figure.axes) == 1
    for (unit, bank), n in np.ndenumerate(cells if is_small else cells[:0]):
        colour = "white" if n < 0.6 * cells.max() else "black"
        axes.text(bank, unit, write(n), ha="center", va="center", fontsize=7, color=colour)
    bar = figure.colorbar(image, ax=axes, label="accesses", orientation="horizontal", aspect=30)
    bar.ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    short_numbers(bar.ax.xaxis)
