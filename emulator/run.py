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
from ..models.network import ModelError, Network, Quantize
from ..models.zoo import images as zoo_images
from ..models.zoo import load
from ..noc.network import Network as Interconnect
from ..traces.errors import TraceError
from . import energy, host, mnf
from .activations import Activations, as_input, merged
from .checkpoint import Position, State, load_results, position, save_results
from .host import HostRun
from .inputs import entry
from .machine import Machine, MachineError
from .machine import machine as find_machine
from .mnf import WaveRun, add_codes
from .plan import HostStep, MnfStep, Plan, make_plan
from .result import LayerResult, LayerTable, Result, of_host, of_layer, of_wave

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
    runs : tuple of WaveRun or HostRun
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
    runs: tuple[WaveRun | HostRun, ...]
    results: tuple[LayerResult, ...]
    tensors: dict[str, Activations]
    before_pool: dict[str, NDArray[np.int16]]
    outputs: dict[str, NDArray[Any]]

    @property
    def output(self) -> NDArray[Any]:
        """The network's first output."""
        return next(iter(self.outputs.values()))


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
        self.plan: Plan = make_plan(network, machine)
        self._position = Position(0, 0, 0, np.zeros(machine.n_pes, np.int64))
        self._is_ended = False
        noc = machine.noc
        self._noc = Interconnect(
            machine.mesh.width,
            machine.mesh.height,
            noc.router,
            noc.routing,
            noc.buffer_flits,
            machine.storage.ports,
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
        tally : Tally, optional
            The one that the caller adds frames to; a recorder keeps it.
        keep_runs : bool
            Whether frames hold what every step left behind, which takes much memory.
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
            frame = self._frame(progress or (lambda frame, layer: None), recorder, tally, keep_runs)
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
        self, progress: Progress, recorder: "Recorder | None", tally: "Tally | None", keeps: bool
    ) -> Frame:
        at, network, steps = self._position, self.plan.network, self.plan.steps
        runs: list[WaveRun | HostRun] = []
        before_pool: dict[str, NDArray[np.int16]] = {}
        tensors = dict(at.tensors)
        while at.step < len(steps):
            step = steps[at.step]
            tick = partial(progress, at.frame, step.name)
            tick()
            keep = runs.append if keeps else lambda run: None
            if isinstance(step, MnfStep):
                codes = self._run_waves(step, tick, recorder, keep)
                if step.pool is not None:
                    before_pool[step.layer.output] = codes
            else:
                self._run_host(step, recorder, keep)
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

    def _run_waves(
        self,
        step: MnfStep,
        tick: Callable[[], None],
        recorder: "Recorder | None",
        keep: Callable[[WaveRun], None],
    ) -> NDArray[np.int16]:
        """Run a layer on the PEs; return its codes before pooling."""
        at = self._position
        source = at.tensors[step.layer.inputs[0]]
        layer = mnf.Layer(self.plan, step, self._noc, source, at.cycle, at.taken)
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
        return codes

    def _run_host(
        self, step: HostStep, recorder: "Recorder | None", keep: Callable[[HostRun], None]
    ) -> None:
        """Run a layer on the host unit, or convert at the network's edge."""
        at = self._position
        inputs = tuple(at.tensors[name] for name in step.layer.inputs if name in at.tensors)
        if isinstance(step.layer, Quantize):
            values = at.real[step.layer.inputs[0]]
            at.tensors[step.output] = host.enter(self.plan, step, values)
        elif step.is_real:
            at.real[step.output] = host.leave(self.plan, step, inputs[0].dense())
        else:
            run = host.run_layer(self.plan, step, inputs, at.cycle)
            at.cycle = run.cycle1
            at.tensors[step.output] = run.output
            keep(run)
            if not step.is_free:
                at.results.append(of_host(run, self.plan.machine))
                if recorder:
                    recorder.add(at.frame, run, at.results[-1])

    def _forget(self) -> None:
        """Drop the tensors that no step to come reads."""
        at, network = self._position, self.plan.network
        needed = {name for step in self.plan.steps[at.step :] for name in step.layer.inputs}
        needed.update(network.outputs)
        at.tensors = {name: part for name, part in at.tensors.items() if name in needed}
        at.real = {name: part for name, part in at.real.items() if name in needed}


class Tally:
    """Adds up frames; what a run keeps of each of them."""

    def __init__(self, emulation: Emulation, mode: str) -> None:
        self._emulation = emulation
        self._mode = mode
        self._layers: dict[str, LayerResult] = {}
        names = emulation.plan.network.outputs
        self._outputs: dict[str, list[NDArray[Any]]] = {name: [] for name in names}

    def add(self, frame: Frame) -> None:
        """Add a frame; nothing of it but sums and outputs is kept."""
        for layer in frame.results:
            known = self._layers.get(layer.name)
            self._layers[layer.name] = layer if known is None else known + layer
        for name, values in frame.outputs.items():
            self._outputs[name].append(values)

    def state(self) -> State:
        """Return the sums and outputs as arrays."""
        outputs = {
            f"output/{name}": np.array(values) for name, values in self._outputs.items() if values
        }
        return save_results("tally", list(self._layers.values())) | outputs

    def resume(self, state: State) -> None:
        """Go on from sums and outputs that `state` gave."""
        self._layers = {layer.name: layer for layer in load_results("tally", state)}
        self._outputs = {name: list(state.get(f"output/{name}", ())) for name in self._outputs}

    def result(self) -> Result:
        """Return the result of the frames so far."""
        plan = self._emulation.plan
        tensors = [plan.network.tensors[name] for name in self._outputs]
        outputs = {
            y.name: np.array(self._outputs[y.name], y.dtype).reshape(-1, *y.shape) for y in tensors
        }
        return Result(
            network=plan.network.name,
            digest=plan.network.digest,
            machine=plan.machine,
            mode=self._mode,
            frames=len(outputs[plan.network.outputs[0]]),
            all_outputs=outputs,
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
        images by default, for a synthetic one the image that it is calibrated on.
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
        for frame in emulation.frames(frames, progress, recorder, tally, keep_runs=False):
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
