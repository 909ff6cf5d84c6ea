"""A network on a hybrid machine, each layer in its mode."""

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..activations import Activations, stored
from ..checkpoint import State
from ..emulation import Emulation, Keep
from ..flexnn.emulation import FlexEmulation
from ..host import HostRun
from ..layer_result import LayerResult
from ..mnf.emulation import MnfEmulation
from ..steps import AnyStep, HostStep
from .convert import ConvertStep, convert, of_conversion
from .forms import EVENTS
from .idle import check_energy
from .plan import HybridPlan

if TYPE_CHECKING:
    from ..recorder import Recorder
    from ..run_trace import RunTrace
    from .decision import Decision


class HybridEmulation(Emulation):
    """A network on a hybrid machine, ready to take frames.

    Each mode's own emulation runs that mode's steps, at the position of this one.

    Parameters
    ----------
    plan : HybridPlan
    decision : Decision, optional
        What the modes were chosen by.

    Raises
    ------
    MachineError
        When the energy table is unknown or prices idle PEs.
    """

    plan: HybridPlan

    def __init__(self, plan: HybridPlan, decision: "Decision | None" = None) -> None:
        super().__init__(plan)
        check_energy(plan.machine)
        self.decision = decision
        machine = plan.machine
        flexnn = FlexEmulation(plan.network, machine.of_flexnn, plan=plan.flexnn)
        mnf = MnfEmulation(plan.network, machine.of_mnf, plan.mnf)
        self._by_mode: dict[str, Emulation] = {"mnf": mnf, "flexnn": flexnn}

    @property
    def identity(self) -> str:
        """The first digits of a digest of the layers' modes."""
        modes = json.dumps(dict(self.plan.modes), sort_keys=True)
        return hashlib.sha256(modes.encode()).hexdigest()[:8]

    def run_trace(self, values: bool) -> "RunTrace":
        """Return what the run adds to a trace; with ``values`` those of mode mnf's layers too."""
        from .trace import HybridTrace

        return HybridTrace(self.plan, values)

    def _saved(self) -> State:
        state: State = {}
        for emulation in self._by_mode.values():
            state |= emulation._saved()
        return state

    def _restore(self, state: State) -> None:
        for emulation in self._by_mode.values():
            emulation._restore(state)

    def _side(self, step: AnyStep) -> Emulation:
        """Return the emulation of a step's mode, where this one is; any where it has none."""
        side = self._by_mode[self.plan.modes.get(step.name, "flexnn")]
        side.stand_at(self._position)
        return side

    def _run_weighted(
        self,
        step: Any,
        tick: Callable[[], None],
        recorder: "Recorder | None",
        keep: Keep,
        before_pool: dict[str, NDArray[np.int16]],
    ) -> None:
        """Run a layer in its mode, or a conversion."""
        if not isinstance(step, ConvertStep):
            self._side(step)._run_weighted(step, tick, recorder, keep, before_pool)
            return
        at = self._position
        part = at.tensors[step.tensor]
        if step.to == EVENTS:
            region = self.plan.regions[step.tensor]
            part = stored(part.tensor, part.dense(), "raster", region)
        run = convert(step, part, self.plan.machine, at.cycle)
        for name, known in at.tensors.items():
            if self.plan.roots[name] == step.tensor:
                at.tensors[name] = part.renamed(known.tensor)
        at.cycle = run.cycle1
        at.results.append(of_conversion(run, self.plan.machine))
        keep(run)
        if recorder:
            recorder.add(at.frame, run, at.results[-1])

    def _host_run(self, step: HostStep, inputs: tuple[Activations, ...]) -> HostRun:
        return self._side(step)._host_run(step, inputs)

    def _host_result(self, run: HostRun) -> LayerResult:
        return self._side(run.step)._host_result(run)
