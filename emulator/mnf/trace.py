"""The trace of a run of mode mnf: what waves and the host unit add to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noc.topology import LOCAL
from ...traces.lists import Lists, Rule
from ..host import HostRun
from ..layer_result import LayerResult
from ..patterns import READ, WRITE, Item
from ..run_trace import Records
from ..streams import NOC_EJECT, NOC_INJECT, Stream, steps
from .event_lists import EventLists
from .fire_lists import FireLists
from .load_lists import LoadLists
from .pe import MESSAGE_BYTES
from .plan import Plan
from .run import WaveRun
from .sources import Sources
from .trace_tables import TraceTables


class MnfTrace(TraceTables):
    """What a run of mode mnf adds to its trace; see `firemesh.emulator.run_trace.RunTrace`."""

    def __init__(self, plan: Plan, values: bool, number: Mapping[str, int] | None = None) -> None:
        super().__init__(plan, number)
        self._values = values

    def add(self, run: WaveRun | HostRun, lists: Lists, records: Records) -> None:
        """Add what a wave, or a layer on the host unit, left behind."""
        if isinstance(run, WaveRun):
            self._mnf(run, lists)
        else:
            self._host(run, lists)

    def wave_of(self, run: WaveRun | HostRun) -> int:
        """Return the number of the wave."""
        return run.wave.number if isinstance(run, WaveRun) else 0

    def _mnf(self, run: WaveRun, lists: Lists) -> None:
        machine = self._plan.machine
        at = run.step.name, run.wave.number
        n_weights = len(run.load.arrived) if run.load else 0
        sources = Sources(run.packets, machine.mesh.n_nodes, self.patterns, n_weights)
        if run.load:
            width = machine.pe.multipliers
            LoadLists(run.load, run.cycle0, width, self.patterns, lists).make()
        EventLists(run, self.events[at], self.patterns, self.periods, sources, machine, lists).make(
            self._values
        )
        FireLists(run, self.fires[at], self.patterns, sources, machine, lists).make(self._values)

    def _host(self, run: HostRun, lists: Lists) -> None:
        read = np.concatenate([part.address for part in run.inputs])
        write = run.output.address
        for stream, op, address, begin in (
            (Stream.HOST_READ, READ, read, 0),
            (Stream.HOST_WRITE, WRITE, write, len(read)),
        ):
            pattern = self.patterns.single(
                Item(self._plan.machine.tensor_memory, op, MESSAGE_BYTES)
            )
            lists.add(
                stream, [0], len(address), Rule(least=1), {"base": address, "pattern": pattern},
                steps(begin + np.arange(len(address)))[None],
            )  # fmt: skip

    def doors(self, run: WaveRun | HostRun, result: LayerResult, counted: NDArray[Any]) -> None:
        """Count what goes through the network's doors into int64[2, units, memories, 2]."""
        if not isinstance(run, WaveRun):
            return
        n_nodes, n_units = len(result.link_flits), len(result.counts)
        source, flits = run.packets.source, run.packets.flits
        counted[0, :, NOC_INJECT, WRITE] = np.bincount(source, minlength=n_nodes)
        counted[1, :, NOC_INJECT, WRITE] = np.bincount(source, flits, n_nodes)
        counted[0, :n_units, NOC_EJECT, READ] = run.columns.received
        if run.load:
            weights = run.load.packets
            counted[0, 0, NOC_INJECT, WRITE] += len(weights.source)
            counted[1, 0, NOC_INJECT, WRITE] += int(weights.flits.sum())
            pe = run.load.pe[weights.item]
            counted[0, 1:n_units, NOC_EJECT, READ] += np.bincount(pe, minlength=n_units - 1)
        counted[1, :, NOC_EJECT, READ] = result.link_flits[:, LOCAL]
