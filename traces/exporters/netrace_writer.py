"""The packets of a netrace file, segment by segment, each followed by those that wait for it."""

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .dependencies import NO_DEPENDENCIES, Dependencies, Kept, dependencies
from .exporter import Progress
from .netrace_types import L1D, L2, TYPES, flits_of
from .sent import Sent
from .traffic import Traffic

RECORD = np.dtype(
    [
        ("cycle", "<u8"),
        ("id", "<u4"),
        ("addr", "<u4"),
        ("type", "u1"),
        ("src", "u1"),
        ("dst", "u1"),
        ("node_types", "u1"),
        ("num_deps", "u1"),
    ]
)
DEPENDENCY_BYTES = 4


class Writer:
    """Writes the packets, and counts what is written.

    Attributes
    ----------
    records, dependencies, forwarded, outside : int
        ``outside`` counts packets that wait for one that is not selected.
    of_type : int64[256]
        Records of each type.
    of_kind : int64[kinds]
    """

    def __init__(self, traffic: Traffic, kinds: list[str]) -> None:
        self._traffic, trace = traffic, traffic.trace
        self._end = kinds.index("end") if "end" in kinds else -1
        self._types = np.array([[number for _, number in TYPES[kind]] for kind in kinds], np.uint8)
        short, long = flits_of(trace.attribute("flit_bits"))
        self._is_long_from = (short + long) / 2 if short < long else np.inf
        self._level = np.full(len(trace.units), L1D, np.uint8)
        self._level[traffic.storage] = L2
        names = [bytes(name) for name in trace.table("streams")["name"]]
        self._eject = names.index(b"eject") if b"eject" in names else -1
        self.records = self.dependencies = self.forwarded = self.outside = 0
        self.of_type = np.zeros(256, np.int64)
        self.of_kind = np.zeros(len(kinds), np.int64)

    def count(self, progress: Progress) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return int64[segments] each: records, and dependencies, that there will be.

        They are stored, but for a selection of some of a segment's packets, which are gone through
        twice.
        """
        traffic = self._traffic
        if not traffic.is_partial:
            return traffic.copies, traffic.waiting
        records, waiting = np.zeros_like(traffic.copies), np.zeros_like(traffic.copies)
        for place, whole in traffic.whole(lambda done, total: progress(done, 2 * total)):
            chosen = traffic.chosen(whole)
            records[place] = np.diff(whole.first)[chosen].sum()
            waiting[place] = len(self._kept(place, whole, chosen).waits.arrival)
        if not records.any():
            raise traffic.without_packets()
        return records, waiting

    def second(self, progress: Progress) -> Progress:
        """Return what tells the progress after `count`."""
        if not self._traffic.is_partial:
            return progress
        return lambda done, total: progress(total + done, 2 * total)

    def _kept(self, place: int, whole: Sent, chosen: NDArray[np.bool_]) -> Kept:
        """Return the dependencies between chosen packets of a segment."""
        traffic, number = self._traffic, int(self._traffic.numbers[place])
        waits: Dependencies | None = NO_DEPENDENCIES
        if traffic.waiting[place]:
            segment = traffic.trace._segment(number)
            waits = dependencies(whole, traffic.storage, self._end, segment, self._eject)
        if waits is None or len(waits.arrival) != traffic.waiting[place]:
            raise traffic.damaged(number)
        return waits.only(whole, chosen, traffic.storage)

    def write(self, file: IO[bytes], place: int, whole: Sent) -> None:
        """Write the selected packets of a segment."""
        chosen = self._traffic.chosen(whole)
        waits, outside = self._kept(place, whole, chosen)
        sent = self._traffic.take(whole, chosen)
        begin = 0
        for part in sent.parts():
            end = begin + len(part.to)
            records = self._records(part, self.records + begin)
            mine = slice(*np.searchsorted(waits.arrival, [begin, end]).tolist())
            file.write(_packed(records, waits, mine, begin, self.records).data)
            begin = end
        self.records += begin
        self.dependencies += len(waits.arrival)
        self.forwarded += waits.forwarded
        self.outside += outside

    def _records(self, part: Sent, first_id: int) -> NDArray[Any]:
        row = part.row
        records = np.zeros(len(row), RECORD)
        copied = part.packets[row]
        is_long = copied["flits"] >= self._is_long_from
        records["cycle"], records["addr"] = copied["created"], copied["number"]
        records["id"] = np.arange(first_id, first_id + len(row))
        node = self._traffic.node
        records["src"], records["dst"] = node[copied["source"]], node[part.to]
        records["type"] = self._types[copied["kind"], is_long.astype(np.intp)]
        source, target = (self._level[unit] for unit in (copied["source"], part.to))
        records["node_types"] = source << 4 | target
        self.of_type += np.bincount(records["type"], minlength=256)
        self.of_kind += np.bincount(copied["kind"], minlength=len(self.of_kind))
        return records


def _packed(
    records: NDArray[Any], waits: Dependencies, mine: slice, begin: int, first_id: int
) -> NDArray[np.uint8]:
    """Return uint8[bytes]: records, each followed by the packets that its arrival releases.

    Parameters
    ----------
    records : structured array
    waits : Dependencies
        Of the segment.
    mine : slice
        Those of these records.
    begin, first_id : int
        Place of the first record in the segment; id of the segment's first.
    """
    record = waits.arrival[mine] - begin
    count = np.bincount(record, minlength=len(records))
    records["num_deps"] = count
    before = np.cumsum(count) - count
    start = RECORD.itemsize * np.arange(len(records)) + DEPENDENCY_BYTES * before
    packed = np.empty(RECORD.itemsize * len(records) + DEPENDENCY_BYTES * len(record), np.uint8)
    rows = records.view(np.uint8).reshape(-1, RECORD.itemsize)
    packed[start[:, None] + np.arange(RECORD.itemsize)] = rows
    at = RECORD.itemsize * (record + 1) + DEPENDENCY_BYTES * np.arange(len(record))
    ids = (waits.released[mine] + first_id).astype("<u4")
    packed[at[:, None] + np.arange(DEPENDENCY_BYTES)] = ids.view(np.uint8).reshape(
        -1, DEPENDENCY_BYTES
    )
    return packed
