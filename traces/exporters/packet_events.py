"""Packets as events of units: one when a source sends it, one at each arrival.

They are selected by layer, frame, unit and cycles: what is sent by its source, what arrives by its
destination. Where memories or an op are named, no packets are.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schema import DELIVERY, NETWORK_MEMORIES, PACKET_SHIFT
from ..selection import numbers
from .exporter import Options
from .records import Records


def has_packets(options: Options) -> bool:
    """Return whether packets are selected."""
    return options.selection.memory is None and options.selection.op is None


def window(records: Records) -> tuple[int, int]:
    """Return the run's cycles that are selected."""
    low, high = records.selection.cycles or (0, records.trace.cycles)
    return low, min(high, records.trace.cycles)


def sent(records: Records) -> Iterator[NDArray[Any]]:
    """Yield the packets of each selected segment, of dtype PACKET, by cycle from its zero on."""
    trace, (low, high) = records.trace, window(records)
    units = numbers(trace.units, records.selection.unit, "unit")
    for number in records.segments.tolist():
        found = trace._packets_of(number)
        keep = (found["created"] >= low) & (found["created"] < high)
        if units is not None:
            keep &= np.isin(found["source"], sorted(units))
        found = found[keep]
        found["created"] -= np.uint64(records.zero)
        yield found


def arrived(records: Records) -> Iterator[NDArray[Any]]:
    """Yield arrivals at the selected units, of dtype DELIVERY, by cycle from the zero on."""
    arguments = records.selection.arguments | {"memory": NETWORK_MEMORIES[1], "op": None}
    for block in records.trace.accesses(**arguments):
        rows = np.empty(len(block), DELIVERY)
        for name in ("unit", "layer"):
            rows[name] = block[name]
        rows["cycle"] = block["cycle"] - np.uint64(records.zero)
        rows["flits"] = block["size"]
        rows["source"] = block["address"] >> np.uint64(PACKET_SHIFT)
        rows["number"] = block["address"] & np.uint64(0xFFFFFFFF)
        yield rows
