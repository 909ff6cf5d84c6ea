"""The mesh that loads and drains travel over: messages, packets, cycles.

`docs/flexnn-cycles.md`, section 8. Every distinct list of messages is simulated flit by flit, from
an empty network; that costs 3 to 5 microseconds a cycle with 16 x 17 routers, which is most of a
layer's time. Where zeros are skipped, hardly two rounds are alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...noc.iq_state import Stall
from ...noc.packet_trace import PacketTrace, single_sets
from ...noc.simulate import Simulation, in_order
from ..interconnect import interconnect
from .boxes import boxes

if TYPE_CHECKING:
    from .moves import Layer, Moves

Ints = NDArray[np.int64]
STORAGE_NODE = 0
PART = 64
"""Rounds whose boxes are held at a time."""
MOST_KNOWN = 4096
"""Lists of messages whose course is kept, 10 kB each of 272 nodes; then all are forgotten."""


@dataclass(frozen=True)
class Traffic:
    """What went over the mesh in a layer, by node; zeros by unit on buses.

    Parameters
    ----------
    link_flits : int64[n_nodes, 5]
        Flits sent by each router output, by `firemesh.noc.topology`'s ports; the last one delivers
        to the node.
    sent_flits : int64[n_nodes]
        Flits that each node sent into the network.
    stalls : int64[n_nodes, 4]
        By `firemesh.noc.iq_state.Stall`.
    """

    link_flits: Ints
    sent_flits: Ints
    stalls: Ints


def no_traffic(n_nodes: int) -> Traffic:
    """Return traffic to count in."""
    return Traffic(
        np.zeros((n_nodes, 5), np.int64),
        np.zeros(n_nodes, np.int64),
        np.zeros((n_nodes, len(Stall)), np.int64),
    )


class Messages(NamedTuple):
    """Messages in the order in which each source sends them."""

    source: NDArray[np.int32]
    """int32[m]: node."""
    target: NDArray[np.int32]
    """int32[m]: number of the set of nodes; see `Mesh.sets`."""
    flits: Ints
    """int64[m], at least 1."""


class _Course(NamedTuple):
    """How messages went, from the empty network to their last flit's delivery."""

    cycles: int
    link_flits: NDArray[np.int32]
    sent_flits: NDArray[np.int32]
    stalls: NDArray[np.int32]


class _Pattern(NamedTuple):
    """Boxes of a round that several rounds may have alike: tensor, first VPE and set of each."""

    tensor: Ints
    first: Ints
    target: NDArray[np.int32]


class Mesh:
    """The mesh of a machine, on which a layer's rounds are loaded and drained.

    Parameters
    ----------
    layer : Layer

    Attributes
    ----------
    network : Network
    traffic : Traffic
        Of the rounds so far.
    sets : dict
        Nodes of each set of destinations -> its number; those of one node come first, by node.

    Raises
    ------
    MachineError
        When the router cannot go with the rest.
    """

    def __init__(self, layer: "Layer") -> None:
        self._layer, self._machine = layer, layer.machine
        self.network = interconnect(layer.machine)
        n = self.network.n_nodes
        self.traffic = no_traffic(n)
        self.sets = {members: number for number, members in enumerate(single_sets(n))}
        self._members = [np.array(members, np.int32) for members in self.sets]
        self._empty = self.network.saved()
        self._known: dict[bytes, _Course] = {}
        self._patterns: dict[bytes, _Pattern] = {}

    def cycles(self, what: "Moves", tick: Callable[[], None] = lambda: None) -> Ints:
        """Return how long rounds take on the mesh, and count their traffic.

        Parameters
        ----------
        what : Moves
        tick : callable
            Called now and then; may raise to end the run.

        Returns
        -------
        int64[n, 2]
            Cycles of each round's load and drain, from an empty network until the last flit is
            delivered; 0 where nothing travels.
        """
        found = np.zeros((len(what.rounds), 2), np.int64)
        for begin in range(0, len(found), PART):
            for at, both in enumerate(self.messages(what.part(begin, begin + PART)), begin):
                tick()
                found[at] = [self._count(messages) for messages in both]
        return found

    def _count(self, messages: Messages) -> int:
        """Return how long messages take, and count their traffic."""
        if not len(messages.flits):
            return 0
        course = self._course(messages)
        self.traffic.link_flits[:] += course.link_flits
        self.traffic.sent_flits[:] += course.sent_flits
        self.traffic.stalls[:] += course.stalls
        return course.cycles

    def messages(self, what: "Moves") -> list[tuple[Messages, Messages]]:
        """Return the messages of rounds: from storage, and to storage."""
        owner, taken, given = boxes(self._layer, what)
        rounds = range(len(what.rounds))
        return [(self._loads(owner[r], taken[r]), self._drains(given[r])) for r in rounds]

    def _loads(self, owner: NDArray[np.int32], taken: Ints) -> Messages:
        key = owner.tobytes()
        if key not in self._patterns:
            self._patterns[key] = self._pattern(owner)
        pattern = self._patterns[key]
        flits = self._flits(taken[pattern.tensor, pattern.first])
        is_sent = flits > 0
        source = np.full(int(is_sent.sum()), STORAGE_NODE, np.int32)
        return Messages(source, pattern.target[is_sent], flits[is_sent])

    def _pattern(self, owner: NDArray[np.int32]) -> _Pattern:
        """Return the boxes of a round: int32[3, v] as of `firemesh.emulator.flexnn.boxes.share`."""
        tensor, first = np.nonzero(owner == np.arange(owner.shape[1]))
        target = [
            self._number(np.flatnonzero(owner[t] == v) + 1)
            for t, v in zip(tensor, first, strict=True)
        ]
        return _Pattern(tensor, first, np.array(target, np.int32))

    def _number(self, nodes: NDArray[Any]) -> int:
        members = tuple(nodes.tolist())
        if members not in self.sets:
            self.sets[members] = len(self.sets)
            self._members.append(nodes.astype(np.int32))
        return self.sets[members]

    def _drains(self, given: Ints) -> Messages:
        vpe = np.flatnonzero(given)
        source = (vpe + 1).astype(np.int32)
        return Messages(source, np.full(len(vpe), STORAGE_NODE, np.int32), self._flits(given[vpe]))

    def _flits(self, size: Ints) -> Ints:
        return -(-8 * size // self._machine.noc.flit_bits)

    def packets(self, messages: Messages) -> PacketTrace:
        """Return the packets of messages, all of them created in cycle 0."""
        most = self._machine.packet_flits
        count = -(-messages.flits // most)
        of = np.repeat(np.arange(len(count)), count)
        size = np.full(len(of), most, np.int32)
        size[np.cumsum(count) - 1] = messages.flits - (count - 1) * most
        source, target = messages.source[of], messages.target[of]
        if self._machine.noc.multicast == "unicast":
            members = [self._members[number] for number in target]
            copies = [len(nodes) for nodes in members]
            source, size = np.repeat(source, copies), np.repeat(size, copies)
            target = np.concatenate([*members, target[:0]])
        n = self.network.n_nodes
        shared, inverse = np.unique(target[target >= n], return_inverse=True)
        target = target.copy()
        target[target >= n] = n + inverse
        sets = tuple(tuple(self._members[number].tolist()) for number in shared)
        return PacketTrace(
            np.zeros(len(size), np.int64), source, size, target, single_sets(n) + sets
        )

    def replay(self, packets: PacketTrace) -> NDArray[Any]:
        """Return the deliveries of packets, from an empty network; see `noc.simulate.replay`."""
        self.network.restore(self._empty)
        return in_order(Simulation(self.network).run(packets))

    def _course(self, messages: Messages) -> _Course:
        key = b"".join(column.tobytes() for column in messages)
        if key not in self._known:
            if len(self._known) == MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._simulated(messages)
        return self._known[key]

    def _simulated(self, messages: Messages) -> _Course:
        packets = self.packets(messages)
        last = int(self.replay(packets)["t_ej_tail"].max())
        sent = np.bincount(packets.source, packets.flits, self.network.n_nodes)
        return _Course(
            last + 1,
            self.network.state.link_flits.astype(np.int32),
            sent.astype(np.int32),
            self.network.stalls().astype(np.int32),
        )
