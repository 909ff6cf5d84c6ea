"""Runs a network on a machine, frame by frame, layer by layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.frames import check_inputs
from ..models.network import Dequantize, ModelError, Network, Quantize
from ..models.zoo import images as zoo_images
from ..models.zoo import load
from ..noc.network import Network as Interconnect
from . import energy, host, mnf
from .activations import Activations, as_input
from .host import HostRun
from .inputs import entry
from .machine import Machine, MachineError
from .machine import machine as find_machine
from .mnf import LayerRun
from .plan import MnfStep, Plan, make_plan
from .result import LayerResult, LayerTable, Result, of_host, of_mnf

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
    tensors : dict
        Activations of each stored tensor.
    output : array
        The network's output.
    """

    number: int
    runs: tuple[LayerRun | HostRun, ...]
    tensors: dict[str, Activations]
    output: NDArray[Any]

    def results(self, machine: Machine) -> list[LayerResult]:
        """Return the frame's layers; those that take no cycles are left out."""
        found = []
        for run in self.runs:
            if isinstance(run, LayerRun):
                found.append(of_mnf(run))
            elif not run.step.is_free:
                found.append(of_host(run, machine))
        return found


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
        self.cycle = 0
        self._is_ended = False
        self._taken = np.zeros(machine.n_pes, np.int64)
        noc = machine.noc
        self._noc = Interconnect(
            machine.mesh.width, machine.mesh.height, noc.router, noc.routing, noc.buffer_flits
        )

    def frames(self, inputs: NDArray[Any], progress: Progress | None = None) -> Iterator[Frame]:
        """Run frames one after another; yield each when it is done.

        Parameters
        ----------
        inputs : array [n, ...]
            Of the network's input's shape and type; see `firemesh.models.frames`.
        progress : callable, optional
        """
        for number, values in enumerate(inputs):
            if self._is_ended:
                raise mnf.EngineError(
                    "a frame was ended before its last layer, which leaves packets in the network; "
                    "make a new Emulation"
                )
            self._is_ended = True
            frame = self._frame(number, values, progress or (lambda frame, layer: None))
            self._is_ended = False
            yield frame

    def _frame(self, number: int, values: NDArray[Any], progress: Progress) -> Frame:
        network = self.plan.network
        source = network.tensors[network.inputs[0]]
        tensors: dict[str, Activations] = {}
        if source.is_code:
            tensors[source.name] = as_input(source, values, self.plan.regions[source.name])
        real = {} if source.is_code else {source.name: values}
        runs: list[LayerRun | HostRun] = []
        run: LayerRun | HostRun
        for step in self.plan.steps:
            tick = partial(progress, number, step.name)
            tick()
            inputs = tuple(tensors[name] for name in step.layer.inputs if name in tensors)
            if isinstance(step, MnfStep):
                run = self._run_mnf(step, inputs[0], tick)
            elif isinstance(step.layer, Quantize):
                tensors[step.output] = host.enter(self.plan, step, real[step.layer.inputs[0]])
                continue
            elif isinstance(step.layer, Dequantize):
                real[step.output] = host.leave(self.plan, step, inputs[0].dense())
                continue
            else:
                run = host.run_layer(self.plan, step, inputs, self.cycle)
            self.cycle = run.cycle1
            tensors[step.output] = run.output
            runs.append(run)
        name = network.outputs[0]
        output = real[name] if name in real else tensors[name].dense()
        return Frame(number, tuple(runs), tensors, output)

    def _run_mnf(self, step: MnfStep, inputs: Activations, tick: Callable[[], None]) -> LayerRun:
        taken = self._taken.copy()
        run = mnf.run_layer(self.plan, step, self._noc, inputs, self.cycle, taken, tick)
        self._taken += run.columns.taken
        return run


class Tally:
    """Adds up frames; what a run keeps of each of them."""

    def __init__(self, emulation: Emulation, mode: str) -> None:
        self._emulation = emulation
        self._mode = mode
        self._layers: dict[str, LayerResult] = {}
        self._outputs: list[NDArray[Any]] = []

    def add(self, frame: Frame) -> None:
        """Add a frame; nothing of it but sums and output is kept."""
        for layer in frame.results(self._emulation.plan.machine):
            known = self._layers.get(layer.name)
            self._layers[layer.name] = layer if known is None else known + layer
        self._outputs.append(frame.output)

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

    Returns
    -------
    Result

    Raises
    ------
    ModelError, MachineError, MappingError
        When network, images or machine cannot be used together; one sentence with the way out.

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
    for frame in emulation.frames(frames, progress):
        tally.add(frame)
    return tally.result()
