"""Perfetto's overview: layers, busy multipliers, bytes a cycle, phases of PEs, streams of units."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..schema import NETWORK_MEMORIES
from ..selection import numbers
from .activity import ACCESSES, BYTES, FIRST, LAST, Activity, ends, pairs
from .records import Records
from .trace_events import Events, Track

Ints = NDArray[np.int64]

PHASES = {
    "multiply": ("psum", "windows"),
    "fire": ("fire", "bias"),
    "drain": ("psum_leave", "gather"),
    "send": ("send",),
    "load weights": ("weight_write", "weight_arrive"),
    "load": ("operand_write", "bitmap_write", "psum_return", "arrive"),
    "receive": ("load", "pop", "pointer", "push", "eject"),
}
"""Phase of a PE -> its streams. Where several go on in a bin, it is in the first of these."""

BUSY, BYTES_A_CYCLE, FLITS_A_CYCLE = "%", "B/cycle", "flits/cycle"
"""Units of counters, which readers put behind their names."""


class Run(NamedTuple):
    """Bins in a row in which something goes on."""

    begin: int
    end: int
    accesses: int
    bytes: int


class Overview:
    """The groups of tracks of a file, which are made one below the other.

    Parameters
    ----------
    records : Records
    events : Events

    Attributes
    ----------
    group : dict
        Unit -> number of its group, for tracks that are added.
    """

    def __init__(self, records: Records, events: Events) -> None:
        self.records, self.events, trace = records, events, records.trace
        self._zero = records.zero
        self._pairs = sorted(pairs(records))
        units, kinds = sorted({unit for unit, _ in self._pairs}), trace.table("units")["kind"]
        self.pes = [unit for unit in units if kinds[unit] == b"pe"]
        self._run = events.process(f"{trace.attribute('network')}, mode {trace.attribute('mode')}")
        self._layers = events.track(self._run, "layers")
        self._phases = {pe: events.track(self._run, trace.units[pe]) for pe in self.pes}
        self.group = {unit: events.process(trace.units[unit]) for unit in units}
        self._stream = trace._names("streams")
        self._streams = {
            (unit, one): events.track(self.group[unit], self._stream[one])
            for unit, one in self._pairs
        }
        self._slots = self._slots_of_units()
        self._rates = {
            (memory, op): (self._run, f"{trace.memories[memory]} {trace.ops[op]}", BYTES_A_CYCLE)
            for memory in range(len(trace.memories) - len(NETWORK_MEMORIES))
            for op in range(len(trace.ops))
        }
        door = len(self._rates) // len(trace.ops)
        self._rates[door, 1] = self._run, "packets sent", FLITS_A_CYCLE
        self._rates[door + 1, 0] = self._run, "packets arrived", FLITS_A_CYCLE
        self._last: dict[tuple[int, str, str], float] = {}
        self._write_layers()

    def _slots_of_units(self) -> NDArray[np.int64]:
        """Return int64[n_segments, n_units, n_causes]: multiplier slots."""
        trace, slots = self.records.trace, self.records.trace.table("slots")
        found = np.zeros((len(trace.segments), len(trace.units), len(trace.causes)), np.int64)
        np.add.at(found, tuple(slots[n] for n in ("segment", "unit", "cause")), slots["count"])
        return found

    # ---- layers

    def _write_layers(self) -> None:
        """Write frames, in them layers, in them waves, one track."""
        trace, rows = self.records.trace, self.records.trace.segments
        chosen = self.records.segments
        frames = trace.attribute("frames") > 1
        for depth in range(3):
            for part in _alike(rows[chosen], ("frame", "layer", "wave")[: depth + 1]):
                record, numbers_ = rows[chosen[part[0]]], chosen[part]
                begin, end = ends(self.records, numbers_[0])[0], ends(self.records, numbers_[-1])[1]
                layer = trace.layers[record["layer"]]
                waves = np.count_nonzero(
                    (rows["layer"] == record["layer"]) & (rows["frame"] == record["frame"])
                )
                if (depth == 0 and not frames) or (depth == 2 and waves == 1):
                    continue
                name = (f"frame {record['frame']}", layer, f"wave {record['wave']}")[depth]
                self._slice(self._layers, begin, end, name, self._tell(numbers_, depth))

    def _tell(self, segments: Ints, depth: int) -> dict[str, Any]:
        told: dict[str, Any] = {"cycles": self._length(segments)}
        if depth:
            layer = self.records.trace.table("layers")[
                self.records.trace.segments["layer"][segments[0]]
            ]
            told |= {name: layer[name].decode("utf-8", "replace") for name in ("op", "mode")}
        slots = self._slots[segments].sum(axis=(0, 1))
        return told | {"busy_percent": self._percent(slots)}

    def _length(self, segments: Ints) -> int:
        rows = self.records.trace.segments[segments]
        return int((rows["cycle1"] - rows["cycle0"]).sum())

    def _percent(self, slots: NDArray[np.int64]) -> float:
        """Return the part of slots by cause in which multipliers were busy."""
        is_busy = self.records.trace.table("causes")["is_busy"] == 1
        return round(100 * int(slots[is_busy].sum()) / max(1, int(slots.sum())), 2)

    # ---- segments

    def add(self, found: Activity) -> None:
        """Write what was done in a segment."""
        self._write_busy(found)
        self._write_rates(found)
        self._write_phases(found)
        for (unit, stream), mine in found.of.items():
            name = self._stream[stream]
            for run in _runs(mine, np.ones(len(mine), bool)):
                self._write_run(self._streams[unit, stream], name, run)

    def _write_busy(self, found: Activity) -> None:
        slots, trace = self._slots[found.number], self.records.trace
        chosen = numbers(trace.units, self.records.selection.unit, "unit")
        if chosen is None:
            percent = self._percent(slots.sum(axis=0))
            self._count(found.begin, (self._run, "all PEs busy", BUSY), percent)
        for pe in self.pes:
            percent = self._percent(slots[pe])
            self._count(found.begin, (self.group[pe], "busy", BUSY), percent)

    def _write_rates(self, found: Activity) -> None:
        rate = found.total[..., 1] / found.lengths
        for (memory, op), name in self._rates.items():
            if found.total[memory, op, :, 0].any():
                values = zip(found.starts.tolist(), rate[memory, op].tolist(), strict=True)
                for cycle, value in values:
                    self._count(cycle, name, value)
            elif name in self._last:
                self._count(found.begin, name, 0.0)

    def _count(self, cycle: int, name: tuple[int, str, str], value: float) -> None:
        """Write a counter, by its group, name and unit, where it changes."""
        if self._last.get(name) != value:
            self._last[name] = value
            self.events.counter(cycle - self._zero, *name, value)

    def _write_phases(self, found: Activity) -> None:
        trace = self.records.trace
        record = trace.segments[found.number]
        name, wave = trace.layers[record["layer"]], int(record["wave"])
        for pe in self.pes:
            mine = {stream: rows for (unit, stream), rows in found.of.items() if unit == pe}
            slots = self._slots[found.number, pe]
            causes = {trace.causes[one]: int(slots[one]) for one in np.flatnonzero(slots)}
            told = {"wave": wave, "busy_percent": self._percent(slots), "slots": causes}
            self._slice(self._phases[pe], found.begin, found.end, name, told)
            for phase, run in self._phases_of(mine):
                self._write_run(self._phases[pe], phase, run)

    def _phases_of(self, mine: dict[int, Ints]) -> Iterator[tuple[str, Run]]:
        """Yield the phases of a PE in a segment, which do not overlap."""
        names = {self._stream[stream]: rows for stream, rows in mine.items()}
        phases = PHASES | {
            one: (one,) for one in names if not any(one in streams for streams in PHASES.values())
        }
        is_free: Any = True
        for phase, streams in phases.items():
            parts = [names[one] for one in streams if one in names]
            if not parts:
                continue
            rows = np.stack(parts)
            merged = rows.sum(axis=0)
            merged[:, FIRST], merged[:, LAST] = rows[..., FIRST].min(0), rows[..., LAST].max(0)
            for run in _runs(merged, np.broadcast_to(is_free, len(merged))):
                yield phase, run
            is_free = is_free & (merged[:, ACCESSES] == 0)

    def _write_run(self, track: Track, name: str, run: Run) -> None:
        self._slice(track, run.begin, run.end, name, {"accesses": run.accesses, "bytes": run.bytes})

    def _slice(self, track: Track, begin: int, end: int, name: str, told: dict[str, Any]) -> None:
        self.events.slice(track, begin - self._zero, end - self._zero, name, told)

    def end(self) -> None:
        """Set counters to 0 behind the last segment."""
        end = ends(self.records, int(self.records.segments[-1]))[1]
        for name in list(self._last):
            self._count(end, name, 0.0)


def _alike(rows: NDArray[Any], names: tuple[str, ...]) -> list[Ints]:
    """Return the numbers of rows that follow each other with the same fields."""
    differs = np.zeros(len(rows), bool)
    for name in names:
        differs[1:] |= rows[name][1:] != rows[name][:-1]
    return np.split(np.arange(len(rows)), np.flatnonzero(differs))


def _runs(mine: Ints, is_free: NDArray[np.bool_]) -> Iterator[Run]:
    """Yield rows of bins with accesses that are free, each from its first access to its last."""
    is_on = (mine[:, ACCESSES] > 0) & is_free
    change = np.diff(np.concatenate([[0], is_on.astype(np.int8), [0]]))
    begin, end = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    total = np.concatenate([np.zeros((1, 2), np.int64), mine[:, ACCESSES : BYTES + 1].cumsum(0)])
    first, last = mine[begin, FIRST].tolist(), (mine[end - 1, LAST] + 1).tolist()
    counts = (total[end] - total[begin]).tolist()
    for one, other, count in zip(first, last, counts, strict=True):
        yield Run(one, other, *count)
