"""What every router and every node agree on: ports, packets and the signature of a step.

A router is a kernel ``step(state, ports, packets, cycle) -> status``. The engine takes it as an
argument, so that a new router is one file with one kernel and one state.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import outer_kernel, signature


class Flit(IntEnum):
    """A flit as an int64: packet number, routers that it has passed, whether it is the last."""

    TAIL = 1
    """Bit of a packet's last flit."""
    ROUTER = 2
    """One router."""
    ROUTERS = 0x7FFF
    """Mask of the number of routers, above the bit of the tail."""
    PACKET = 16
    """Bits below the packet number."""


class Ports(NamedTuple):
    """The wires between nodes and network.

    Arrays [n_nodes], of what is delivered one entry more for each further port of node 0.
    """

    tx: NDArray[np.int64]
    """Number of the packet that the node offers, -1 for none; the network sets -1 when taken."""
    rx: NDArray[np.int64]
    """Number of the packet of the flit delivered in this cycle, -1 for none."""
    tail: NDArray[np.uint8]
    """1 when that flit is the packet's last."""
    routers: NDArray[np.int64]
    """Routers that it has passed."""
    ready: NDArray[np.uint8]
    """1 when the node takes a flit in the next cycle."""
    sent: NDArray[np.int64]
    """Flits of the offered packet that are in the network already."""


class Links(NamedTuple):
    """Where links lead."""

    neighbour: NDArray[np.int64]
    """int64[n, R]: node behind an output, -1 for none."""
    entry: NDArray[np.int64]
    """int64[n, R]: input at which the link enters that node."""


class Routes(NamedTuple):
    """Which outputs lead to a destination set; bit R is the node itself."""

    ports: NDArray[np.uint16]
    """[n, n]: outputs by node and destination, of which a packet takes one."""
    upper: NDArray[np.uint16]
    """[n, n]: those of them that are entered on the upper VCs; [1, 1] without classes."""
    node_of: NDArray[np.int64]
    """[sets]: the destination, -1 for a set of several."""
    tree_of: NDArray[np.int64]
    """[n, sets]: tree of (source, set of several), -1 where not declared."""
    tree: NDArray[np.uint16]
    """[trees, n]: outputs of a tree at a node, of which a packet takes all."""
    tree_upper: NDArray[np.uint16]
    """[trees, n]: those of them that are entered on the upper VCs; [trees, 1] without classes."""


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
    TOO_LONG = 2


SENTENCES = {
    StepStatus.NO_ROUTE: "a packet reached a node that its destination set has no route through; "
    "declare the set with Network.destinations before offering the packet",
    StepStatus.TOO_LONG: "a packet has more flits than a VC holds, which multicast and cut-through "
    "do not allow; use a larger buffer_flits, or shorter packets (larger flit_bits, or multicast "
    "chain or unicast)",
}


def make_ports(n_nodes: int, more_outputs: int = 0) -> Ports:
    """Return idle ports: nothing offered, nothing delivered, nobody ready.

    Node 0 is delivered up to ``1 + more_outputs`` flits per cycle.
    """
    wires = n_nodes + more_outputs
    return Ports(
        tx=np.full(n_nodes, -1, np.int64),
        rx=np.full(wires, -1, np.int64),
        tail=np.zeros(wires, np.uint8),
        routers=np.zeros(wires, np.int64),
        ready=np.zeros(n_nodes, np.uint8),
        sent=np.zeros(n_nodes, np.int64),
    )


def alone() -> tuple[Links, Routes]:
    """Return links and routes of a network of one node, from which numba takes types."""
    none, mask = np.full((1, 4), -1, np.int64), np.full((1, 1), 1 << 4, np.uint16)
    node = np.zeros(1, np.int64)
    routes = Routes(mask, mask * 0, node, none[:, :1].copy(), mask * 0, mask * 0)
    return Links(none, none.copy()), routes


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
