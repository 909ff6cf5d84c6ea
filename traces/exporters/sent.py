"""Some packets with their destinations."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

PART = 1 << 16
"""Copies and packets that are written at once, about."""


class Sent(NamedTuple):
    """Packets of a segment and where they arrived.

    Parameters
    ----------
    packets : structured array[n]
        Of dtype `firemesh.traces.schema.PACKET`, by cycle, source and number.
    first : int64[n + 1]
        Packet ``i`` has destinations ``to[first[i]]`` to ``to[first[i + 1]]``.
    to : uint16[m]
        Nodes, in ascending order for each packet.
    """

    packets: NDArray[Any]
    first: Ints
    to: NDArray[np.uint16]

    def parts(self) -> Iterator["Sent"]:
        """Yield packets in their order, some at a time."""
        size = self.first + np.arange(len(self.first))
        cuts = np.searchsorted(size, np.arange(PART, int(size[-1]), PART))
        edges = np.unique(np.concatenate([[0], cuts, [len(self.packets)]])).tolist()
        for begin, end in zip(edges, edges[1:], strict=False):
            first = self.first[begin : end + 1]
            yield Sent(self.packets[begin:end], first - first[0], self.to[first[0] : first[-1]])

    @property
    def row(self) -> Ints:
        """int64[m]: the packet of each destination."""
        return np.repeat(np.arange(len(self.packets)), np.diff(self.first))

    def split(self) -> "Sent":
        """Return one packet for each destination."""
        return Sent(self.packets[self.row], np.arange(len(self.to) + 1), self.to)

    def only(self, chosen: NDArray[np.bool_]) -> "Sent":
        """Return some of the packets, with all their destinations."""
        if chosen.all():
            return self
        count = np.diff(self.first)
        first = np.concatenate([[0], np.cumsum(count[chosen])])
        return Sent(self.packets[chosen], first, self.to[np.repeat(chosen, count)])

    def is_of(self, units: set[int]) -> NDArray[np.bool_]:
        """bool[n]: whether a packet's source or one of its destinations is among units."""
        wanted = sorted(units)
        arrives = np.isin(self.to, wanted)
        arrives_at_one = np.logical_or.reduceat(arrives, self.first[:-1])
        is_mine: NDArray[np.bool_] = arrives_at_one | np.isin(self.packets["source"], wanted)
        return is_mine
