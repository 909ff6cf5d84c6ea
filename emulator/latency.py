"""Latencies of a wave's packets: cycles from creation to the delivery of the tail."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .kinds import Kind

if TYPE_CHECKING:
    pass


class Latency(IntEnum):
    """Columns of a table of latencies by kind of packet."""

    COUNT = 0
    """Packets at each of their destinations."""
    CYCLES = 1
    """Added up."""
    MOST = 2


def added(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the table of the packets of both."""
    both = one + other
    both[:, Latency.MOST] = np.maximum(one[:, Latency.MOST], other[:, Latency.MOST])
    return both


def mean_latency(table: NDArray[np.int64]) -> dict[str, Any]:
    """Return what a table comes to: deliveries, mean and most cycles, of all kinds and each."""
    total = int(table[:, Latency.COUNT].sum())
    cycles = int(table[:, Latency.CYCLES].sum())
    told: dict[str, Any] = {
        "deliveries": total,
        "mean_latency_cycles": cycles / total if total else 0.0,
        "max_latency_cycles": int(table[:, Latency.MOST].max()),
    }
    for kind in Kind:
        count = int(table[kind, Latency.COUNT])
        mean = int(table[kind, Latency.CYCLES]) / count if count else 0.0
        told[f"mean_latency_cycles_{kind.name.lower()}"] = mean
    return told
