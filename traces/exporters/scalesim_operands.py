"""Which accesses are SCALE-Sim's ifmap, filter and ofmap, and the numbers of their elements."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..selection import Selection, numbers

Ints = NDArray[np.int64]

MOST_ELEMENTS = 10_000_000
OFFSETS = {"ifmap": 0, "filter": MOST_ELEMENTS, "ofmap": 2 * MOST_ELEMENTS}
"""The first element of each operand, as SCALE-Sim's configurations have it."""


class Source(NamedTuple):
    """Where the elements of an operand come from.

    Parameters
    ----------
    operand : {"ifmap", "filter", "ofmap"}
    memory : str
    op : {"read", "write"}
    element_bytes : int
    """

    operand: str
    memory: str
    op: str
    element_bytes: int


SRAM = {
    "mnf": (
        Source("ifmap", "storage", "read", 8),
        Source("filter", "weight", "read", 1),
        Source("ofmap", "psum", "write", 4),
    ),
    "flexnn": (
        Source("ifmap", "rf_if", "read", 1),
        Source("filter", "rf_fl", "read", 1),
        Source("ofmap", "rf_of", "write", 4),
    ),
}
"""Mode of a layer -> the memories that stand for SCALE-Sim's SRAMs.

An element is in mode mnf an event as storage holds it, a weight, a psum; in mode flexnn an
activation or weight that is no zero, and a psum.
"""

DRAM = (
    Source("ifmap", "dram", "read", 1),
    Source("filter", "dram", "read", 1),
    Source("ofmap", "dram", "write", 1),
)
"""In all modes; what is read is a filter's where `weight_range` says so."""


def weight_range(trace: Trace, number: int) -> tuple[int, int]:
    """Return the bytes of DRAM between which a segment reads weights, half-open.

    Weights lie before all tensors, or behind them, so nothing else is read there. Lists of stream
    ``weight_read`` are weights; of two lists of stream ``tile_in`` with DRAM the second is.
    """
    segment, tables = trace._segment(number), trace._tables
    streams, dram = trace._names("streams"), trace.memories.index("dram")
    found: list[tuple[int, int]] = []
    tiles = 0
    for one in segment.numbers:
        stream, rows = streams[segment.index.lists["stream"][one]], segment.rows(one)
        if stream not in ("weight_read", "tile_in") or not rows:
            continue
        item = tables.items[tables.first[segment.pattern(one)]]
        if (item["memory"] != dram).any():
            continue
        tiles += stream == "tile_in"
        if stream == "tile_in" and tiles != 2:
            continue
        offset = segment.index.members["base_offset"][segment.members(one)[0]]
        address = segment.address(one) + int(offset) + item["address"]
        end = address + np.maximum(item["size"], segment.column("span", one))
        found.append((int(address.min()), int(end.max())))
    if not found:
        return 0, 0
    return min(low for low, _ in found), max(high for _, high in found)


class Elements(NamedTuple):
    """Elements that are accessed, in order of cycles: so many from the first one on.

    Parameters
    ----------
    cycle, first, n : int64[rows]
    """

    cycle: Ints
    first: Ints
    n: Ints


def accesses(trace: Trace, selection: Selection, source: Source) -> Iterator[NDArray[Any]]:
    """Yield the selected accesses that are of an operand; the selection is of one layer."""
    if not is_wanted(trace, selection, source):
        return
    mine = replace(selection, memory=source.memory, op=source.op)
    cycle0, at, low, high = trace.segments["cycle0"], -1, 0, 0
    for block in trace.accesses(**mine.arguments):
        if source.memory == "dram" and source.op == "read":
            number = int(np.searchsorted(cycle0, block["cycle"][0], "right")) - 1
            if number != at:
                at, (low, high) = number, weight_range(trace, number)
            is_weight = (block["address"] >= low) & (block["address"] < high)
            block = block[is_weight == (source.operand == "filter")]
        if len(block):
            yield block


def is_wanted(trace: Trace, selection: Selection, source: Source) -> bool:
    """Return whether memory and operation of an operand are selected."""
    memories = numbers(trace.memories, selection.memory, "memory")
    ops = numbers(trace.ops, selection.op, "op")
    if source.memory not in trace.memories:
        return False
    return (memories is None or trace.memories.index(source.memory) in memories) and (
        ops is None or trace.ops.index(source.op) in ops
    )


def elements(source: Source, base: Ints, begin: int, block: NDArray[Any]) -> Elements:
    """Return the elements of accesses.

    Parameters
    ----------
    source : Source
    base : int64[n_units]
        Added to the number of an element in each unit's memory.
    begin : int
        Cycle of the run that becomes 0.
    block : structured array[n]
        Of dtype `firemesh.traces.schema.ACCESS`.
    """
    address, size = block["address"].astype(np.int64), source.element_bytes
    first = address // size
    count = (address + block["size"] - 1) // size - first + 1
    return Elements(block["cycle"].astype(np.int64) - begin, first + base[block["unit"]], count)


def check_room(trace: Trace, source: Source, n: int, where: str, flag: str) -> None:
    """Refuse an operand of too many elements."""
    if n > MOST_ELEMENTS:
        raise TraceError(
            f"{trace.path}: operand {source.operand} has {n:,} elements {where}, more than the "
            f"{MOST_ELEMENTS:,} that SCALE-Sim's offsets leave room for; choose less with --{flag}"
        )
