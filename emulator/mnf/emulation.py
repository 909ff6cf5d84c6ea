"""A network on a machine of mode mnf."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...models.network import Network
from .. import host
from ..activations import EVENT_BYTES, Activations, merged
from ..checkpoint import State
from ..emulation import Emulation, Keep
from ..host import HostRun
from ..interconnect import interconnect
from ..layer_result import LayerResult, of_host
from ..steps import HostStep
from .machine import Machine
from .plan import Plan, make_plan
from .result import of_layer, of_wave
from .run import Layer, add_codes
from .steps import MnfStep

if TYPE_CHECKING:
    from ..recorder import Recorder
    from ..run_trace import RunTrace

NOC = "noc/"


class MnfEmulation(Emulation):
    """A network on a machine of mode mnf, ready to take frames.

    Parameters
    ----------
    network : Network
    machine : Machine
    plan : Plan, optional
        Of the network on the machine; made by default.

    Raises
    ------
    MappingError
        When the network does not fit.
    MachineError
        When the energy table is unknown.
    """

    plan: Plan

    def __init__(self, network: Network, machine: Machine, plan: Plan | None = None) -> None:
        super().__init__(make_plan(network, machine) if plan is None else plan)
        self._noc = interconnect(machine)
        self._fresh = self._noc.saved() if machine.noc.starts_afresh else None

    def run_trace(self, values: bool) -> "RunTrace":
        """Return what the run adds to a trace; with ``values`` those of weights and events too."""
        from .trace import MnfTrace

        return MnfTrace(self.plan, values)

    def _saved(self) -> State:
        return {f"{NOC}{name}": part for name, part in self._noc.saved().items()}

    def _restore(self, state: State) -> None:
        self._noc.restore(
            {key.removeprefix(NOC): part for key, part in state.items() if key.startswith(NOC)}
        )

    def _run_weighted(
        self,
        step: MnfStep,
        tick: Callable[[], None],
        recorder: "Recorder | None",
        keep: Keep,
        before_pool: dict[str, NDArray[np.int16]],
    ) -> None:
        """Run a layer on the PEs, wave by wave."""
        at = self._position
        source = at.tensors[step.layer.inputs[0]]
        if self._fresh is not None:
            self._noc.restore(self._fresh)
        layer = Layer(self.plan, step, self._noc, source, at.cycle, at.taken)
        codes = np.zeros((step.shape.filters, *step.shape.window.ofmap), np.int16)
        results, outputs = [], []
        for run in layer.waves(tick):
            results.append(of_wave(run))
            outputs.append(run.output)
            add_codes(codes, run)
            keep(run)
            if recorder:
                recorder.add(at.frame, run, results[-1])
            del run
        at.taken, at.cycle = layer.taken, layer.cycle
        at.tensors[step.output] = merged(outputs)
        at.results.append(of_layer(results, layer.halo, layer.repeated))
        if step.pool is not None:
            before_pool[step.layer.output] = codes

    def _host_run(self, step: HostStep, inputs: tuple[Activations, ...]) -> HostRun:
        """Run a layer on the host unit, which reads and writes events, one a cycle."""
        output = host.compute(self.plan, step, inputs, self.plan.machine.storage.event_order)
        events = 0 if step.is_free else sum(len(part.flat) for part in (*inputs, output))
        cycle = self._position.cycle
        return HostRun(step, cycle, cycle + events, inputs, output)

    def _host_result(self, run: HostRun) -> LayerResult:
        machine, (reads, writes) = self.plan.machine, run.accesses
        size = EVENT_BYTES * reads, EVENT_BYTES * writes
        return of_host(run, machine, machine.tensor_memory, run.accesses, size)
