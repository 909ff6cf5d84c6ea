"""Synthetic traffic: packets of random processes, piece by piece, the same for ever.

A run is named by its seed. Three streams of PCG64 give it numbers, so that none depends on how
many the others took: which node makes a packet in which cycle (one number per node and cycle),
where it goes, and how long it is. How the run is cut into chunks does not matter.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .noxim import NoximTable
from .packet_trace import PacketTrace, single_sets
from .patterns import Pattern, uniforms
from .text_file import MOST_NUMBER

CHUNK_CYCLES = 1024
RESET_CYCLES = 1000
"""Cycles that Noxim's clock has counted when traffic begins: its ``-simreset`` by default."""
CREATION, DESTINATION, LENGTH = range(3)
"""The streams of a seed."""


def packets(
    pattern: Pattern,
    rate: float,
    flits: int | Sequence[int],
    cycles: int,
    seed: int,
    chunk_cycles: int = CHUNK_CYCLES,
) -> Iterator[PacketTrace]:
    """Yield the packets of a Bernoulli process, chunk by chunk.

    In each cycle each node makes a packet with probability ``rate`` / mean length, whatever it
    still has to send. A source queue without limit makes this the process of BookSim 2, which
    draws only while a source has no packet in hand and then catches up.

    Parameters
    ----------
    pattern : Pattern
        Gives the destinations; see `firemesh.noc.patterns.make_pattern`.
    rate : float
        Offered load in flits per node and cycle.
    flits : int or sequence of int
        Length of every packet, or lengths of which each packet has one, all equally likely.
    cycles : int
        Cycles in which packets are made, from 0 on.
    seed : int
        Names the run.
    chunk_cycles : int
        Cycles per chunk; changes nothing but the cut.

    Yields
    ------
    PacketTrace
        Packets of cycles ``i*chunk_cycles`` to below ``(i + 1)*chunk_cycles``, ordered by cycle,
        then source; of each chunk, also when it holds none.

    Raises
    ------
    ValueError
        At once, when a parameter is out of range.
    """
    lengths = _lengths(flits)
    mean = float(lengths.mean())
    if not 0 <= rate <= mean:
        raise ValueError(
            f"rate: must be from 0 to {mean:g} flits per node and cycle, one packet of "
            f"{mean:g} flits per cycle, got {rate}; lower it or make packets longer"
        )
    chunks = _chunks(cycles, chunk_cycles)
    creation, destination, length = _streams(seed)
    n_nodes, probability = pattern.n_nodes, rate / mean

    def generate() -> Iterator[PacketTrace]:
        for first, n in chunks:
            made = uniforms(creation, (n, n_nodes)) < probability
            cycle, source = np.nonzero(made)
            sources = source.astype(np.int32)
            to = pattern.destinations(sources, destination)
            yield _trace(first + cycle, sources, to, _draw(lengths, len(to), length), n_nodes)

    return generate()


def table_packets(
    table: NoximTable,
    flits: int | Sequence[int],
    cycles: int,
    seed: int,
    reset_cycles: int = RESET_CYCLES,
    chunk_cycles: int = CHUNK_CYCLES,
) -> Iterator[PacketTrace]:
    """Yield the packets of a Noxim table, chunk by chunk.

    In each cycle each node draws one number and makes at most one packet: of each active flow
    with the flow's probability ``pir``. ``por``, which Noxim takes instead in the cycle after one
    in which the node made a packet, is not looked at; where a file leaves it out it is ``pir``.

    Parameters
    ----------
    table : NoximTable
    flits : int or sequence of int
        As in `packets`.
    cycles : int
        Cycles in which packets are made, from 0 on; cycle 0 is the first after reset.
    seed : int
        Names the run.
    reset_cycles : int
        What Noxim's clock shows in cycle 0; the windows of flows are on that clock.
    chunk_cycles : int
        Cycles per chunk; changes nothing but the cut.

    Yields
    ------
    PacketTrace
        As `packets` does.

    Raises
    ------
    ValueError
        At once, when a parameter is out of range.
    """
    lengths = _lengths(flits)
    if reset_cycles < 0:
        raise ValueError(f"reset_cycles: must be at least 0, got {reset_cycles}; Noxim has 1000")
    chunks = _chunks(cycles, chunk_cycles)
    creation, _, length = _streams(seed)
    n_nodes = table.n_nodes

    def generate() -> Iterator[PacketTrace]:
        for first, n in chunks:
            now = np.arange(first + reset_cycles, first + reset_cycles + n)
            drawn = uniforms(creation, (n, n_nodes)).T.copy()
            to = _table_destinations(table, now, drawn).T
            cycle, source = np.nonzero(to >= 0)
            sizes = _draw(lengths, len(cycle), length)
            yield _trace(first + cycle, source.astype(np.int32), to[cycle, source], sizes, n_nodes)

    return generate()


def _table_destinations(
    table: NoximTable, now: NDArray[np.int64], drawn: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Return int32[nodes, cycles]: where a node sends, -1 where it makes no packet.

    The active flows of a node share the range from 0 to 1 in the order of the table, each with a
    part as long as its rate; ``drawn``, float64[nodes, cycles], tells which one it is.
    """
    to = np.full(drawn.shape, -1, np.int32)
    end = np.zeros(drawn.shape)
    active: dict[tuple[int, ...], NDArray[np.bool_]] = {}
    windows = zip(table.t_on.tolist(), table.t_off.tolist(), table.t_period.tolist(), strict=True)
    for flow, window in enumerate(windows):
        if window not in active:
            t_on, t_off, t_period = window
            phase = now % t_period
            active[window] = (t_on < phase) & (phase < t_off)
        source = table.src[flow]
        begin = end[source].copy()
        end[source] += table.pir[flow] * active[window]
        to[source, (begin <= drawn[source]) & (drawn[source] < end[source])] = table.dst[flow]
    return to


def _trace(
    cycle: NDArray[np.int64],
    source: NDArray[np.int32],
    destination: NDArray[np.int32],
    flits: NDArray[np.int32],
    n_nodes: int,
) -> PacketTrace:
    return PacketTrace(cycle, source, flits, destination, single_sets(n_nodes))


def _streams(seed: int) -> list[np.random.Generator]:
    """Return one generator per stream; numpy promises that SeedSequence stays the same."""
    if seed < 0:
        raise ValueError(f"seed: must be at least 0, got {seed}; give any whole number from 0 on")
    return [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))))
        for stream in (CREATION, DESTINATION, LENGTH)
    ]


def _lengths(flits: int | Sequence[int]) -> NDArray[np.int32]:
    """Return the lengths to draw from."""
    given = np.atleast_1d(np.asarray(flits))
    is_whole = given.dtype.kind in "iu" and given.ndim == 1
    if not (is_whole and len(given) and 1 <= given.min() and given.max() <= MOST_NUMBER):
        raise ValueError(
            f"flits: must be one or more lengths from 1 to {MOST_NUMBER}, got {flits}; correct them"
        )
    return given.astype(np.int32)


def _draw(lengths: NDArray[np.int32], n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return int32[n]; draws nothing when there is one length."""
    if len(lengths) == 1:
        return np.full(n, lengths[0])
    return lengths[(uniforms(rng, n) * len(lengths)).astype(np.int64)]


def _chunks(cycles: int, chunk_cycles: int) -> Iterator[tuple[int, int]]:
    """Return an iterator of (first cycle, number of cycles)."""
    if cycles < 0:
        raise ValueError(f"cycles: must be at least 0, got {cycles}; correct it")
    if chunk_cycles < 1:
        raise ValueError(f"chunk_cycles: must be at least 1, got {chunk_cycles}; correct it")
    starts = range(0, cycles, chunk_cycles)
    return ((first, min(chunk_cycles, cycles - first)) for first in starts)
