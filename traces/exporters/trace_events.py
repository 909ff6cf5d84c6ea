"""Chrome's trace events: JSON text that Perfetto reads, with tracks by name.

Times in the text are microseconds; Perfetto keeps nanoseconds. A cycle is written as a nanosecond
whatever the machine's clock, so that cycles are whole numbers for the reader, and slices that meet
do not overlap.
"""

import json
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from numpy.typing import NDArray

CYCLES = 1000
"""A microsecond's."""
FRACTIONS = [f"{cycle:03}" for cycle in range(CYCLES)]


class Track(NamedTuple):
    """Where slices lie: numbers of a process and of a thread, as the format calls them."""

    process: int
    thread: int


class Events:
    """Events that are written to an open file.

    Parameters
    ----------
    file
        Open for writing bytes.
    about : dict
        What the file tells of itself.
    groups : int
        How many groups of tracks there will be, at most.

    Attributes
    ----------
    counts : dict
        How many slices, counters, flows and names were written; a flow is a pair of events.
    """

    def __init__(self, file: IO[bytes], about: Mapping[str, Any], groups: int) -> None:
        self._file, self._processes = file, 0
        self._threads = 10 ** len(str(groups))  # no thread has the number of a process
        self.counts = {"slices": 0, "counters": 0, "flows": 0, "names": 0}
        told = json.dumps(about)
        file.write(f'{{"displayTimeUnit":"ns","otherData":{told},"traceEvents":[\n'.encode())
        self._before = ""

    @property
    def count(self) -> int:
        """Events so far."""
        return sum(self.counts.values()) + self.counts["flows"]

    def process(self, name: str) -> int:
        """Return the number of a new group of tracks, below those before."""
        self._processes += 1
        self._named("process", name, self._processes, {"pid": self._processes})
        return self._processes

    def track(self, process: int, name: str) -> Track:
        """Return a new track, below those before of its process."""
        self._threads += 1
        track = Track(process, self._threads)
        self._named("thread", name, self._threads, {"pid": process, "tid": track.thread})
        return track

    def _named(self, what: str, name: str, place: int, where: dict[str, int]) -> None:
        for kind, value in (("name", name), ("sort_index", place)):
            told = {"ph": "M", "name": f"{what}_{kind}"} | where | {"args": {kind: value}}
            self._put("names", json.dumps(told, separators=(",", ":")))

    def slice(self, track: Track, begin: int, end: int, name: str, told: Mapping[str, Any]) -> None:
        """Write a slice from cycle ``begin`` to the one before ``end``, and what it tells."""
        self._put(
            "slices",
            f'{{"ph":"X","pid":{track.process},"tid":{track.thread},"ts":{time_text(begin)},'
            f'"dur":{time_text(end - begin)},"name":{json.dumps(name)},'
            f'"args":{json.dumps(told, separators=(",", ":"))}}}',
        )

    def counter(self, cycle: int, process: int, name: str, unit: str, value: float) -> None:
        """Write a counter's value from a cycle on; readers call it ``name unit``."""
        self._put(
            "counters",
            f'{{"ph":"C","pid":{process},"ts":{time_text(cycle)},"name":{json.dumps(name)},'
            f'"args":{{{json.dumps(unit)}:{value:.6g}}}}}',
        )

    def _put(self, kind: str, text: str) -> None:
        self._file.write((self._before + text).encode())
        self.counts[kind], self._before = self.counts[kind] + 1, ",\n"

    def lines(self, text: NDArray[Any], kind: str, count: int) -> None:
        r"""Write events as text, each behind a ``,\n``; there are such before."""
        self._file.write(text.data)
        self.counts[kind] += count

    def end(self) -> None:
        """Write what is behind the last event."""
        self._file.write(b"\n]}\n")


def time_text(cycle: int) -> str:
    """Return a time in microseconds, as JSON has it."""
    return f"{cycle // CYCLES}.{FRACTIONS[cycle % CYCLES]}"
