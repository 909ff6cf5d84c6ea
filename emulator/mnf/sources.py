"""A wave's packets by source, and what the makers of a wave's lists share."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noc.router import Packets
from ...traces.lists import STALLS
from ..patterns import READ, WRITE, Item
from ..streams import NOC_INJECT
from .patterns import Patterns

Ints = NDArray[np.int64]


def constant(values: NDArray[Any]) -> NDArray[Any] | int:
    """Return a column, as one number where all its rows are equal and not negative."""
    if len(values) and values[0] >= 0 and (values == values[0]).all():
        return int(values[0])
    return values


def stall_rows(stall: NDArray[Any]) -> NDArray[Any]:
    """Return rows of the table of stalls from uint32[n, 3]."""
    rows = np.empty(len(stall), STALLS)
    rows["row"], rows["entry"], rows["cycles"] = stall.T
    return rows


def door_patterns(patterns: Patterns, door: int, flits: NDArray[Any]) -> Ints | int:
    """Return the pattern of each packet at a node's door; sizes are flits."""
    op = WRITE if door == NOC_INJECT else READ
    if len(flits) and (flits == flits[0]).all():
        return patterns.single(Item(door, op, int(flits[0])))
    sizes = np.unique(flits).tolist()
    numbers = [patterns.single(Item(door, op, size)) for size in sizes]
    found: Ints = np.array(numbers, np.int64)[np.searchsorted(sizes, flits)]
    return found


class Sources:
    """A wave's packets by source, those of weights left out.

    Parameters
    ----------
    packets : Packets
    n_nodes : int
    patterns : Patterns
        Of the trace, with those of all packets.
    n_weights : int
        Packets of weights, which storage sent before.

    Attributes
    ----------
    count : int64[n_nodes]
        Packets of each source.
    order : int64[n_packets]
        Packets by source, in order of creation.
    n_weights : int
    """

    def __init__(self, packets: Packets, n_nodes: int, patterns: Patterns, n_weights: int) -> None:
        self._packets, self._patterns, self.n_weights = packets, patterns, n_weights
        self.count = np.bincount(packets.source, minlength=n_nodes)
        self.order = np.argsort(packets.source.astype(np.int16), kind="stable")

    @property
    def of_storage(self) -> Ints:
        """Packets of storage in order of creation."""
        return self.order[: self.count[0]]

    @property
    def of_pes(self) -> Ints:
        """Packets of PEs, by PE and creation."""
        return self.order[self.count[0] :]

    @cached_property
    def serial(self) -> Ints:
        """int64[n_packets]: number of each packet among those of its source."""
        first = np.cumsum(self.count) - self.count
        serial = np.empty(len(self.order), np.int64)
        serial[self.order] = np.arange(len(serial)) - np.repeat(first, self.count)
        return serial

    def patterns(self, door: int, packets: NDArray[Any]) -> Ints | int:
        """Return the pattern of each packet at a node's door."""
        return door_patterns(self._patterns, door, self._packets.flits[packets])
