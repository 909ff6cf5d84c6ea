"""Latencies of a wave's packets: cycles from creation to the delivery of the tail."""

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..noc.kernel import outer_kernel
from .state import Kind

if TYPE_CHECKING:
    from .mnf import WaveRun


class Latency(IntEnum):
    """Columns of a table of latencies by kind of packet."""

    COUNT = 0
    """Packets at each of their destinations."""
    CYCLES = 1
    """Added up."""
    MOST = 2


@outer_kernel
def add_up(
    received: NDArray[Any], cycle: NDArray[Any], packet: NDArray[Any],
    kind: NDArray[Any], created: NDArray[Any], origin: int, table: NDArray[Any],
) -> None:  # fmt: skip
    """Add a wave's packets to a table of latencies.

    Parameters
    ----------
    received : int64[n_nodes]
        Packets that each node got.
    cycle, packet : int32[n_nodes, capacity]
        When, from ``origin`` on, and which.
    kind, created : uint8[n_packets], int64[n_packets]
        By packet.
    origin : int
    table : int64[kinds, 3]
        Result: columns of `Latency`.
    """
    for node in range(len(received)):
        for i in range(received[node]):
            number = packet[node, i]
            taken = origin + cycle[node, i] - created[number]
            row = kind[number]
            table[row, Latency.COUNT] += 1
            table[row, Latency.CYCLES] += taken
            table[row, Latency.MOST] = max(table[row, Latency.MOST], taken)


def latency(run: "WaveRun") -> NDArray[np.int64]:
    """Return int64[kinds, 3] of a wave: columns of `Latency`, those of its weights included."""
    table = np.zeros((len(Kind), len(Latency)), np.int64)
    columns, packets = run.columns, run.packets
    add_up(
        columns.received, columns.received_cycle, columns.received_packet,
        packets.kind, packets.created, run.cycle0, table,
    )  # fmt: skip
    if run.load:
        taken = run.load.arrived - run.load.packets.created
        table[Kind.WEIGHTS] += len(taken), int(taken.sum()), 0
        table[Kind.WEIGHTS, Latency.MOST] = taken.max(initial=0)
    return table


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
