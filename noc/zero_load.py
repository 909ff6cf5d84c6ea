"""Latency of one packet alone: measured for every number of hops, and in closed form."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import Network
from .packet_trace import PacketTrace, single_sets
from .profiles import PROFILES, SIMPLE, Profile
from .simulate import replay
from .table import hops
from .text_file import MOST_NUMBER

MOST_SOURCES = 64
"""Sources tried; of a larger network they are drawn evenly."""


@dataclass(frozen=True)
class ZeroLoad:
    """The latency of a packet alone over a number of links.

    Attributes
    ----------
    hops : int
        Links on the way.
    n_pairs : int
        Pairs of nodes measured.
    t_head_net, t_tail_net : int
        Cycles from the head's injection to head's and tail's delivery, most of all pairs.
    all_pairs_equal : int
        1 when all pairs took the same.
    head_formula, tail_formula : int or None
        In closed form, where there is one. A head moves on by one link a cycle through simple
        routers; a FIFO of one flit takes the next one every other cycle.
    """

    hops: int
    n_pairs: int
    t_head_net: int
    t_tail_net: int
    all_pairs_equal: int
    head_formula: int
    tail_formula: int | None


def head_latency(profile: Profile, n_hops: int) -> int:
    """Return cycles from a head's injection to its delivery, alone in the network.

    ``1 + link + (H+1) * (P + link)``, P the router's stages; see `docs/noc-router.md`.
    """
    p = profile
    allocation = p.vc_alloc_delay + p.sw_alloc_delay
    if p.speculative:
        allocation = -(-p.vc_alloc_delay // p.sw_alloc_delay) * p.sw_alloc_delay
    stages = p.routing_delay + allocation + p.st_delay
    return 1 + p.link_delay + (n_hops + 1) * (stages + p.link_delay)


def tail_latency(profile: Profile, n_hops: int, flits: int, buffer_flits: int) -> int | None:
    """Return cycles from a head's injection to the tail's delivery; None where no form is known.

    The tail follows after ``L - 1 + floor((L-1)/B) * max(0, T-B)``, T the round trip of a credit.
    """
    if profile.sw_alloc_delay > 1:
        return None
    trip = 2 + 2 * profile.link_delay + profile.st_delay + profile.credit_delay
    late = (flits - 1) // buffer_flits * max(0, trip - buffer_flits)
    return head_latency(profile, n_hops) + flits - 1 + late


def zero_load(
    make_network: Callable[[], Network],
    router: str | Profile,
    flits: int,
    buffer_flits: int,
) -> list[ZeroLoad]:
    """Measure packets alone between pairs of nodes.

    Parameters
    ----------
    make_network : callable
        Returns a new network.
    router : str or Profile
        The network's.
    flits : int
        Packet length.
    buffer_flits : int
        The network's.

    Returns
    -------
    list of ZeroLoad
        By number of hops.

    Raises
    ------
    ValueError
        When the length is not allowed.
    """
    if not 1 <= flits <= MOST_NUMBER:
        raise ValueError(f"flits: must be from 1 to {MOST_NUMBER}, got {flits}; correct it")
    network = make_network()
    n = network.n_nodes
    sources = np.unique(np.linspace(0, n - 1, min(n, MOST_SOURCES)).astype(np.int32))
    source = sources.repeat(n)
    destination = np.tile(np.arange(n, dtype=np.int32), len(sources))
    length = hops(network.table, network.graph)[source, destination].astype(np.int64)
    profile = None if router == SIMPLE else PROFILES.get(str(router), router)
    assert profile is None or isinstance(profile, Profile)
    apart = _apart(profile, int(length.max()), flits)
    trace = PacketTrace(
        np.arange(len(source), dtype=np.int64) * apart,
        source,
        np.full(len(source), flits, np.int32),
        destination,
        single_sets(n),
    )
    found = replay(network, trace)
    head = found["t_ej_head"] - found["t_inj_head"]
    tail = found["t_ej_tail"] - found["t_inj_head"]
    return [
        _row(int(number), length == number, head, tail, profile, flits, buffer_flits)
        for number in np.unique(length)
    ]


def _apart(profile: Profile | None, most_hops: int, flits: int) -> int:
    """Return cycles after which the longest packet is gone, and its last credit back."""
    if profile is None:
        return (most_hops + 2) * (2 * flits + 2)
    stages = profile.credit_delay + 2 * profile.sw_alloc_delay + profile.st_delay
    trip = stages + 2 * profile.link_delay + 2
    return head_latency(profile, most_hops) + (flits + 2) * trip


def _row(
    number: int,
    mine: NDArray[np.bool_],
    head: NDArray[np.int64],
    tail: NDArray[np.int64],
    profile: Profile | None,
    flits: int,
    buffer_flits: int,
) -> ZeroLoad:
    heads, tails = head[mine], tail[mine]
    return ZeroLoad(
        number,
        len(heads),
        int(heads.max()),
        int(tails.max()),
        int(len(np.unique(heads)) == len(np.unique(tails)) == 1),
        head_latency(profile, number) if profile else number + 1,
        tail_latency(profile, number, flits, buffer_flits)
        if profile
        else number + 1 + (flits - 1) * (1 if buffer_flits > 1 else 2),
    )
