"""A network on a machine that takes frames, one after another, layer by layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..models.network import Quantize
from ..traces.errors import TraceError
from . import energy, host
from .activations import Activations, as_input
from .checkpoint import Position, State, position
from .engine_error import EngineError
from .host import HostRun
from .layer_result import LayerResult
from .steps import AnyPlan, AnyStep, HostStep

if TYPE_CHECKING:
    from .hybrid.decision import Decision
    from .recorder import Recorder
    from .run_trace import RunTrace

Keep = Callable[[Any], None]

Progress = Callable[[int, str], None]
"""``progress(frame, layer)`` is called before each layer and now and then during it."""


@dataclass(frozen=True)
class Frame:
    """One frame of a run.

    Parameters
    ----------
    number : int
    runs : tuple of WaveRun, FlexRun or HostRun
        What the steps that this process ran left behind, if it was to be kept.
    results : tuple of LayerResult
        The frame's layers; those that take no cycles are left out.
    tensors : dict
        Activations of each stored tensor; of a frame that was resumed those that were left.
    before_pool : dict
        Codes int16[k, oh, ow] of each tensor that the fire phase pooled; likewise.
    outputs : dict
        The network's outputs, by name.
    """

    number: int
    runs: tuple[Any, ...]
    results: tuple[LayerResult, ...]
    tensors: dict[str, Activations]
    before_pool: dict[str, NDArray[np.int16]]
    outputs: dict[str, NDArray[Any]]

    @property
    def output(self) -> NDArray[Any]:
        """The network's first output."""
        return next(iter(self.outputs.values()))


class Sums(Protocol):
    """What a caller adds frames to; a recorder keeps it for a run that is resumed."""

    def state(self) -> State:
        """Return it as arrays."""

    def resume(self, state: State) -> None:
        """Go back to what `state` gave."""


class Emulation(ABC):
    """A network on a machine, ready to take frames; of one mode or the other.

    Parameters
    ----------
    plan : Plan, FlexPlan or HybridPlan

    Attributes
    ----------
    decision : Decision or None
        What modes of layers were chosen by, on a hybrid machine.

    Raises
    ------
    MachineError
        When the energy table is unknown.
    """

    def __init__(self, plan: AnyPlan) -> None:
        energy.table(plan.machine.energy)
        self.plan = plan
        self.decision: Decision | None = None
        self._position = Position(0, 0, 0, np.zeros(plan.machine.n_pes, np.int64))
        self._is_ended = False

    @property
    def identity(self) -> str:
        """What tells the run's plan apart, beside network, machine and mode; empty if nothing."""
        return ""

    @property
    def cycle(self) -> int:
        """The next cycle."""
        return self._position.cycle

    @abstractmethod
    def _run_weighted(
        self,
        step: Any,
        tick: Callable[[], None],
        recorder: "Recorder | None",
        keep: Keep,
        before_pool: dict[str, NDArray[np.int16]],
    ) -> None:
        """Run a weighted layer; go on with position, tensors and results."""

    @abstractmethod
    def _host_run(self, step: HostStep, inputs: tuple[Activations, ...]) -> HostRun:
        """Run a layer on the host unit."""

    @abstractmethod
    def _host_result(self, run: HostRun) -> LayerResult:
        """Return what a layer on the host unit came to."""

    @abstractmethod
    def run_trace(self, values: bool) -> "RunTrace":
        """Return what the run adds to a trace; with ``values`` those of weights and events too."""

    @abstractmethod
    def _saved(self) -> State:
        """Return what more a run needs to go on from here."""

    @abstractmethod
    def _restore(self, state: State) -> None:
        """Go to where `_saved` was."""

    def frames(
        self,
        inputs: NDArray[Any],
        progress: Progress | None = None,
        recorder: "Recorder | None" = None,
        tally: "Sums | None" = None,
        keep_runs: bool = True,
    ) -> Iterator[Frame]:
        """Run frames one after another; yield each when it is done.

        Parameters
        ----------
        inputs : array [n, ...]
            Of the network's input's shape and type; see `firemesh.models.frames`.
        progress : callable, optional
        recorder : Recorder, optional
            Records the frames. One that resumes a run sets emulation and tally to where that run
            was; its frames are numbered from that of the first input.
        tally : Sums, optional
            The one that the caller adds frames to; a recorder keeps it.
        keep_runs : bool
            Whether frames hold what every step left behind, which takes much memory.
        """
        first = 0
        if recorder and recorder.state:
            first = self._resume(recorder.state, tally)
        for number in range(first, len(inputs)):
            if self._is_ended:
                raise EngineError(
                    "a frame was ended before its last layer, which leaves packets in the network; "
                    "make a new Emulation"
                )
            self._is_ended = True
            position = self._position
            if position.step == 0:
                position.frame, position.results = number, []
                position.tensors, position.real = self.enter(inputs[number])
            if recorder and recorder.is_due:
                recorder.commit(self._state(tally))
            frame = self._frame(progress or (lambda frame, layer: None), recorder, tally, keep_runs)
            self._is_ended = False
            yield frame
        if recorder:
            recorder.finish(self._state(tally))

    def enter(
        self, values: NDArray[Any]
    ) -> tuple[dict[str, Activations], dict[str, NDArray[np.float32]]]:
        """Return the network's input as stored tensor or as real numbers."""
        source = self.plan.network.tensors[self.plan.network.inputs[0]]
        if not source.is_code:
            return {}, {source.name: values}
        return {source.name: as_input(source, values, self.plan.regions[source.name])}, {}

    def _state(self, tally: "Sums | None") -> State:
        """Return what a run needs to go on from here."""
        state = self._position.save() | (tally.state() if tally else {})
        return state | self._saved()

    def _resume(self, state: State, tally: "Sums | None") -> int:
        """Go to where a run was; return the frame to go on with."""
        try:
            self._position = position(state, self.plan.network)
            self._restore(state)
            if tally:
                tally.resume(state)
        except (KeyError, ValueError, TypeError) as error:
            raise TraceError(
                f"the unfinished trace's state is damaged ({error}); begin anew with --force"
            ) from None
        return self._position.frame

    def _frame(
        self, progress: Progress, recorder: "Recorder | None", tally: "Sums | None", keeps: bool
    ) -> Frame:
        at, network, steps = self._position, self.plan.network, self.plan.steps
        runs: list[Any] = []
        before_pool: dict[str, NDArray[np.int16]] = {}
        tensors = dict(at.tensors)
        while at.step < len(steps):
            step = steps[at.step]
            tick = partial(progress, at.frame, step.name)
            tick()
            keep = runs.append if keeps else lambda run: None
            self.run_step(step, tick, recorder, keep, before_pool)
            at.step += 1
            tensors |= at.tensors
            self._forget()
            if recorder and recorder.is_due and at.step < len(steps):
                recorder.commit(self._state(tally))
        outputs = {
            name: at.real[name] if name in at.real else tensors[name].dense()
            for name in network.outputs
        }
        at.step = 0
        at.frame += 1
        results = tuple(at.results)
        return Frame(at.frame - 1, tuple(runs), results, tensors, before_pool, outputs)

    def stand_at(self, position: Position) -> None:
        """Go on from a position; steps that are run change it."""
        self._position = position

    def run_step(
        self,
        step: AnyStep,
        tick: Callable[[], None],
        recorder: "Recorder | None",
        keep: Keep,
        before_pool: dict[str, NDArray[np.int16]],
    ) -> None:
        """Run a step; go on with position, tensors and results.

        Parameters
        ----------
        step : AnyStep
            Of the plan.
        tick : callable
            Called now and then; may raise to end the run.
        recorder : Recorder or None
        keep : callable
            Takes what the step left behind.
        before_pool : dict
            Takes codes of tensors that are pooled as they are fired; see `Frame`.
        """
        if isinstance(step, HostStep):
            self._run_host(step, recorder, keep)
        else:
            self._run_weighted(step, tick, recorder, keep, before_pool)

    def _run_host(self, step: HostStep, recorder: "Recorder | None", keep: Keep) -> None:
        """Run a layer on the host unit, or convert at the network's edge."""
        at = self._position
        inputs = tuple(at.tensors[name] for name in step.layer.inputs if name in at.tensors)
        if isinstance(step.layer, Quantize):
            values = at.real[step.layer.inputs[0]]
            at.tensors[step.output] = host.enter(self.plan, step, values)
        elif step.is_real:
            at.real[step.output] = host.leave(self.plan, step, inputs[0].dense())
        else:
            run = self._host_run(step, inputs)
            at.cycle = run.cycle1
            at.tensors[step.output] = run.output
            keep(run)
            if not step.is_free:
                at.results.append(self._host_result(run))
                if recorder:
                    recorder.add(at.frame, run, at.results[-1])

    def _forget(self) -> None:
        """Drop the tensors that no step to come reads."""
        at, network = self._position, self.plan.network
        needed = {name for step in self.plan.steps[at.step :] for name in step.inputs}
        needed.update(network.outputs)
        at.tensors = {name: part for name, part in at.tensors.items() if name in needed}
        at.real = {name: part for name, part in at.real.items() if name in needed}
