"""The packets of a trace with their destinations, segment by segment."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..schema import NETWORK_MEMORIES
from ..selection import numbers
from .exporter import Options, Progress

Ints = NDArray[np.int64]

PART = 1 << 18
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


class Traffic:
    """The packets of the wanted segments.

    Parameters
    ----------
    trace : Trace
    options : Options
        Layer and frame choose segments; with ``relative`` cycles count from the first of these.

    Attributes
    ----------
    numbers : int64[n]
        Of segments, in order of time.
    segments : structured array[n]
    zero : int
        The run's cycle that counts as 0.
    end : int
        The one after the last cycle, counted from ``zero``.
    width, height : int
        Of the mesh.
    node : int64[n_units]
        ``x + width*y`` of each unit, which files name nodes by.
    storage : int
        The unit of storage.

    Raises
    ------
    TraceError
        When no segment has a packet.
    """

    def __init__(self, trace: Trace, options: Options) -> None:
        self.trace, self.options = trace, options
        selection = options.selection
        wanted = numbers(trace.layers, selection.layer, "layer")
        self.numbers = trace._segment_numbers(selection.frame, wanted)
        self.segments = trace.segments[self.numbers]
        if not self.copies.any():
            where = "" if selection.layer is None else f" in layer {selection.layer}"
            raise TraceError(
                f"{trace.path}: holds no packets{where}; choose a layer that runs on the PEs, see "
                "firemesh trace info"
            )
        self.zero = int(self.segments["cycle0"][0]) if options.relative else 0
        self.end = int(self.segments["cycle1"][-1]) - self.zero
        units = trace.table("units")
        self.width, self.height = (int(units[name].max()) + 1 for name in ("x", "y"))
        self.node: Ints = units["x"].astype(np.int64) + self.width * units["y"].astype(np.int64)
        self.storage = int(np.flatnonzero(units["kind"] == b"storage")[0])

    def _at_door(self, door: str) -> Ints:
        """Return int64[segments, units]: packets through a door, as the engine counted them."""
        trace, counters = self.trace, self.trace.table("counters")
        mine = counters[counters["memory"] == trace.memories.index(door)]
        count = np.zeros((len(trace.segments), len(trace.units)), np.int64)
        np.add.at(count, (mine["segment"], mine["unit"]), mine["count"].astype(np.int64))
        return count[self.numbers]

    @cached_property
    def copies(self) -> Ints:
        """int64[n]: arrivals in each segment, as the engine counted them."""
        arrived: Ints = self._at_door(NETWORK_MEMORIES[1]).sum(axis=1)
        return arrived

    @cached_property
    def by_pes(self) -> Ints:
        """int64[n]: packets that PEs sent in each segment, as the engine counted them."""
        sent = self._at_door(NETWORK_MEMORIES[0])
        by_pes: Ints = sent.sum(axis=1) - sent[:, self.storage]
        return by_pes

    @cached_property
    def waiting(self) -> Ints:
        """int64[n]: packets of PEs that wait for others; those of mode flexnn do for none."""
        mode = self.trace.table("layers")["mode"][self.segments["layer"]]
        waiting: Ints = np.where(mode == b"flexnn", 0, self.by_pes)
        return waiting

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of packets."""
        return self.trace._names("kinds")

    def sent(self, progress: Progress) -> Iterator[tuple[int, Sent]]:
        """Yield the place in ``numbers`` and the packets of each segment that has some.

        Cycles of packets count from ``zero``.
        """
        for place, number in enumerate(self.numbers.tolist()):
            if self.copies[place]:
                yield place, self._sent(number, int(self.copies[place]))
            progress(place + 1, len(self.numbers))

    def _sent(self, number: int, counted: int) -> Sent:
        packets, arrived = self.trace._packets_of(number), self.trace._deliveries_of(number)
        per_source = np.bincount(packets["source"], minlength=len(self.trace.units))
        place = np.cumsum(per_source) - per_source
        row = np.full(len(packets), -1, np.int64)
        at, is_known = _places(packets, per_source, place)
        row[at[is_known]] = np.flatnonzero(is_known)
        found, is_sent = _places(arrived, per_source, place)
        if (row < 0).any() or not is_sent.all() or len(arrived) != counted:
            raise self.damaged(number)
        n_units = len(self.trace.units)
        key = np.sort(row[found] * n_units + arrived["unit"])
        count = np.bincount(key // n_units, minlength=len(packets))
        if not count.all() or not np.diff(key).all():
            raise self.damaged(number)
        packets["created"] -= np.uint64(self.zero)
        first = np.concatenate([[0], np.cumsum(count)])
        return Sent(packets, first, (key % n_units).astype(np.uint16))

    def placed(self, sent: Sent) -> Sent:
        """Return packets with nodes for units: other numbers where routers have no PE."""
        if np.array_equal(self.node, np.arange(len(self.node))):
            return sent
        packets = sent.packets.copy()
        packets["source"] = self.node[packets["source"]]
        return Sent(packets, sent.first, self.node[sent.to].astype(np.uint16))

    def damaged(self, number: int) -> TraceError:
        """Return the error that tells of packets that were not delivered once, or not sent."""
        return TraceError(
            f"{self.trace.path}: packets and arrivals of segment {number} contradict each other; "
            "see firemesh trace verify, and make the trace again"
        )

    def facts(self) -> dict[str, Any]:
        """Return what every side file tells of the trace."""
        trace = self.trace
        return {
            "trace": trace.path.name,
            "network": trace.attribute("network"),
            "command": trace.attribute("command"),
            "complete": trace.complete,
            "selection": self.options.selection.facts(),
            "mesh": {
                "width": self.width,
                "height": self.height,
                "storage": int(self.node[self.storage]),
            },
            "flit_bits": trace.attribute("flit_bits"),
            "first_cycle_of_run": int(self.segments["cycle0"][0]),
            "end_cycle_of_run": int(self.segments["cycle1"][-1]),
        }


def _places(
    rows: NDArray[Any], per_source: NDArray[np.int64], place: Ints
) -> tuple[Ints, NDArray[np.bool_]]:
    """Return each row's packet, packets by source and number; and whether there is such a one."""
    source = np.minimum(rows["source"], len(per_source) - 1)
    is_known = (source == rows["source"]) & (rows["number"] < per_source[source])
    found: Ints = np.where(is_known, place[source] + rows["number"].astype(np.int64), 0)
    return found, is_known
