"""Records a run: machine, layers and segments of an emulation, into a trace."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..noc.mesh import LOCAL
from ..traces.errors import TraceError
from ..traces.lists import Lists, Rule
from ..traces.schema import dtype_of
from ..traces.writer import TraceWriter
from . import energy
from .event_lists import EventLists
from .fire_lists import FireLists
from .host import HostRun
from .mnf import LayerRun
from .patterns import READ, WRITE, Item
from .pe import MESSAGE_BYTES
from .plan import Plan
from .result import LayerResult
from .state import Memory
from .streams import NOC_EJECT, NOC_INJECT, Sources, Stream, steps
from .trace_tables import TraceTables

State = dict[str, NDArray[Any]]
MOST_CYCLES = 2**31 - 1
SEGMENTS, COUNTERS = dtype_of("segments"), dtype_of("counters")
SLOTS, FLITS = dtype_of("slots"), dtype_of("flits")


class Recorder:
    """Writes the trace of an emulation.

    Parameters
    ----------
    plan : Plan
    path : Path
    about : dict
        Attributes of the trace that tell the run: ``input_digest``, ``mode``, ``command``,
        ``frames``.
    values : bool
        Whether to record values of events, weights included.
    force, resume : bool
        See `firemesh.traces.writer.TraceWriter`.

    Attributes
    ----------
    state : dict
        What the last commit of the run that is resumed kept; empty for a new run.
    """

    def __init__(
        self,
        plan: Plan,
        path: Path,
        about: dict[str, Any],
        values: bool = False,
        force: bool = False,
        resume: bool = False,
    ) -> None:
        self._plan, self._values = plan, values
        machine, prices = plan.machine, energy.table(plan.machine.energy)
        attributes = {
            "program_version": __version__,
            "machine": machine.to_yaml(),
            "network": plan.network.name,
            "network_digest": plan.network.digest,
            "seed": 0,
            "clock_hz": machine.clock_hz,
            "multipliers": machine.pe.multipliers,
            "flit_bits": machine.noc.flit_bits,
            "mac_pj": prices.mac_pj,
            "flit_pj": machine.noc.flit_bits * prices.hop_bit_pj,
            "idle_cycle_pj": prices.idle_fraction * energy.active_cycle_pj(machine, prices),
            "values": values,
            **about,
        }
        self._writer = TraceWriter(path, attributes, force, resume)
        self.state: State = self._writer.state
        try:
            self._tables = TraceTables(plan)
            if not self._writer.is_resumed:
                for name, rows in self._tables.tables(values).items():
                    self._writer.append(name, rows)
                self._writer.commit({})
        except BaseException:
            self._writer.abandon()
            raise

    # ---- segments

    def add(self, frame: int, run: LayerRun | HostRun, result: LayerResult) -> None:
        """Add a layer of a frame, with its counters."""
        if run.cycle1 == run.cycle0:
            return
        if run.cycle1 - run.cycle0 > MOST_CYCLES:
            raise TraceError(
                f"layer {run.step.name}: takes {run.cycle1 - run.cycle0} cycles, a trace holds up "
                f"to {MOST_CYCLES} of a layer; run without --trace"
            )
        writer = self._writer
        segment = writer.rows("segments")
        lists = writer.lists(segment)
        if isinstance(run, LayerRun):
            self._mnf(run, lists)
        else:
            self._host(run, lists)
        writer.take(lists)
        row = np.zeros(1, SEGMENTS)
        row["frame"], row["layer"] = frame, self._tables.number[run.step.name]
        row["cycle0"], row["cycle1"] = run.cycle0, run.cycle1
        writer.append("segments", row)
        self._counters(segment, run, result)

    def _mnf(self, run: LayerRun, lists: Lists) -> None:
        tables, machine, name = self._tables, self._plan.machine, run.step.name
        sources = Sources(run.packets, machine.mesh.n_nodes, tables.patterns)
        EventLists(
            run, tables.events[name], tables.patterns, tables.periods, sources, machine, lists
        ).make(self._values)
        FireLists(run, tables.fires[name], tables.patterns, sources, machine, lists).make(
            self._values
        )

    def _host(self, run: HostRun, lists: Lists) -> None:
        read = np.concatenate([part.address for part in run.inputs])
        write = run.output.address
        for stream, op, address, begin in (
            (Stream.HOST_READ, READ, read, 0),
            (Stream.HOST_WRITE, WRITE, write, len(read)),
        ):
            pattern = self._tables.patterns.single(Item(Memory.STORAGE, op, MESSAGE_BYTES))
            lists.add(
                stream, [0], len(address), Rule(least=1), {"base": address, "pattern": pattern},
                steps(begin + np.arange(len(address)))[None],
            )  # fmt: skip

    def _counters(self, segment: int, run: LayerRun | HostRun, result: LayerResult) -> None:
        unit, memory, op = np.nonzero(result.counts)
        parts = [
            (unit, memory, op, result.counts[unit, memory, op], result.bytes[unit, memory, op])
        ]
        if isinstance(run, LayerRun):
            nodes = np.arange(len(result.link_flits))
            packets = run.packets
            sent = np.bincount(packets.source, minlength=len(nodes))
            flits = np.bincount(packets.source, packets.flits, len(nodes)).astype(np.int64)
            doors = (
                (NOC_INJECT, WRITE, sent, flits),
                (NOC_EJECT, READ, run.columns.received, result.link_flits[:, LOCAL]),
            )
            for door, way, count, size in doors:
                which = np.flatnonzero(count)
                same = np.full_like(which, door), np.full_like(which, way)
                parts.append((which, *same, count[which], size[which]))
        rows = np.empty(sum(len(part[0]) for part in parts), COUNTERS)
        rows["segment"] = segment
        names = ("unit", "memory", "op", "count", "bytes")
        for name, values in zip(names, zip(*parts, strict=True), strict=True):
            rows[name] = np.concatenate(values)
        self._writer.append("counters", rows)
        pe, cause = np.nonzero(result.slots)
        slots = np.empty(len(pe), SLOTS)
        slots["segment"], slots["unit"], slots["cause"] = segment, pe + 1, cause
        slots["count"] = result.slots[pe, cause]
        self._writer.append("slots", slots)
        flits = result.link_flits[self._tables.links[:, 0], self._tables.links[:, 1]]
        link = np.flatnonzero(flits)
        rows = np.empty(len(link), FLITS)
        rows["segment"], rows["link"], rows["count"] = segment, link, flits[link]
        self._writer.append("flits", rows)

    # ---- commits

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        return self._writer.is_due

    def commit(self, state: State) -> None:
        """Bring what was added to the disk, with what is needed to go on from here."""
        self._writer.commit(state)

    def finish(self, state: State) -> None:
        """Make the trace file."""
        self._writer.finish(state)

    def abandon(self) -> None:
        """Stop without a trace file; what was committed stays."""
        self._writer.abandon()
