"""Latency and throughput of a network under random traffic, as the field measures them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import Network
from .packet_trace import PacketTrace
from .patterns import Pattern
from .simulate import Simulation
from .traffic import CHUNK_CYCLES, packets

MOST_CYCLES = 1 << 40
NO_END = 4 * MOST_CYCLES


@dataclass(frozen=True)
class Method:
    """How a point is measured; the defaults are those of BookSim 2's reference sweeps.

    Parameters
    ----------
    warmup_cycles : int
        Before the window.
    measured_cycles : int
        The window: its packets' latencies count, and flits delivered in it.
    latency_limit : float
        Mean latency, in cycles, beyond which the network counts as saturated and is left.
    """

    warmup_cycles: int = 2000
    measured_cycles: int = 5000
    latency_limit: float = 500.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (("warmup_cycles", 0), ("measured_cycles", 1)):
            value = getattr(self, name)
            if not least <= value <= MOST_CYCLES:
                raise ValueError(f"{name}: must be from {least} to {MOST_CYCLES}, got {value}")
        if not self.latency_limit >= 1:
            raise ValueError(f"latency_limit: must be at least 1, got {self.latency_limit}")


@dataclass(frozen=True)
class Point:
    """What a network did at an offered load.

    Attributes
    ----------
    offered : float
        Flits per node and cycle.
    seed : int
    saturated : int
        1 when it was left because of the latency limit; latencies are then of what had arrived.
    packets : int
        Of the window.
    lat_packet, lat_packet_min, lat_packet_max, lat_packet_p50, lat_packet_p99 : float
        Cycles from creation to the tail's delivery: mean, least, most, median, 99th percentile.
    lat_network : float
        Mean of cycles from the head's injection to the tail's delivery.
    routers_avg, hops_avg : float
        Routers and links on the way, mean over packets.
    accepted, accepted_min, accepted_max : float
        Flits delivered in the window per node and cycle: mean, least and most of a node.
    injected : float
        Flits created in the window per node and cycle.
    cycles : int
        Until the last packet of the window was delivered.
    """

    offered: float
    seed: int
    saturated: int
    packets: int
    lat_packet: float
    lat_packet_min: float
    lat_packet_max: float
    lat_packet_p50: float
    lat_packet_p99: float
    lat_network: float
    routers_avg: float
    hops_avg: float
    accepted: float
    accepted_min: float
    accepted_max: float
    injected: float
    cycles: int


def measure(
    network: Network,
    pattern: Pattern,
    offered: float,
    flits: int | Sequence[int] = 1,
    seed: int = 1,
    method: Method | None = None,
) -> Point:
    """Measure a network at an offered load.

    Parameters
    ----------
    network : Network
        New; it is used up.
    pattern : Pattern
    offered : float
        Flits per node and cycle.
    flits : int or sequence of int
        Packet length, or lengths that are equally likely.
    seed : int
    method : Method, optional

    Raises
    ------
    ValueError
        When a value is out of range.
    NetworkError
        When the network is wedged.
    """
    method = method or Method()
    first = method.warmup_cycles
    end = first + method.measured_cycles
    simulation = Simulation(network)
    window = _Window(first, end)
    chunks = _cut(packets(pattern, offered, flits, NO_END, seed), (first, end))
    before = simulation.ejected
    accepted = np.zeros(network.n_nodes, np.int64)
    for chunk, until in chunks:
        window.created(chunk)
        for deliveries in simulation.run(chunk, until):
            window.arrived(deliveries)
        if until == first:
            before = simulation.ejected
        elif until == end:
            accepted = simulation.ejected - before
        if until >= end and (window.is_complete or window.mean > method.latency_limit):
            break
    rate = accepted / method.measured_cycles
    return window.point(offered, seed, rate, method)


def _cut(
    chunks: Iterator[PacketTrace], places: tuple[int, ...], length: int = CHUNK_CYCLES
) -> Iterator[tuple[PacketTrace, int]]:
    """Yield chunks of traffic, each with the cycle at which it ends, cut at some cycles."""
    first = 0
    for chunk in chunks:
        last = first + length
        ends = [*(cycle for cycle in places if first < cycle < last), last]
        done = 0
        for end in ends:
            at = int(np.searchsorted(chunk.cycle, end))
            yield chunk.part(done, at), end
            done = at
        first = last


class _Window:
    """The packets that are created between two cycles."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, end
        self.n_packets = self.n_flits = 0
        self.latency: list[NDArray[np.int64]] = []
        self.n_arrived = self.latency_sum = self.network_sum = self.routers_sum = 0
        self.last = 0

    def created(self, chunk: PacketTrace) -> None:
        """Count a chunk's packets."""
        mine = (chunk.cycle >= self.first) & (chunk.cycle < self.end)
        self.n_packets += int(mine.sum())
        self.n_flits += int(chunk.flits[mine].sum())

    def arrived(self, deliveries: NDArray[np.void]) -> None:
        """Add deliveries."""
        created = deliveries["t_create"]
        mine = deliveries[(created >= self.first) & (created < self.end)]
        if not len(mine):
            return
        latency = mine["t_ej_tail"] - mine["t_create"]
        self.latency.append(latency)
        self.n_arrived += len(mine)
        self.latency_sum += int(latency.sum())
        self.network_sum += int((mine["t_ej_tail"] - mine["t_inj_head"]).sum())
        self.routers_sum += int(mine["routers"].sum())
        self.last = max(self.last, int(mine["t_ej_tail"].max()))

    @property
    def is_complete(self) -> bool:
        """Whether all have arrived."""
        return self.n_arrived == self.n_packets

    @property
    def mean(self) -> float:
        """Mean latency of those that arrived."""
        return self.latency_sum / self.n_arrived if self.n_arrived else 0.0

    def point(
        self, offered: float, seed: int, accepted: NDArray[np.float64], method: Method
    ) -> Point:
        """Return what was measured; latencies are nan where nothing arrived."""
        n = self.n_arrived
        latency = np.concatenate([np.empty(0, np.int64), *self.latency])
        least, median, late, most = (
            np.percentile(latency, (0, 50, 99, 100)) if n else np.full(4, np.nan)
        )
        routers = self.routers_sum / n if n else np.nan
        return Point(
            offered=offered,
            seed=seed,
            saturated=int(not self.is_complete or self.mean > method.latency_limit),
            packets=n,
            lat_packet=self.latency_sum / n if n else np.nan,
            lat_packet_min=float(least),
            lat_packet_max=float(most),
            lat_packet_p50=float(median),
            lat_packet_p99=float(late),
            lat_network=self.network_sum / n if n else np.nan,
            routers_avg=routers,
            hops_avg=routers - 1,
            accepted=float(accepted.mean()),
            accepted_min=float(accepted.min()),
            accepted_max=float(accepted.max()),
            injected=self.n_flits / (method.measured_cycles * len(accepted)),
            cycles=self.last,
        )
