"""Runs a network on a machine, frame by frame, layer by layer."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..models.frames import check_inputs
from ..models.network import Dequantize, ModelError, Network, Quantize
from ..models.zoo import images as zoo_images
from ..models.zoo import load
from ..noc.network import Network as Interconnect
from ..traces.errors import TraceError
from . import energy, host, mnf
from .activations import Activations, as_input
from .checkpoint import Position, State, load_results, position, save_results
from .host import HostRun
from .inputs import entry
from .machine import Machine, MachineError
from .machine import machine as find_machine
from .mnf import LayerRun
from .plan import MnfStep, Plan, Step, make_plan
from .result import LayerResult, LayerTable, Result, of_host, of_mnf

if TYPE_CHECKING:
    from .recorder import Recorder

MODES = {"mnf": "multiply-and-fire: events in, threshold, events out"}

Progress = Callable[[int, str], None]
"""``progress(frame, layer)`` is called before each layer and now and then during it."""


@dataclass(frozen=True)
class Frame:
    """One frame of a run.

    Parameters
    ----------
    number : int
    runs : tuple of LayerRun or HostRun
        Of the steps that this process ran.
    results : tuple of LayerResult
        The frame's layers; those that take no cycles are left out.
    tensors : dict
        Activations of each stored tensor; of a frame that was resumed those that were left.
    output : array
        The network's output.
    """

    number: int
    runs: tuple[LayerRun | HostRun, ...]
    results: tuple[LayerResult, ...]
    tensors: dict[str, Activations]
    output: NDArray[Any]


def _result(run: LayerRun | HostRun, machine: Machine) -> LayerResult | None:
    """Return a step's result; None when it took no cycles."""
    if isinstance(run, LayerRun):
        return of_mnf(run)
    return None if run.step.is_free else of_host(run, machine)


class Emulation:
    """A network on a machine, ready to take frames.

    Parameters
    ----------
    network : Network
    machine : Machine

    Raises
    ------
    MappingError
        When the network does not fit.
    MachineError
        When the energy table is unknown.
    """

    def __init__(self, network: Network, machine: Machine) -> None:
        energy.table(machine.energy)
        if len(network.outputs) != 1:
            raise ModelError(
                f"network {network.name}: has {len(network.outputs)} outputs "
                f"({', '.join(network.outputs)}); firemesh runs networks with one"
            )
        self.plan: Plan = make_plan(network, machine)
        self._position = Position(0, 0, 0, np.zeros(machine.n_pes, np.int64))
        self._is_ended = False
        noc = machine.noc
        self._noc = Interconnect(
            machine.mesh.width, machine.mesh.height, noc.router, noc.routing, noc.buffer_flits
        )

    @property
    def cycle(self) -> int:
        """The next cycle."""
        return self._position.cycle

    def frames(
        self,
        inputs: NDArray[Any],
        progress: Progress | None = None,
        recorder: "Recorder | None" = None,
        tally: "Tally | None" = None,
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
        tally : Tally, optional
            The one that the caller adds frames to; a recorder keeps it.
        """
        first = 0
        if recorder and recorder.state:
            first = self._resume(recorder.state, tally)
        for number in range(first, len(inputs)):
            if self._is_ended:
                raise mnf.EngineError(
                    "a frame was ended before its last layer, which leaves packets in the network; "
                    "make a new Emulation"
                )
            self._is_ended = True
            position = self._position
            if position.step == 0:
                position.frame, position.results = number, []
                position.tensors, position.real = self._enter(inputs[number])
            if recorder and recorder.is_due:
                recorder.commit(self._state(tally))
            frame = self._frame(progress or (lambda frame, layer: None), recorder, tally)
            self._is_ended = False
            yield frame
        if recorder:
            recorder.finish(self._state(tally))

    def _enter(
        self, values: NDArray[Any]
    ) -> tuple[dict[str, Activations], dict[str, NDArray[np.float32]]]:
        """Return the network's input as stored tensor or as real numbers."""
        source = self.plan.network.tensors[self.plan.network.inputs[0]]
        if not source.is_code:
            return {}, {source.name: values}
        return {source.name: as_input(source, values, self.plan.regions[source.name])}, {}

    def _state(self, tally: "Tally | None") -> State:
        """Return what a run needs to go on from here."""
        state = self._position.save() | (tally.state() if tally else {})
        return state | {f"noc/{name}": part for name, part in self._noc.saved().items()}

    def _resume(self, state: State, tally: "Tally | None") -> int:
        """Go to where a run was; return the frame to go on with."""
        prefix = "noc/"
        noc = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        try:
            self._position = position(state, self.plan.network)
            self._noc.restore(noc)
            if tally:
                tally.resume(state)
        except (KeyError, ValueError, TypeError) as error:
            raise TraceError(
                f"the unfinished trace's state is damaged ({error}); begin anew with --force"
            ) from None
        return self._position.frame

    def _frame(
        self, progress: Progress, recorder: "Recorder | None", tally: "Tally | None"
    ) -> Frame:
        at, network, steps = self._position, self.plan.network, self.plan.steps
        runs: list[LayerRun | HostRun] = []
        tensors = dict(at.tensors)
        while at.step < len(steps):
            step = steps[at.step]
            tick = partial(progress, at.frame, step.name)
            tick()
            run = self._step(step, tick)
            at.step += 1
            if run is not None:
                at.cycle = run.cycle1
                at.tensors[step.output] = run.output
                runs.append(run)
                self._conclude(run, recorder)
            tensors |= at.tensors
            self._forget()
            if recorder and recorder.is_due and at.step < len(steps):
                recorder.commit(self._state(tally))
        name = network.outputs[0]
        output = at.real[name] if name in at.real else tensors[name].dense()
        at.step = 0
        at.frame += 1
        return Frame(at.frame - 1, tuple(runs), tuple(at.results), tensors, output)

    def _conclude(self, run: LayerRun | HostRun, recorder: "Recorder | None") -> None:
        result = _result(run, self.plan.machine)
        if result is not None:
            self._position.results.append(result)
            if recorder:
                recorder.add(self._position.frame, run, result)

    def _forget(self) -> None:
        """Drop the tensors that no step to come reads."""
        at, network = self._position, self.plan.network
        needed = {name for step in self.plan.steps[at.step :] for name in step.layer.inputs}
        needed.add(network.outputs[0])
        at.tensors = {name: part for name, part in at.tensors.items() if name in needed}
        at.real = {name: part for name, part in at.real.items() if name in needed}

    def _step(self, step: Step, tick: Callable[[], None]) -> LayerRun | HostRun | None:
        """Run a step; None when it is a conversion at the network's edge."""
        at = self._position
        inputs = tuple(at.tensors[name] for name in step.layer.inputs if name in at.tensors)
        if isinstance(step, MnfStep):
            taken = at.taken.copy()
            run = mnf.run_layer(self.plan, step, self._noc, inputs[0], at.cycle, taken, tick)
            at.taken += run.columns.taken
            return run
        if isinstance(step.layer, Quantize):
            values = at.real[step.layer.inputs[0]]
            at.tensors[step.output] = host.enter(self.plan, step, values)
            return None
        if isinstance(step.layer, Dequantize):
            at.real[step.output] = host.leave(self.plan, step, inputs[0].dense())
            return None
        return host.run_layer(self.plan, step, inputs, at.cycle)


class Tally:
    """Adds up frames; what a run keeps of each of them."""

    def __init__(self, emulation: Emulation, mode: str) -> None:
        self._emulation = emulation
        self._mode = mode
        self._layers: dict[str, LayerResult] = {}
        self._outputs: list[NDArray[Any]] = []

    def add(self, frame: Frame) -> None:
        """Add a frame; nothing of it but sums and output is kept."""
        for layer in frame.results:
            known = self._layers.get(layer.name)
            self._layers[layer.name] = layer if known is None else known + layer
        self._outputs.append(frame.output)

    def state(self) -> State:
        """Return the sums and outputs as arrays."""
        outputs = {"outputs": np.array(self._outputs)} if self._outputs else {}
        return save_results("tally", list(self._layers.values())) | outputs

    def resume(self, state: State) -> None:
        """Go on from sums and outputs that `state` gave."""
        self._layers = {layer.name: layer for layer in load_results("tally", state)}
        self._outputs = list(state.get("outputs", ()))

    def result(self) -> Result:
        """Return the result of the frames so far."""
        plan = self._emulation.plan
        name = plan.network.outputs[0]
        tensor = plan.network.tensors[name]
        outputs = np.array(self._outputs, tensor.dtype).reshape(-1, *tensor.shape)
        return Result(
            network=plan.network.name,
            digest=plan.network.digest,
            machine=plan.machine,
            mode=self._mode,
            frames=len(self._outputs),
            outputs=outputs,
            layers=LayerTable(list(self._layers.values()), plan.machine),
            load_cycles=plan.load_cycles,
            storage_bytes=plan.storage_bytes,
        )


def run(
    network: Network | str | Path,
    images: Any = None,
    machine: Machine | str | Path = "mnf-22nm",
    mode: str = "mnf",
    progress: Progress | None = None,
    trace: str | Path | None = None,
    values: bool = False,
    resume: bool = False,
    force: bool = False,
) -> Result:
    """Run a network on a machine.

    Parameters
    ----------
    network : Network, zoo name or path of an ONNX file
    images : array [n, ...], optional
        Frames in the shape of the network's input; for a network of the zoo all its held-back
        images by default.
    machine : Machine, preset name or path of a YAML file
    mode : str
        A name in `MODES`.
    progress : callable, optional
        Called with frame number and layer name before each layer and now and then during it; may
        raise to end the run.
    trace : str or Path, optional
        File to record every access and packet in; `firemesh.open_trace` reads it.
    values : bool
        Whether the trace also holds weights and the values of events.
    resume : bool
        Whether to go on from what an unfinished run left at ``trace``.
    force : bool
        Whether to replace what is at ``trace``.

    Returns
    -------
    Result

    Raises
    ------
    ModelError, MachineError, MappingError
        When network, images or machine cannot be used together; one sentence with the way out.
    TraceError, OSError
        When the trace cannot be written; what was finished is kept for ``resume``.

    Examples
    --------
    >>> import firemesh
    >>> net = firemesh.load("digits")
    >>> result = firemesh.run(net, firemesh.images("digits", 2)[0])
    >>> result.frames
    2
    """
    if mode not in MODES:
        raise MachineError(f"mode: must be one of {', '.join(MODES)}, got {mode!r}")
    net = network if isinstance(network, Network) else load(network)
    if images is None:
        if not entry(net):
            raise ModelError(f"images: network {net.name} brings none; pass an array of frames")
        images = zoo_images(net.name)[0]
    frames = check_inputs(net, images)
    emulation = Emulation(net, find_machine(machine))
    tally = Tally(emulation, mode)
    options = {"values": values, "resume": resume, "force": force}
    with recording(emulation, frames, mode, "firemesh.run", trace, **options) as recorder:
        for frame in emulation.frames(frames, progress, recorder, tally):
            tally.add(frame)
    return tally.result()


@contextmanager
def recording(
    emulation: Emulation,
    frames: NDArray[Any],
    mode: str,
    command: str,
    trace: str | Path | None,
    **options: bool,
) -> "Iterator[Recorder | None]":
    """Give a recorder for `Emulation.frames`, or None without a path.

    Parameters
    ----------
    emulation : Emulation
    frames : array [n, ...]
        The run's input.
    mode, command : str
        For the trace's attributes.
    trace : str, Path or None
    **options
        ``values``, ``resume`` and ``force`` of `firemesh.emulator.recorder.Recorder`.
    """
    if trace is None:
        yield None
        return
    from .recorder import Recorder

    about = {
        "input_digest": hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest(),
        "mode": mode,
        "command": command,
        "frames": len(frames),
    }
    recorder = Recorder(emulation.plan, Path(trace), about, **options)
    try:
        yield recorder
    finally:
        recorder.abandon()
