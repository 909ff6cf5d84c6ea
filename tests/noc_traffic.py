"""Random traffic on a network of routers, driven cycle by cycle, for tests."""

from collections import defaultdict, deque
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from firemesh.noc.iq_state import Clock, IqState
from firemesh.noc.network import Network
from firemesh.noc.router import Flit, make_packets, take
from firemesh.noc.topology import mesh

LOCAL = 4


@dataclass(frozen=True)
class Parcel:
    """What a node sends, not before cycle ``due``."""

    source: int
    nodes: tuple[int, ...]
    flits: int
    due: int = 0


@dataclass(frozen=True)
class Traffic:
    """Parcels on a mesh, and in which cycles the nodes are ready."""

    width: int
    height: int
    depth: int
    parcels: tuple[Parcel, ...]
    ready: np.ndarray
    """bool[cycles, nodes]; afterwards every node is ready."""
    patience: int = 1

    @property
    def n_nodes(self) -> int:
        return self.width * self.height

    @property
    def copies(self) -> int:
        """Flits that will be delivered."""
        return sum(parcel.flits * len(parcel.nodes) for parcel in self.parcels)

    @property
    def limit(self) -> int:
        """A cycle before which the slowest network must have delivered everything."""
        longest = max((parcel.due for parcel in self.parcels), default=0) + len(self.ready)
        return longest + self.patience * 2 * (self.width + self.height) * (self.copies + 2)


@st.composite
def traffics(draw, flits=(1, 2, 3), is_unicast=False) -> Traffic:
    """Random parcels between all nodes of a small mesh."""
    width, height = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    n = width * height
    n_parcels = draw(st.integers(1, 40))
    share = draw(st.sampled_from((0.3, 0.7, 1.0)))
    spread = draw(st.sampled_from((1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sources = rng.permutation(n)[: draw(st.sampled_from((2, n)))]
    parcels = []
    for _ in range(n_parcels):
        n_members = 1 if is_unicast or rng.random() < 0.5 else int(rng.integers(1, n + 1))
        nodes = sorted(map(int, rng.choice(n, n_members, replace=False)))
        source, due = int(rng.choice(sources)), int(rng.integers(spread))
        parcels.append(Parcel(source, tuple(nodes), int(rng.choice(flits)), due))
    depth = draw(st.integers(1, 5))
    return Traffic(width, height, depth, tuple(parcels), rng.random((60, n)) < share)


class Drive:
    """A network under traffic: every node offers its parcels in turn, as its ``tx`` gets free.

    Attributes
    ----------
    cycle : int
        The next cycle.
    delivered : list of (cycle, node, parcel)
        One entry per flit.
    offered : dict
        Parcel -> cycle in which it was offered.
    """

    def __init__(self, traffic: Traffic, order=None, router="simple", ports=1) -> None:
        if router != "simple":  # a multicast must fit into a VC, a hop takes up to seven cycles
            longest = max(parcel.flits for parcel in traffic.parcels)
            traffic = replace(traffic, depth=max(traffic.depth, longest), patience=8)
        self.traffic = traffic
        self.order = order
        self.network = Network(
            mesh(traffic.width, traffic.height),
            router=router,
            buffer_flits=traffic.depth,
            ports=ports,
        )
        self.packets = make_packets(len(traffic.parcels))
        self.queues = [deque() for _ in range(traffic.n_nodes)]
        for number, parcel in enumerate(traffic.parcels):
            self.packets.source[number] = parcel.source
            members = self.network.destinations(parcel.source, parcel.nodes)
            self.packets.destinations[number] = members
            self.packets.flits[number] = parcel.flits
            self.queues[parcel.source].append(number)
        if order is not None and router == "simple":
            self.network.state.order[:] = order
        self.cycle = 0
        self.delivered: list[tuple[int, int, int]] = []
        self.offered: dict[int, int] = {}

    def step(self) -> None:
        """Advance the network by one cycle, then let every node act."""
        ports = self.network.ports
        self._visit_in_order()
        status = take(self.network.step, self.network.state, ports, self.packets, self.cycle)
        assert status == 0
        for wire in np.flatnonzero(ports.rx >= 0).tolist():
            node = wire if wire < len(ports.tx) else 0  # further ports are those of node 0
            self.delivered.append((self.cycle, node, int(ports.rx[wire])))
        for node, queue in enumerate(self.queues):
            if ports.tx[node] < 0 and queue:
                if self.traffic.parcels[queue[0]].due <= self.cycle:
                    self.offered[queue[0]] = self.cycle
                    ports.tx[node] = queue.popleft()
        pattern = self.traffic.ready
        ports.ready[:] = pattern[self.cycle] if self.cycle < len(pattern) else 1
        self.cycle += 1

    def _visit_in_order(self) -> None:
        """Sort the list of routers that a router with virtual channels goes through."""
        s = self.network.state
        if self.order is not None and isinstance(s, IqState):
            n = s.clock[Clock.ACTIVE]
            s.active[:n] = sorted(s.active[:n], key=list(self.order).index)

    @property
    def is_over(self) -> bool:
        """Whether every copy of every flit was delivered."""
        return len(self.delivered) == self.traffic.copies

    def steps(self):
        """Step until everything is delivered; yield after each step."""
        while not self.is_over:
            assert self.cycle < self.traffic.limit, "the network does not deliver"
            self.step()
            yield

    def run(self) -> "Drive":
        """Step until everything is delivered."""
        for _ in self.steps():
            pass
        return self

    def entered(self) -> dict[int, int]:
        """Return how many flits of each parcel have entered the network."""
        entered = {
            number: self.traffic.parcels[number].flits
            for number in self.offered
            if number not in self.network.ports.tx
        }
        for node, number in enumerate(self.network.ports.tx):
            if number >= 0:
                entered[int(number)] = int(self.network.ports.sent[node])
        return entered

    def flits(self):
        """Yield (node, parcel, output ports that it still asks for) of each flit in a FIFO."""
        s = self.network.state
        for node, port in np.argwhere(s.flits > 0):
            for i in range(s.flits[node, port]):
                flit = int(s.fifo[node, port, (s.head[node, port] + i) % s.fifo.shape[2]])
                number = flit >> Flit.PACKET
                asks = int(s.pending[node, port]) if i == 0 else 0
                yield int(node), number, asks or self.branches(number, int(node))

    def branches(self, number: int, node: int) -> int:
        """Return the output ports of a parcel at a node as bits, 0 where it does not pass."""
        ports = 0
        for destination in self.traffic.parcels[number].nodes:
            at = xy_path(self.traffic.width, self.traffic.parcels[number].source, destination)
            ports |= 1 << at[node] if node in at else 0
        return ports

    def owed(self) -> dict[int, int]:
        """Return how many deliveries of each parcel the flits inside still have to make."""
        owed: dict[int, int] = defaultdict(int)
        for node, number, asks in self.flits():
            parcel = self.traffic.parcels[number]
            for destination in parcel.nodes:
                at = xy_path(self.traffic.width, parcel.source, destination)
                owed[number] += node in at and asks >> at[node] & 1
        return owed


def xy_path(width: int, source: int, destination: int) -> dict[int, int]:
    """Return the output port at each node of the XY path."""
    path, node = {}, source
    while node != destination:
        if node % width != destination % width:
            path[node] = 0 if destination % width > node % width else 1
            node += 1 if path[node] == 0 else -1
        else:
            path[node] = 2 if destination > node else 3
            node += width if path[node] == 2 else -width
    return path | {destination: LOCAL}
