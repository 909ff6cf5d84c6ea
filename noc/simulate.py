"""A network alone under traffic: sources with unbounded queues, sinks that take every flit."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .drive import PATIENCE_CYCLES, Clock, DriveStatus, Load, Row, Slot, drive
from .network import Network, NetworkError
from .packet_trace import PacketTrace
from .router import SENTENCES, Packets, StepStatus, make_packets

DELIVERY = np.dtype(
    [
        ("idx", np.int64),
        ("src", np.int32),
        ("dst", np.int32),
        ("size", np.int32),
        ("t_create", np.int64),
        ("t_inj_head", np.int64),
        ("t_inj_tail", np.int64),
        ("t_ej_head", np.int64),
        ("t_ej_tail", np.int64),
        ("routers", np.int32),
    ]
)
"""A packet at one of its destinations: cycles of creation, of its head and tail leaving the source
(``inj``) and reaching the destination (``ej``), and the number of routers on its way."""
ROWS = 1 << 14
END_OF_TIME = (1 << 63) - 1
NODE_CYCLES = 1 << 20
"""Cycles times nodes after which the kernel comes back, so that Ctrl-C is heard in a moment."""


class Simulation:
    """A network, driven by packets.

    Parameters
    ----------
    network : Network
        Idle; it stays the simulation's.

    Attributes
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        n = network.n_nodes
        network.ports.ready[:] = 1
        self._packets: Packets = make_packets(0)
        self._load = Load(
            queue=np.full((n, 2), -1, np.int64),
            hand=np.full(n, -1, np.int64),
            slot=np.zeros((0, len(Slot)), np.int64),
            free=np.zeros(0, np.int64),
            heads=np.zeros((0, n), np.int64),
            free_heads=np.zeros(0, np.int64),
            members=np.ones(n, np.int64),
            ejected=np.zeros(n, np.int64),
            delivery=np.zeros((ROWS + len(network.ports.rx), len(Row)), np.int64),
            clock=np.zeros(len(Clock), np.int64),
        )
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        self._grow_slots(1024)

    @property
    def cycle(self) -> int:
        """The next cycle."""
        return int(self._load.clock[Clock.CYCLE])

    @property
    def n_created(self) -> int:
        """Packets created so far."""
        return int(self._load.clock[Clock.SERIAL])

    @property
    def ejected(self) -> NDArray[np.int64]:
        """int64[n]: flits delivered to each node so far."""
        return self._load.ejected.copy()

    @property
    def n_alive(self) -> int:
        """Packets created and not delivered everywhere."""
        return int(self._load.clock[Clock.ALIVE])

    def run(
        self, packets: PacketTrace | None = None, until: int = END_OF_TIME
    ) -> Iterator[NDArray[Any]]:
        """Create packets in their cycles; step until all are delivered, or until a cycle.

        Packets of an earlier call go on. After an exception from outside, such as
        `KeyboardInterrupt`, a call with ``until`` 0 yields the deliveries that are left.

        Parameters
        ----------
        packets : PacketTrace, optional
            None but those of earlier calls.
        until : int
            Cycle before which to stop.

        Yields
        ------
        structured array
            Deliveries in order of cycles, of dtype `DELIVERY`.

        Raises
        ------
        NetworkError
            When nothing moves any more, or the router refuses a packet.
        """
        cycles, sources, groups, flits = self._columns(packets)
        clock, at_once = self._load.clock, max(NODE_CYCLES // self.network.n_nodes, 1)
        clock[Clock.NEXT] = 0
        while True:
            status = drive(
                self.network.step,
                self.network.state,
                self.network.ports,
                self._packets,
                self._load,
                cycles,
                sources,
                groups,
                flits,
                min(until, self.cycle + at_once),
            )
            if clock[Clock.ROWS]:
                yield self._deliveries()
            if status == DriveStatus.DONE:
                is_over = clock[Clock.ALIVE] == 0 and clock[Clock.NEXT] == len(cycles)
                if is_over or self.cycle >= until:
                    return
            elif status == DriveStatus.GROW:
                self._grow()
            elif status == DriveStatus.WEDGED:
                raise NetworkError(self._wedged())
            elif status != DriveStatus.FULL:
                reason = SENTENCES[StepStatus(status - DriveStatus.REFUSED)]
                raise NetworkError(f"cycle {self.cycle}: {reason}")

    def _columns(
        self, packets: PacketTrace | None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return cycles, sources, the network's numbers of destination sets, and flits."""
        if packets is None:
            none = np.zeros(0, np.int32)
            return np.zeros(0, np.int64), none, none, none
        n = self.network.n_nodes
        if packets.n_nodes != n:
            raise ValueError(
                f"packets: must be of {n} nodes, got a trace of {packets.n_nodes}; read it for "
                "this network"
            )
        groups = packets.destinations.copy()
        for at in np.flatnonzero(groups >= n):
            source, members = int(packets.source[at]), packets.sets[groups[at]]
            if (source, members) not in self._numbers:
                number = self.network.destinations(source, members)
                self._numbers[source, members] = number
            groups[at] = self._numbers[source, members]
        sizes = [len(members) for members in self.network.sets]
        if len(sizes) > len(self._load.members):
            self._load = self._load._replace(members=np.array(sizes, np.int64))
        return packets.cycle, packets.source, groups, packets.flits

    def _deliveries(self) -> NDArray[Any]:
        clock = self._load.clock
        rows = self._load.delivery[: clock[Clock.ROWS]]
        found = np.empty(len(rows), DELIVERY)
        for number, name in enumerate(DELIVERY.names or ()):
            found[name] = rows[:, number]
        clock[Clock.ROWS] = 0
        return found

    def _grow(self) -> None:
        """Make room for more packets, or if there is, for more multicasts."""
        if self._load.clock[Clock.FREE] == 0:
            self._grow_slots(len(self._load.slot))
        else:
            self._grow_heads(max(len(self._load.heads), 64))

    def _grow_heads(self, more: int) -> None:
        load, n = self._load, len(self._load.heads)
        free = np.zeros(n + more, np.int64)
        free[:more] = np.arange(n, n + more)
        load.clock[Clock.FREE_HEADS] = more
        heads = np.pad(load.heads, ((0, more), (0, 0)), constant_values=-1)
        self._load = load._replace(heads=heads, free_heads=free)

    def _grow_slots(self, more: int) -> None:
        load, n = self._load, len(self._load.slot)
        free = np.zeros(n + more, np.int64)
        free[:more] = np.arange(n, n + more)[::-1]
        load.clock[Clock.FREE] = more
        self._load = load._replace(slot=np.pad(load.slot, ((0, more), (0, 0))), free=free)
        self._packets = Packets(*(np.pad(column, (0, more)) for column in self._packets))

    def _wedged(self) -> str:
        waiting = self._packets.source[np.unique(self.network.ports.tx[self.network.ports.tx >= 0])]
        nodes = ", ".join(str(node) for node in sorted(set(waiting.tolist()))[:8]) or "none"
        return (
            f"cycle {self.cycle}: nothing has moved for {PATIENCE_CYCLES} cycles: the network is "
            f"wedged with {self.n_alive} packets under way ({self.network.flits_inside()} flits "
            f"inside; sources that cannot send: {nodes}); use a deadlock-free routing, or deeper "
            "buffers"
        )


def replay(network: Network, trace: PacketTrace) -> NDArray[Any]:
    """Run a packet trace to its end.

    Parameters
    ----------
    network : Network
        Idle.
    trace : PacketTrace

    Returns
    -------
    structured array
        Of dtype `DELIVERY`: the packets in the trace's order, a multicast once per destination.

    Raises
    ------
    NetworkError
        See `Simulation.run`.
    """
    return in_order(Simulation(network).run(trace))


def in_order(deliveries: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Return deliveries in order of packets, those of a multicast by destination."""
    rows = np.concatenate([np.empty(0, DELIVERY), *deliveries])
    return rows[np.lexsort((rows["dst"], rows["idx"]))]
