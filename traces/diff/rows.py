"""What is compared of two traces row by row: accesses, arrivals of packets, packets."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernel import kernel
from ..schema import ACCESS, NETWORK_MEMORIES, OPS, PACKET_SHIFT
from .sides import CYCLE_MASK, Common, Side

Rows = NDArray[np.uint64]
"""uint64[n, k]: rows in the order of time; column 0 is the cycle that is compared."""
Array = NDArray[Any]
NUMBER = np.uint64((1 << PACKET_SHIFT) - 1)
CYCLE, SOURCE, PLACE, FLITS, KIND, LAYER, VALUE = range(7)
"""Columns of packets; ``PLACE`` is the packet's number among those of its source."""


@kernel
def first_difference(a: Array, b: Array) -> int:
    """Return the first row in which two uint64[n, k] differ, n where none does."""
    for i in range(len(a)):
        for k in range(a.shape[1]):
            if a[i, k] != b[i, k]:
                return i
    return len(a)


class What(NamedTuple):
    """What is compared.

    Parameters
    ----------
    name : str
    width : int
        Columns of its rows.
    rows : callable
        Side and place of a segment -> blocks of rows.
    order : callable
        Rows -> their order, which does not depend on how they are stored.
    tell : callable
        A row -> what it says, by names, fit for JSON.
    """

    name: str
    width: int
    rows: Callable[[Side, int], Iterator[Rows]]
    order: Callable[[Rows], NDArray[np.int64]]
    tell: Callable[[NDArray[np.uint64]], dict[str, Any]]


def accesses_of(common: Common) -> What:
    """Return accesses to memories: rows are words of `firemesh.traces.schema.ACCESS`."""

    def tell(row: NDArray[np.uint64]) -> dict[str, Any]:
        one = row.view(ACCESS)[0]
        return {
            "cycle": int(one["cycle"]) & CYCLE_MASK if common.relative else int(one["cycle"]),
            "unit": common.units[one["unit"]],
            "layer": common.layers[one["layer"]],
            "memory": common.doors[one["memory"]],
            "op": OPS[one["op"]],
            "address": int(one["address"]),
            "bytes": int(one["size"]),
        }

    return What(
        "access", 3, lambda side, i: _expanded(side, i, common, common.memories), _order, tell
    )


def arrivals_of(common: Common) -> What:
    """Return arrivals of packets at units, as accesses to the network's door."""

    def tell(row: NDArray[np.uint64]) -> dict[str, Any]:
        one = row.view(ACCESS)[0]
        return {
            "cycle": int(one["cycle"]) & CYCLE_MASK if common.relative else int(one["cycle"]),
            "unit": common.units[one["unit"]],
            "layer": common.layers[one["layer"]],
            "source": common.units[int(one["address"]) >> PACKET_SHIFT],
            "number": int(one["address"]) & int(NUMBER),
            "flits": int(one["size"]),
        }

    door = [NETWORK_MEMORIES[1]]
    return What("arrival", 3, lambda side, i: _expanded(side, i, common, door), _order, tell)


def _order(rows: Rows) -> NDArray[np.int64]:
    """Return the order by cycle, unit, memory, op, address, size and layer."""
    one = np.ascontiguousarray(rows).view(ACCESS)[:, 0]
    names = ("layer", "size", "address", "op", "memory", "unit", "cycle")
    return np.lexsort([one[name] for name in names])


def _expanded(side: Side, i: int, common: Common, memories: list[str]) -> Iterator[Rows]:
    """Yield accesses of a segment with the common numbers, in order of cycles."""
    trace, plain = side.trace, side.is_plain
    units = set(np.flatnonzero(side.units >= 0).tolist())
    shapes = trace._shapes(memories, common.ops)
    is_door = memories[0] in NETWORK_MEMORIES if memories else False
    found = trace._expanded(int(side.segments[i]), shapes, units, "cycle", side.low, side.high)
    for block in found if memories else ():
        if is_door:
            _check_sources(side, block)
        if not plain:
            for name, number in (
                ("unit", side.units), ("layer", side.layers), ("memory", side.memories),
            ):  # fmt: skip
                block[name] = number[block[name]]
            if is_door:
                block = _from_common_sources(side, block)
        rows = np.ascontiguousarray(block).view(np.uint64).reshape(-1, 3)
        if side.shift[i]:
            rows.view(np.int64)[:, 0] += side.shift[i]
        yield rows


def _check_sources(side: Side, block: NDArray[Any]) -> None:
    """Refuse packets of units that do not exist."""
    most = int(block["address"].max()) >> PACKET_SHIFT
    if most >= len(side.units):
        raise side.trace.damaged("lists", ValueError(f"a packet comes from unit {most}"))


def _from_common_sources(side: Side, block: NDArray[Any]) -> NDArray[Any]:
    """Return arrivals of packets whose source is compared, with its common number."""
    source = side.units[(block["address"] >> np.uint64(PACKET_SHIFT)).astype(np.int64)]
    block = block[source >= 0]
    number = source[source >= 0].astype(np.uint64)
    block["address"] = number << np.uint64(PACKET_SHIFT) | block["address"] & NUMBER
    return block


def packets_of(common: Common, with_values: bool) -> What:
    """Return packets as they were offered to the network; with the values of their events."""

    def rows(side: Side, i: int) -> Iterator[Rows]:
        packets = side.trace._packets_of(int(side.segments[i]))
        source, kind = side.units[packets["source"]], side.kinds[packets["kind"]]
        cycle = packets["created"].astype(np.int64)
        wanted = (source >= 0) & (cycle >= side.low) & (cycle < side.high)
        found = np.zeros((int(wanted.sum()), VALUE + 1), np.int64)
        found[:, CYCLE] = cycle[wanted] + side.shift[i]
        found[:, SOURCE], found[:, KIND] = source[wanted], kind[wanted]
        found[:, PLACE], found[:, FLITS] = packets["number"][wanted], packets["flits"][wanted]
        found[:, LAYER] = side.layers[packets["layer"][wanted]]
        if with_values:
            found[:, VALUE] = packets["value"][wanted]
        yield found.view(np.uint64)

    def order(found: Rows) -> NDArray[np.int64]:
        return np.lexsort(found.T[::-1])

    def tell(row: NDArray[np.uint64]) -> dict[str, Any]:
        one = row.view(np.int64).tolist()
        kind = common.kinds[one[KIND]] if one[KIND] >= 0 else "another"
        told = {
            "cycle": one[CYCLE] & CYCLE_MASK if common.relative else one[CYCLE],
            "source": common.units[one[SOURCE]], "layer": common.layers[one[LAYER]],
            "number": one[PLACE], "kind": kind, "flits": one[FLITS],
        }  # fmt: skip
        return told | ({"value": one[VALUE]} if with_values else {})

    return What("packet", VALUE + 1, rows, order, tell)
