"""The accesses of a trace as records of a format: selected, placed, cut and counted."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..schema import ACCESS, NETWORK_MEMORIES
from ..selected import counted, segments_of
from ..selection import Selection
from .clock import clock_of
from .cut import cut
from .exporter import Options, Progress
from .places import MOST_ADDRESS, places_of
from .tally import AccessTally

MOST_BURST = 1 << 15
MOST_RECORDS = 1 << 19
"""Of a block, about."""

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


class Records:
    """The accesses that are exported, and the records that they become.

    Parameters
    ----------
    trace : Trace
    options : Options
    memories : sequence of str
        Which are taken where the selection names none: the first that has accesses; empty for all.
    burst_bytes : int
        What the format takes by default, 0 for no cuts.
    aligns : bool
        Whether the format has no sizes: a record is a whole burst.
    hz : int
        Of the format's time, if it has one of its own; 0 for the consumer's or machine's clock.
    is_apart : bool
        Whether each memory of each unit has addresses of its own, from 0.

    Attributes
    ----------
    selection : Selection
        With the memories that are taken.
    base : uint64[n_memories, n_units]
        Where each memory begins in the file's addresses; 0 if it is the only one.
    zero : int
        Cycle of the run that is 0 in the file.
    clock : Clock
        Of the file.
    counted : structured array
        The engine's counts of the selection, whole segments where it has a window.
    note : str
        What a user may not expect; empty for nothing.
    selected, written : AccessTally
        What went by so far: accesses in the run's cycles, records in the file's.

    Raises
    ------
    TraceError
        When nothing is selected, or an option does not fit.
    """

    def __init__(
        self,
        trace: Trace,
        options: Options,
        memories: Sequence[str] = (),
        burst_bytes: int = 0,
        aligns: bool = False,
        hz: int = 0,
        is_apart: bool = False,
    ) -> None:
        self.trace, self.options, self.aligns = trace, options, aligns
        self.burst = burst_bytes if options.burst_bytes is None else options.burst_bytes
        self._check_burst()
        self.selection = options.selection
        self.note = ""
        self.counted = counted(trace, self.selection)
        placed = Selection(unit=self.selection.unit, memory=self.selection.memory)
        if self.selection.memory is None:
            chosen = self._memories(memories)
            self.selection = replace(self.selection, memory=chosen)
            self.counted = counted(trace, self.selection)
            placed = replace(placed, memory=chosen if memories else None)
        self.segments = segments_of(trace, self.selection)
        if not len(self.counted):
            raise TraceError(
                f"{trace.path}: holds no accesses in the selection; see firemesh trace stats"
            )
        self.base, self.regions = places_of(trace, counted(trace, placed), self.burst, is_apart)
        self.zero = self._zero() if options.relative else 0
        end = int(trace.segments["cycle1"][self.segments[-1]])
        self.clock = clock_of(trace, options.clock_hz, hz, end - self.zero)
        self.selected, self.written = AccessTally(), AccessTally()

    def _check_burst(self) -> None:
        burst = self.burst
        if not 0 <= burst <= MOST_BURST or burst & (burst - 1) or (self.aligns and not burst):
            raise TraceError(
                f"--burst-bytes: must be a power of two up to {MOST_BURST}, got {self.burst}"
            )
        if self.options.merge and not burst:
            raise TraceError("--merge: joins accesses to a burst; name its size with --burst-bytes")

    def refuse_doors(self) -> None:
        """Refuse the network's doors among the memories, which hold packets and no accesses.

        Raises
        ------
        TraceError
        """
        used = {self.trace.memories[number] for number in np.unique(self.counted["memory"])}
        if doors := used & set(NETWORK_MEMORIES):
            raise TraceError(
                f"--memory: {min(doors)} is no memory, packets go through it; leave it out, or "
                "export packets, see firemesh trace formats"
            )

    def _memories(self, wanted: Sequence[str]) -> list[str]:
        """Return the memories that are taken."""
        used = [self.trace.memories[number] for number in np.unique(self.counted["memory"])]
        if not wanted:
            return used
        found = [name for name in wanted if name in used][:1] or used[:1]
        if found and found[0] != wanted[0]:
            self.note = f"nothing selected goes to {wanted[0]}: memory {found[0]} is written"
        return found

    def _zero(self) -> int:
        first = int(self.trace.segments["cycle0"][self.segments[0]])
        return first if self.selection.cycles is None else max(first, self.selection.cycles[0])

    def blocks(self, progress: Progress) -> Iterator[NDArray[Any]]:
        """Yield records, of dtype `firemesh.traces.schema.ACCESS`, by cycle, unit and sequence.

        Yields
        ------
        structured array
            Half a million records at most, never none.

        Raises
        ------
        TraceError
            When a door of the network is among the memories; at the end, when other accesses went
            by than the engine counted.
        """
        self.refuse_doors()
        pending = np.empty((0, 3), np.uint64)
        low = int(self.trace.segments["cycle0"][self.segments[0]])
        high = int(self.trace.segments["cycle1"][self.segments[-1]])
        for block in self.trace.accesses(**self.selection.arguments):
            self.selected.add(block)
            pieces = 1
            if self.burst:
                pieces = int(block["size"].max()) // self.burst + 2
            step = max(1, MOST_RECORDS // pieces)
            for first in range(0, len(block), step):
                part = block[first : first + step]
                pending, words = self._cut(part, pending, pieces * len(part))
                if len(words):
                    yield self._tallied(words)
            progress(int(block["cycle"][-1]) - low, high - low)
        self.check()
        if len(pending):
            yield self._tallied(pending)
        progress(high - low, high - low)

    def _cut(self, block: NDArray[Any], pending: Words, most: int) -> tuple[Words, Words]:
        """Return the record that the next access may join, and those before it."""
        rule = self.clock.times, self.clock.per, self.burst, self.aligns, self.options.merge
        out = np.empty((len(pending) + most, 3), np.uint64)
        out[: len(pending)] = pending
        words = block.view(np.uint64).reshape(-1, 3)
        n = cut(words, self.base, self.zero, *rule, len(pending), out)
        kept = min(n, 1) if self.options.merge else 0
        return out[n - kept : n].copy(), out[: n - kept]

    def _tallied(self, words: Words) -> NDArray[Any]:
        records = np.ascontiguousarray(words).view(ACCESS)[:, 0]
        if int(records["address"].max()) >= 2 * MOST_ADDRESS:
            raise TraceError(
                f"{self.trace.path}: holds addresses beyond its memories; see firemesh trace verify"
            )
        self.written.add(records)
        return records

    def check(self) -> None:
        """Compare what went by with what the engine counted, if that is known."""
        if self.selection.cycles is not None:
            if not self.selected.count:
                low, high = self.selection.cycles
                raise TraceError(
                    f"{self.trace.path}: holds no accesses of the selection in cycles {low} to "
                    f"{high}; see firemesh trace stats"
                )
            return
        told = (int(self.counted[name].sum(dtype=np.int64)) for name in ("count", "bytes"))
        if tuple(told) != (self.selected.count, self.selected.bytes):
            raise TraceError(
                f"{self.trace.path}: holds other accesses than were counted; see firemesh trace "
                "verify, and make the trace again"
            )

    def facts(self) -> dict[str, Any]:
        """Return what the side file tells of selection, places and totals."""
        trace = self.trace
        return {
            "selection": self.selection.facts(),
            "cycle_0_is_cycle_of_run": self.zero,
            "machine_clock_hz": int(trace.attribute("clock_hz")),
            "clock_hz": self.clock.hz,
            "burst_bytes": self.burst,
            "merged": self.options.merge,
            "addresses": self.regions,
            "note": self.note,
            "selected": self.selected.facts("accesses"),
            "written": self.written.facts("records"),
        }
