"""What every router and every node agree on: ports, packets and the signature of a step.

A router is a kernel ``step(state, ports, packets, cycle) -> status``. The engine takes it as an
argument, so that a new router is one file with one kernel and one state.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import outer_kernel, signature


class Ports(NamedTuple):
    """The wires between nodes and network, each [n_nodes] but for ``rx``."""

    tx: NDArray[np.int64]
    """Number of the packet that the node offers, -1 for none; the network sets -1 when taken."""
    rx: NDArray[np.int64]
    """[n_nodes, and one for each further port of node 0]: number of the packet of the flit
    delivered in this cycle, -1 for none."""
    ready: NDArray[np.uint8]
    """1 when the node takes a flit in the next cycle."""


class Packets(NamedTuple):
    """A column table of packets; the row is the packet's number. Each array [capacity]."""

    source: NDArray[Any]
    destinations: NDArray[Any]
    """Number of the packet's destination set."""
    flits: NDArray[Any]
    kind: NDArray[Any]
    """Meaning is the nodes' affair; routers do not look at it."""
    item: NDArray[Any]
    """What the packet carries; the nodes' affair."""
    created: NDArray[Any]
    """Cycle in which the packet was offered."""


class StepStatus(IntEnum):
    """What a step returns."""

    OK = 0
    NO_ROUTE = 1


SENTENCES = {
    StepStatus.NO_ROUTE: "a packet reached a node that its destination set has no route through; "
    "declare the set with Network.destinations before offering the packet",
}


def make_ports(n_nodes: int, more_outputs: int = 0) -> Ports:
    """Return idle ports: nothing offered, nothing delivered, nobody ready.

    Node 0 is delivered up to ``1 + more_outputs`` flits per cycle.
    """
    return Ports(
        np.full(n_nodes, -1, np.int64),
        np.full(n_nodes + more_outputs, -1, np.int64),
        np.zeros(n_nodes, np.uint8),
    )


def make_packets(capacity: int) -> Packets:
    """Return an empty packet table."""
    return Packets(
        np.zeros(capacity, np.int32),
        np.zeros(capacity, np.int32),
        np.zeros(capacity, np.int32),
        np.zeros(capacity, np.uint8),
        np.zeros(capacity, np.int64),
        np.zeros(capacity, np.int64),
    )


def step_signature(state: Any) -> Any:
    """Return the numba signature of a step kernel over a state of the given example's type."""
    return signature(state, make_ports(1), make_packets(1), 0)


@outer_kernel
def take(step: Any, state: Any, ports: Ports, packets: Packets, cycle: int) -> int:
    """Take one step of a router from Python."""
    return int(step(state, ports, packets, cycle))
