"""Records a run: machine, layers and segments of an emulation, into a trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..traces.errors import TraceError
from ..traces.schema import dtype_of
from ..traces.writer import TraceWriter
from . import energy
from .kinds import Memory
from .layer_result import LayerResult
from .run_trace import RunTrace
from .steps import AnyPlan
from .trace_tables import mesh_links

State = dict[str, NDArray[Any]]
MOST_CYCLES = 2**31 - 1
SEGMENTS, COUNTERS = dtype_of("segments"), dtype_of("counters")
SLOTS, FLITS, STALLS = dtype_of("slots"), dtype_of("flits"), dtype_of("vc_stalls")


def _rows(dtype: np.dtype[Any], *columns: NDArray[Any]) -> NDArray[Any]:
    """Return a table of columns."""
    rows = np.empty(len(columns[0]), dtype)
    for name, values in zip(dtype.names or (), columns, strict=True):
        rows[name] = values
    return rows


class Recorder:
    """Writes the trace of an emulation.

    Parameters
    ----------
    plan : Plan, FlexPlan or HybridPlan
    run_trace : callable
        ``run_trace(values)``: what the plan's mode adds to a trace.
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
        plan: AnyPlan,
        run_trace: Callable[[bool], RunTrace],
        path: Path,
        about: dict[str, Any],
        values: bool = False,
        force: bool = False,
        resume: bool = False,
    ) -> None:
        machine, prices = plan.machine, energy.table(plan.machine.energy)
        attributes = {
            "program_version": __version__,
            "machine": machine.to_yaml(),
            "network": plan.network.name,
            "network_digest": plan.network.digest,
            "seed": 0,
            "clock_hz": machine.clock_hz,
            "multipliers": machine.pe_multipliers,
            "flit_bits": machine.flit_bits,
            "mac_pj": prices.mac_pj,
            "flit_pj": machine.flit_bits * prices.hop_bit_pj,
            "idle_cycle_pj": prices.idle_fraction * energy.active_cycle_pj(machine, prices),
            "values": values,
            **about,
        }
        self._writer = TraceWriter(path, attributes, force, resume)
        self.state: State = self._writer.state
        self._forget_counters()
        try:
            self._trace, self._links = run_trace(values), mesh_links(machine)
            if not self._writer.is_resumed:
                for name, rows in self._trace.tables(values).items():
                    self._writer.append(name, rows)
                self._writer.commit({})
        except BaseException:
            self._writer.abandon()
            raise

    # ---- segments

    def add(self, frame: int, run: Any, result: LayerResult) -> None:
        """Add a wave of a layer, or a layer on the host unit, with its counters."""
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
        self._trace.add(run, lists, writer)
        row = np.zeros(1, SEGMENTS)
        row["frame"], row["layer"] = frame, self._trace.number[run.step.name]
        row["wave"] = self._trace.wave_of(run)
        row["cycle0"], row["cycle1"] = run.cycle0, run.cycle1
        writer.append("segments", row)
        self._counters(run, result)

    def _counters(self, run: Any, result: LayerResult) -> None:
        """Keep a segment's counters for the next commit: those of memories, then of the doors."""
        n_nodes, n_units = len(result.link_flits), len(result.counts)
        counted = np.zeros((2, n_nodes, len(Memory) + 2, 2), np.int64)
        counted[0, :n_units, : len(Memory)] = result.counts
        counted[1, :n_units, : len(Memory)] = result.bytes
        self._trace.doors(run, result, counted)
        self._counted.append(counted)
        self._slots.append(result.slots)
        self._stalls.append(result.stalls)
        self._flits.append(result.link_flits[self._links[:, 0], self._links[:, 1]])

    def _append_counters(self) -> None:
        """Append the counters of the segments since the last commit."""
        if not self._counted:
            return
        writer = self._writer
        first = writer.rows("segments") - len(self._counted)
        counted = np.array(self._counted)
        segment, unit, memory, op = np.nonzero(counted[:, 0])
        both = counted[segment, :, unit, memory, op].T
        writer.append("counters", _rows(COUNTERS, first + segment, unit, memory, op, *both))
        slots, flits = np.array(self._slots), np.array(self._flits)
        segment, pe, cause = np.nonzero(slots)
        count = slots[segment, pe, cause]
        writer.append("slots", _rows(SLOTS, first + segment, pe + 1, cause, count))
        segment, link = np.nonzero(flits)
        writer.append("flits", _rows(FLITS, first + segment, link, flits[segment, link]))
        stalls = np.array(self._stalls)
        segment, unit, wait = np.nonzero(stalls)
        count = stalls[segment, unit, wait]
        writer.append("vc_stalls", _rows(STALLS, first + segment, unit, wait, count))
        self._forget_counters()

    def _forget_counters(self) -> None:
        self._counted: list[NDArray[np.int64]] = []
        self._slots: list[NDArray[np.int64]] = []
        self._flits: list[NDArray[np.int64]] = []
        self._stalls: list[NDArray[np.int64]] = []

    # ---- commits

    @property
    def is_due(self) -> bool:
        """Whether it is time for a commit."""
        return self._writer.is_due

    def commit(self, state: State) -> None:
        """Bring what was added to the disk, with what is needed to go on from here."""
        self._append_counters()
        self._writer.commit(state)

    def finish(self, state: State) -> None:
        """Make the trace file."""
        self._append_counters()
        self._writer.finish(state)

    def abandon(self) -> None:
        """Stop without a trace file; what was committed stays."""
        self._writer.abandon()
