"""Which packets of a segment wait for which others to arrive.

* Of the packets that a PE sends to storage in a wave (what it fired, in order, and its end-of-data)
  numbers 0 to W-1 wait for the end-of-data message that reached the PE, and number ``j`` for
  number ``j - W``. ``W`` is 255, one less where the PE also forwards that message, so that no
  arrival releases more than 255 packets.
* In a chain a forwarded packet waits for the packet of the same message that reached its PE.

So every packet that a PE sends in mode mnf waits for one arrival, and packets of storage for none.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..decode import Segment
from ..schema import PACKET_SHIFT
from .sent import Sent

MOST = 255
"""Packets that one arrival releases, at most."""

Ints = NDArray[np.int64]


class Dependencies(NamedTuple):
    """Arrivals and the packets that they release, each int64[n], by arrival and packet.

    An arrival is a place in ``Sent.to``, and so is a packet: it has one destination.
    """

    arrival: Ints
    released: Ints
    forwarded: int
    """How many of the released packets are forwarded ones."""

    def only(self, whole: Sent, chosen: NDArray[np.bool_], storage: int) -> "Kept":
        """Return those between packets that are chosen, by their places among these.

        Parameters
        ----------
        whole : Sent
            All packets of the segment, which the places are of.
        chosen : bool[n_packets]
        storage : int
            Node of storage.
        """
        if chosen.all():
            return Kept(self, 0)
        is_kept = np.repeat(chosen, np.diff(whole.first))
        place = np.cumsum(is_kept) - 1
        both = is_kept[self.arrival] & is_kept[self.released]
        arrival, released = self.arrival[both], self.released[both]
        forwarded = int((whole.to[released] != storage).sum())
        kept = Dependencies(place[arrival], place[released], forwarded)
        return Kept(kept, int(is_kept[self.released].sum()) - len(arrival))


class Kept(NamedTuple):
    """Dependencies of a selection's packets, and how many of them wait for a packet outside it."""

    waits: Dependencies
    outside: int


NO_DEPENDENCIES = Dependencies(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)


def dependencies(
    sent: Sent, storage: int, end: int, segment: Segment, eject: int
) -> Dependencies | None:
    """Return the dependencies of a segment's packets.

    Parameters
    ----------
    sent : Sent
    storage : int
        Node of storage.
    end : int
        Kind of end-of-data messages to PEs.
    segment : Segment
    eject : int
        Number of the stream of arrivals at PEs.

    Returns
    -------
    Dependencies or None
        None where a packet of a PE has nothing to wait for: the trace is damaged.
    """
    source = sent.packets["source"]
    by_pes = np.flatnonzero(source != storage)
    at = sent.first[by_pes]
    is_fired = sent.to[at] == storage
    parents, released = _of_fired(sent, storage, end, by_pes[is_fired])
    forwarded = at[~is_fired]
    if len(forwarded):
        origins = _forwarded(sent, by_pes[~is_fired], segment, eject)
        parents, released = np.append(parents, origins), np.append(released, forwarded)
    if (parents < 0).any() or (parents >= released).any():
        return None
    order = np.lexsort((released, parents))
    return Dependencies(parents[order], released[order], len(forwarded))


def _of_fired(sent: Sent, storage: int, end: int, fired: Ints) -> tuple[Ints, Ints]:
    """Return what the packets of PEs to storage wait for, and these."""
    source = sent.packets["source"]
    n_nodes = int(max(source.max(initial=0), sent.to.max(initial=0))) + 1
    reached = np.full(n_nodes, -1, np.int64)
    width = np.full(n_nodes, MOST, np.int64)
    is_end = sent.packets["kind"] == end
    places = np.flatnonzero(is_end[sent.row])
    reached[sent.to[places]] = places
    width[source[is_end & (source != storage)]] -= 1
    fired = fired[np.argsort(source[fired], kind="stable")]
    node = source[fired]
    rank = np.arange(len(fired)) - np.searchsorted(node, node)
    before = np.maximum(np.arange(len(fired)) - width[node], 0)
    places = sent.first[fired]
    return np.where(rank < width[node], reached[node], places[before]), places


def _forwarded(sent: Sent, forwarded: Ints, segment: Segment, eject: int) -> Ints:
    """Return the arrivals that forwarded packets wait for, -1 for none."""
    key = sent.packets["source"].astype(np.int64) << PACKET_SHIFT | sent.packets["number"]
    by_key = np.argsort(key)
    unit, message, packet = _messages(segment, eject)
    if not len(packet):
        return np.full(len(forwarded), -1, np.int64)
    at = by_key[np.minimum(np.searchsorted(key[by_key], packet), len(key) - 1)]
    row_message = np.full(len(key), -1, np.int64)
    row_message[at] = message
    n_units = int(max(unit.max(initial=0), sent.packets["source"].max())) + 1
    arrived = message * n_units + unit
    order = np.argsort(arrived)
    wanted = row_message[forwarded] * n_units + sent.packets["source"][forwarded]
    found = order[np.minimum(np.searchsorted(arrived[order], wanted), len(arrived) - 1)]
    places: Ints = np.where(arrived[found] == wanted, sent.first[at[found]], -1)
    return places


def _messages(segment: Segment, eject: int) -> tuple[Ints, Ints, Ints]:
    """Return int64[n] each: unit of every arrival at PEs, number of its message, its packet."""
    units, messages, packets = ([np.zeros(0, np.int64)] for _ in range(3))
    lists = segment.index
    for number in segment.numbers:
        if lists.lists["stream"][number] != eject:
            continue
        for member in segment.members(number):
            one = lists.members[member]
            message = segment.column("of", number)
            messages.append(message)
            units.append(np.full(len(message), int(one["unit"])))
            packets.append(segment.address(number) + int(one["base_offset"]))
    return np.concatenate(units), np.concatenate(messages), np.concatenate(packets)
