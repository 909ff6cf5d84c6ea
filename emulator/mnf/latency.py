"""Latencies of a wave's packets: cycles from creation to the delivery of the tail."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import outer_kernel
from ..kinds import Kind
from ..latency import Latency

if TYPE_CHECKING:
    from .run import WaveRun


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
