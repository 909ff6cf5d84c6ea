"""The packets of a trace with their destinations, segment by segment."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..schema import NETWORK_MEMORIES
from ..selection import Selection, numbers
from .exporter import Options, Progress
from .sent import Sent
from .tally import PacketTally

Ints = NDArray[np.int64]


class Traffic:
    """The packets of a selection.

    A packet is selected if it was made in one of the layers, in the frame and in the cycles, and
    its source or any of its destinations is one of the units. It keeps all its destinations.

    Parameters
    ----------
    trace : Trace
    options : Options
        With ``relative``, cycles count from the first of the selected segments, or of the selected
        cycles if these begin later.

    Attributes
    ----------
    numbers : int64[n]
        Of segments, in order of time.
    segments : structured array[n]
        Their rows, cut to the selected cycles.
    is_partial : bool
        Whether of some segments only some packets are selected.
    zero : int
        The run's cycle that counts as 0.
    end : int
        The one after the last cycle, counted from ``zero``.
    tally : PacketTally
        Of what `sent` has yielded.
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
        self._units = numbers(trace.units, selection.unit, "unit")
        wanted = numbers(trace.layers, selection.layer, "layer")
        self.numbers = trace._segment_numbers(selection.frame, wanted)
        low, high = selection.cycles or (0, trace.cycles)
        self._low, self._high = max(low, 0), max(0, min(high, trace.cycles))
        begin, end = (trace.segments[name][self.numbers] for name in ("cycle0", "cycle1"))
        self.numbers = self.numbers[(begin < self._high) & (end > self._low)]
        self.segments = trace.segments[self.numbers]
        self.is_partial = self._units is not None or selection.cycles is not None
        if not self.copies.any():
            raise self.without_packets()
        self.segments["cycle0"] = np.maximum(self.segments["cycle0"], np.uint64(self._low))
        self.segments["cycle1"] = np.minimum(self.segments["cycle1"], np.uint64(self._high))
        self.zero = int(self.segments["cycle0"][0]) if options.relative else 0
        self.end = int(self.segments["cycle1"][-1]) - self.zero
        self.tally = PacketTally()
        units = trace.table("units")
        self.width, self.height = (int(units[name].max()) + 1 for name in ("x", "y"))
        self.node: Ints = units["x"].astype(np.int64) + self.width * units["y"].astype(np.int64)
        self.storage = int(np.flatnonzero(units["kind"] == b"storage")[0])

    def without_packets(self) -> TraceError:
        """Return the error that tells that no packet is selected."""
        counters, selection = self.trace.table("counters"), self.options.selection
        door = self.trace.memories.index(NETWORK_MEMORIES[1])
        if not counters["count"][counters["memory"] == door].any():
            way = "export its accesses, see firemesh trace formats"
        elif selection.cycles is not None or self._units is not None:
            way = "choose other cycles, units or layers, see firemesh trace info"
        else:
            way = "choose a layer that runs on the PEs, see firemesh trace info"
        return TraceError(f"{self.trace.path}: holds no packets{_where(selection)}; {way}")

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
        """Yield the place in ``numbers`` and the selected packets of each segment that has some.

        Cycles of packets count from ``zero``.

        Raises
        ------
        TraceError
            At the end, when no packet was selected.
        """
        self.tally = PacketTally()
        for place, whole in self.whole(progress):
            chosen = self.chosen(whole)
            if chosen.any():
                yield place, self.take(whole, chosen)
        if not self.tally.packets:
            raise self.without_packets()

    def whole(self, progress: Progress) -> Iterator[tuple[int, Sent]]:
        """Yield the place in ``numbers`` and all packets of each segment that has some.

        Cycles of packets are those of the run.
        """
        for place, number in enumerate(self.numbers.tolist()):
            if self.copies[place]:
                yield place, self._sent(number, int(self.copies[place]))
            progress(place + 1, len(self.numbers))

    def chosen(self, whole: Sent) -> NDArray[np.bool_]:
        """bool[n]: which of a segment's packets are selected."""
        created = whole.packets["created"]
        chosen: NDArray[np.bool_] = (created >= self._low) & (created < self._high)
        return chosen if self._units is None else chosen & whole.is_of(self._units)

    def take(self, whole: Sent, chosen: NDArray[np.bool_]) -> Sent:
        """Count selected packets in ``tally``, and return them with cycles from ``zero`` on."""
        sent = whole.only(chosen)
        self.tally.add(sent.packets, sent.first)
        sent.packets["created"] -= np.uint64(self.zero)
        return sent

    def _sent(self, number: int, counted: int) -> Sent:
        packets = self.trace._packets_of(number)
        per_source = np.bincount(packets["source"], minlength=len(self.trace.units))
        place = np.cumsum(per_source) - per_source
        row = np.full(len(packets), -1, np.int64)
        at, is_known = _places(packets, per_source, place)
        row[at[is_known]] = np.flatnonzero(is_known)
        if (row < 0).any():
            raise self.damaged(number)
        n_units, n = len(self.trace.units), 0
        key = np.empty(counted, np.int64)  # of a wave of VGG-16 millions
        for arrived in self.trace._arrivals(number):
            found, is_sent = _places(arrived, per_source, place)
            if not is_sent.all() or n + len(found) > counted:
                raise self.damaged(number)
            key[n : n + len(found)] = row[found] * n_units + arrived["unit"]
            n += len(found)
        key[:n].sort()
        is_again = key[1:n] == key[: n - 1] if n else np.zeros(0, bool)
        count = np.bincount(key[:n] // n_units, minlength=len(packets))
        if n != counted or not count.all() or is_again.any():
            raise self.damaged(number)
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
            "selection": self.options.selection.facts(),
            "mesh": {
                "width": self.width,
                "height": self.height,
                "storage": int(self.node[self.storage]),
            },
            "flit_bits": trace.attribute("flit_bits"),
            "clock_hz": trace.attribute("clock_hz"),
            "first_cycle_of_run": int(self.segments["cycle0"][0]),
            "end_cycle_of_run": int(self.segments["cycle1"][-1]),
        }


def _where(selection: Selection) -> str:
    """Return " in layer NAME,..." and the like, as the command line takes it; empty for all."""
    facts, where = selection.facts(), ""
    for name, word in (("layer", "in"), ("unit", "of")):
        if facts[name] is not None:
            where += f" {word} {name} {','.join(map(str, facts[name]))}"
    if facts["cycles"] is not None:
        where += " in cycles {}:{}".format(*facts["cycles"])
    return where


def _places(
    rows: NDArray[Any], per_source: NDArray[np.int64], place: Ints
) -> tuple[Ints, NDArray[np.bool_]]:
    """Return each row's packet, packets by source and number; and whether there is such a one."""
    source = np.minimum(rows["source"], len(per_source) - 1)
    is_known = (source == rows["source"]) & (rows["number"] < per_source[source])
    found: Ints = np.where(is_known, place[source] + rows["number"].astype(np.int64), 0)
    return found, is_known
