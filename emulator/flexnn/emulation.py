"""A network on a machine of mode flexnn."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...models.network import Network
from .. import host
from ..activations import Activations
from ..checkpoint import State
from ..emulation import Emulation, Keep
from ..host import HostRun
from ..kinds import Memory
from ..layer_result import LayerResult, of_host
from ..shape import weights
from ..steps import HostStep
from .choice import Counted, best_estimate, counted, least
from .descriptor import Descriptor
from .machine import FlexMachine
from .plan import FlexPlan, FlexStep, Search, make_flex_plan
from .run import ORDER, of_flex, operand, run_step
from .tensor_bytes import tensor_bytes

if TYPE_CHECKING:
    from ..recorder import Recorder
    from ..run_trace import RunTrace

CHOSEN = "flexnn/descriptors"


class FlexEmulation(Emulation):
    """A network on a machine of mode flexnn, ready to take frames.

    Parameters
    ----------
    network : Network
    machine : FlexMachine
    schedule : mapping of layer name to Descriptor, optional
        The other layers' descriptors are searched when the first frame reaches them, and kept.
    search : Search, optional
    plan : FlexPlan, optional
        Instead of the one that follows from the others.

    Attributes
    ----------
    descriptors : dict
        Of the layers so far.
    options : dict
        By layer, the candidates that were counted; of layers that were searched in this process.

    Raises
    ------
    MachineError
        When a descriptor breaks a rule, or the energy table is unknown.
    """

    plan: FlexPlan

    def __init__(
        self,
        network: Network,
        machine: FlexMachine,
        schedule: Mapping[str, Descriptor] | None = None,
        search: Search | None = None,
        plan: FlexPlan | None = None,
    ) -> None:
        super().__init__(plan or make_flex_plan(network, machine, schedule, search))
        steps = [step for step in self.plan.steps if isinstance(step, FlexStep)]
        self.descriptors = {step.name: step.given for step in steps if step.given is not None}
        self.options: dict[str, list[Counted]] = {}

    def run_trace(self, values: bool) -> "RunTrace":
        """Return what the run adds to a trace; values are not recorded in this mode."""
        from .trace import FlexTrace

        return FlexTrace(self.plan)

    def _saved(self) -> State:
        trees = {
            name: found.model_dump(mode="json", by_alias=True)
            for name, found in self.descriptors.items()
        }
        return {CHOSEN: np.array(json.dumps(trees))}

    def _restore(self, state: State) -> None:
        trees = json.loads(str(state[CHOSEN]))
        self.descriptors = {name: Descriptor.parse(tree, name) for name, tree in trees.items()}

    def _descriptor(
        self, step: FlexStep, inputs: Activations, tick: Callable[[], None]
    ) -> Descriptor:
        """Return a layer's descriptor; search it where it has none yet."""
        if step.name not in self.descriptors:
            plan = self.plan
            given = step.dims, plan.machine, operand(inputs), weights(step.layer), plan.search
            if not plan.search.kept(plan.machine):
                self.descriptors[step.name] = best_estimate(*given)
            else:
                found = self.options[step.name] = counted(*given, tick)
                best = least(found, plan.search.objective)
                self.descriptors[step.name] = best.candidate.descriptor
        return self.descriptors[step.name]

    def _run_weighted(
        self,
        step: FlexStep,
        tick: Callable[[], None],
        recorder: "Recorder | None",
        keep: Keep,
        before_pool: dict[str, NDArray[np.int16]],
    ) -> None:
        """Run a layer on the array."""
        at, plan = self._position, self.plan
        inputs = at.tensors[step.layer.inputs[0]]
        run = run_step(
            step, self._descriptor(step, inputs, tick), plan.machine, inputs,
            plan.network.tensors[step.output], plan.regions[step.output], at.cycle,
            recorder is not None, tick,
        )  # fmt: skip
        at.cycle = run.cycle1
        at.tensors[step.output] = run.output
        at.results.append(of_flex(run))
        keep(run)
        if recorder:
            recorder.add(at.frame, run, at.results[-1])

    def _host_run(self, step: HostStep, inputs: tuple[Activations, ...]) -> HostRun:
        """Run a layer on the host unit, which reads and writes DRAM at its width."""
        output = host.compute(self.plan, step, inputs, ORDER)
        words = 0 if step.is_free else sum(self._words(part) for part in (*inputs, output))
        cycle = self._position.cycle
        return HostRun(step, cycle, cycle + words, inputs, output)

    def _words(self, part: Activations) -> int:
        machine = self.plan.machine
        return -(-tensor_bytes(part, machine) // machine.dram.bytes_per_cycle)

    def _host_result(self, run: HostRun) -> LayerResult:
        parts = (run.inputs, (run.output,))
        words = [sum(self._words(part) for part in side) for side in parts]
        size = [sum(tensor_bytes(part, self.plan.machine) for part in side) for side in parts]
        return of_host(
            run, self.plan.machine, Memory.DRAM, (words[0], words[1]), (size[0], size[1])
        )
