"""Reuse: after how many other blocks a block is touched again, and which caches would hold it."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..progress import Progress, silent
from ..reader import Trace
from ..selection import ALL, Selection, numbers
from . import lru
from .figure import look_of, title
from .finding import Finding, table
from .window import Bins, about, bins_of, blocks, window, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
LEAST_BLOCKS, LEAST_STAMPS = 1 << 8, 1 << 10
MOST_BLOCKS = 1 << 30
"""Of a memory of a unit."""
WARM_SHARE = 0.9
Array = NDArray[Any]
Ints = NDArray[np.int64]


class Pool:
    """A growing array, of which parts are taken.

    Attributes
    ----------
    array : array
        Zero where nothing was written.
    """

    def __init__(self, kind: Any) -> None:
        self.array: Array = np.zeros(1 << 12, kind)
        self._used = 0

    def take(self, n: int) -> int:
        """Return where a part of ``n`` begins."""
        first, self._used = self._used, self._used + n
        if self._used > len(self.array):
            more = np.zeros(max(2 * len(self.array), self._used), self.array.dtype)
            more[:first] = self.array[:first]
            self.array = more
        return first


class Stacks:
    """The LRU stacks of all units and memories, and what is counted with them.

    Parameters
    ----------
    trace : Trace
    block_bytes : int64[n_memories]
    time : Bins
    """

    def __init__(self, trace: Trace, block_bytes: Ints, time: Bins) -> None:
        n = len(trace.memories)
        self._trace, self._block_bytes, self._time, self._n = trace, block_bytes, time, n
        self.stack = np.zeros((len(trace.units) * n, lru.FIELDS), np.int64)
        self._last, self._owner = Pool(np.int32), Pool(np.int32)
        self._bits, self._tree = Pool(np.uint64), Pool(np.int32)
        self.histogram = np.zeros((n, lru.bin_of(2 * MOST_BLOCKS) + 1), np.int64)
        self.total = np.zeros(n, np.int64)
        self._factor = -(-(1 << lru.SHIFT) // block_bytes)
        self.touched = np.zeros((n, time.n), np.int64)

    def _state(self) -> lru.Stacks:
        pools = self._last, self._owner, self._bits, self._tree
        return lru.Stacks(self.stack, *(pool.array for pool in pools))

    def follow(self, block: Array) -> None:
        """Follow accesses, in order of cycles."""
        access, at, call = words(block), 0, np.array([0, 0, 0, -1])
        while at < len(access):
            at = lru.follow(
                access, at, self._n, self._block_bytes, self._factor, self._time.low,
                self._time.width,
                *self._state(), call, self.histogram, self.total, self.touched,
            )  # fmt: skip
            if at < len(access):
                grow = self._blocks if call[lru.STATUS] == lru.NEEDS_BLOCKS else self._stamps
                grow(int(call[lru.STACK]), int(call[lru.WANTED]))

    def _blocks(self, one: int, block: int) -> None:
        """Make room for more blocks of a stack."""
        record = self._trace.table("memories")[one % self._n]
        most = int(record["bytes"]) // int(self._block_bytes[one % self._n])
        if not 0 <= block <= most:
            raise TraceError(
                f"{self._trace.path}: is damaged: {self._trace.memories[one % self._n]} has no "
                f"address {block * int(self._block_bytes[one % self._n])}; make the trace again"
            )
        first, n = self.stack[one, lru.BLOCK0], self.stack[one, lru.BLOCKS]
        more = min(max(2 * int(n), block + 1, LEAST_BLOCKS), most + 1)
        at = self._last.take(more)
        self._last.array[at : at + n] = self._last.array[first : first + n]
        self.stack[one, [lru.BLOCK0, lru.BLOCKS]] = at, more

    def _stamps(self, one: int, block: int) -> None:
        """Make room for more stamps of a stack."""
        stamps = max(LEAST_STAMPS, 2 * int(self.stack[one, lru.STAMPS]))
        at = self._owner.take(stamps)
        for pool in (self._bits, self._tree):
            pool.take(stamps // 64)
        lru.compact(one, at, stamps, *self._state())


def reuse(
    trace: Trace,
    selection: Selection = ALL,
    bins: int = BINS,
    block: int | None = None,
    progress: Progress = silent,
) -> Finding:
    """Return how soon blocks are touched again, for each memory.

    Each unit's memory has an LRU stack of its own; what they count is added up over units.

    Parameters
    ----------
    trace : Trace
    selection : Selection
        Stacks are empty at its begin.
    bins : int
        Bins of time of the working set.
    block : int, optional
        Bytes; by default a memory's word.
    progress : callable, optional

    Returns
    -------
    Finding
        Rows by memory: ``block_bytes``, ``touches``, ``cold`` ones, ``mean`` and ``median``
        distance in blocks, ``footprint`` of all units in bytes, ``mean_set`` and ``peak_set``,
        the working set of a bin of time in bytes, and ``bytes_90``, the least LRU cache of a
        unit, of a power of two blocks, that hits 9 of 10 touches that are not cold. Series by
        memory and power of two: ``distance`` from which on and ``count`` of distances below
        ``blocks``, ``bytes`` of as many blocks and ``hit_share`` of an LRU cache of them.

    Raises
    ------
    TraceError
        When the block is not 1 to 65,536 bytes, or no memory with addresses is selected.
    """
    if block is not None and not 1 <= block <= 1 << 16:
        raise TraceError(f"block: must be 1 to 65,536 bytes, got {block}")
    part = window(trace, selection)
    time, memories = bins_of(part, bins), _memories(trace, selection)
    record = trace.table("memories")
    size = np.maximum(record["word_bytes"].astype(np.int64), 1)
    size = size if block is None else np.full_like(size, block)
    if (record["bytes"][memories] // size[memories].astype(np.uint64) >= MOST_BLOCKS).any():
        raise TraceError(f"block: memories have {MOST_BLOCKS:,} blocks or more; choose larger ones")
    chosen = Selection(**selection.arguments | {"memory": memories})
    stacks = Stacks(trace, size, time)
    for one in blocks(trace, chosen, part, progress, "cycle"):
        stacks.follow(one)
    facts = about(trace, selection) | {"cycles": part.cycles, "bin_cycles": time.width}
    return _finding(trace, stacks, size, facts)


def _memories(trace: Trace, selection: Selection) -> list[int]:
    """Return the selected memories whose addresses are bytes."""
    wanted = numbers(trace.memories, selection.memory, "memory")
    held = np.flatnonzero(trace.table("memories")["bytes"] > 0).tolist()
    found = [memory for memory in held if wanted is None or memory in wanted]
    if not found:
        raise TraceError("memory: has no addresses in bytes; select another one")
    return found


def _finding(trace: Trace, stacks: Stacks, size: Ints, facts: dict[str, Any]) -> Finding:
    rows, series, sets = [], [], {}
    live = stacks.stack[:, lru.LIVE].reshape(len(trace.units), -1).sum(axis=0)
    starts = _starts(stacks.histogram.shape[1])
    for memory in np.flatnonzero(live).tolist():
        name, block, cold = trace.memories[memory], int(size[memory]), int(live[memory])
        count, distance = stacks.histogram[memory], int(stacks.total[memory])
        warm = int(count.sum())
        touches = warm + cold
        curve = _curve(name, block, touches, count, starts)
        series += curve
        working = stacks.touched[memory] * block
        sets[name] = working.tolist()
        enough = [row[4] for row in curve if row[5] * touches >= WARM_SHARE * warm]
        rows.append(
            (name, block, touches, cold, distance / warm if warm else np.nan,
             _median(count, starts), cold * block, working.mean(),
             int(working.max()), enough[0] if warm else 0)
        )  # fmt: skip
    told = ("memory", "block_bytes", "touches", "cold", "mean", "median", "footprint", "mean_set",
            "peak_set", "bytes_90")  # fmt: skip
    of_curve = ("memory", "distance", "count", "blocks", "bytes", "hit_share")
    own = {name: int(trace.table("memories")["bytes"][trace.memories.index(name)]) for name in sets}
    facts |= {"working_sets": sets, "memory_bytes": own}
    return Finding("reuse", _columns(told, rows), facts, _columns(of_curve, series), draw, (8, 5))


def _columns(names: tuple[str, ...], rows: list[Any]) -> Array:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return table(**{name: np.array(column) for name, column in zip(names, columns, strict=True)})


def _starts(n: int) -> Ints:
    """Return int64[n]: the least distance of each bin of `firemesh.traces.analyses.lru.bin_of`."""
    number = np.arange(n, dtype=np.int64)
    shift = np.maximum((number >> lru.SUB_BITS) - 1, 0)
    starts: Ints = (number - (shift << lru.SUB_BITS)) << shift
    return starts


def _median(count: Ints, starts: Ints) -> float:
    """Return the middle distance; of an even number the mean of both, nan of none."""
    n, edges = int(count.sum()), np.cumsum(count)
    if not n:
        return np.nan
    low, high = np.searchsorted(edges, [(n - 1) // 2, n // 2], "right")
    return float(starts[low] + starts[high]) / 2


def _curve(name: str, block: int, touches: int, count: Ints, starts: Ints) -> list[Any]:
    """Return memory, distance, count, blocks, bytes, hit share for powers of two."""
    used = np.flatnonzero(count)
    most = int(starts[used[-1]]) if len(used) else 0
    found, hits = [], 0
    for k in range(most.bit_length() + 1):
        low, high = (1 << k) >> 1, 1 << k
        first, end = np.searchsorted(starts, [low, high])
        n = int(count[first:end].sum())
        hits += n
        found.append((name, low, n, high, high * block, hits / touches))
    return found


def draw(found: Finding, figure: "Figure") -> None:
    """Draw what an LRU cache of each unit would hit against its size, a line for each memory."""
    series, own = found.series, found.facts["memory_bytes"]
    assert series is not None
    axes = figure.subplots()
    for number, name in enumerate(own):
        mine = series[series["memory"] == name]
        colour, hatch = look_of(number)
        line, size, face = ("s--", 5, "none") if hatch else ("o-", 3, colour)
        axes.plot(mine["bytes"], 100 * mine["hit_share"], line, markersize=size, color=colour,
                  markerfacecolor=face, label=name, linewidth=1.2)  # fmt: skip
        share = 100 * float(mine["hit_share"][-1])
        axes.plot([mine["bytes"][-1], max(own[name], mine["bytes"][-1])], [share] * 2, ":",
                  color=colour, linewidth=0.8)  # fmt: skip
        axes.plot(own[name], share, "|", markersize=12, markeredgewidth=2, color=colour)
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 102)
    axes.xaxis.set_major_formatter(lambda value, _: _bytes(value))
    axes.set_xlabel("bytes of an LRU cache in each unit; | the memory's own")
    axes.set_ylabel("touches that hit, %")
    figure.legend(loc="outside right upper", frameon=False)
    title(figure, f"{found.facts['network']}: what a smaller memory would catch")


def _bytes(value: float) -> str:
    """Return a power of two in bytes, short."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:g} {unit}"
