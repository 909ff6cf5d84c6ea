"""Runs a network on a machine: the call that users make, and what it keeps of the frames."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..models.frames import check_inputs
from ..models.network import ModelError, Network
from ..models.zoo import images as zoo_images
from ..models.zoo import load
from .checkpoint import State, load_results, save_results
from .emulation import Emulation, Frame, Progress
from .inputs import entry
from .layer_result import LayerResult
from .machine import AnyMachine, FlexMachine, Machine, MachineError
from .modes import Modes, mode_and_machine
from .result import LayerTable, Result

if TYPE_CHECKING:
    from .flexnn.descriptor import Descriptor
    from .flexnn.plan import Search
    from .recorder import Recorder


def make_emulation(
    network: Network,
    machine: AnyMachine,
    schedule: "Mapping[str, Descriptor] | None" = None,
    search: "Search | None" = None,
    modes: Modes | None = None,
    frames: NDArray[Any] | None = None,
    progress: Progress | None = None,
) -> Emulation:
    """Return a network on a machine, ready to take frames.

    Parameters
    ----------
    network : Network
    machine : Machine, FlexMachine or HybridMachine
    schedule, search
        Of mode flexnn, see `run`.
    modes : Modes, optional
        Of a hybrid machine.
    frames : array [n, ...], optional
        Of a hybrid machine, which chooses modes by the first.
    progress : callable, optional
        Called while modes are chosen.
    """
    if isinstance(machine, Machine):
        from .mnf.emulation import MnfEmulation

        return MnfEmulation(network, machine)
    if isinstance(machine, FlexMachine):
        from .flexnn.emulation import FlexEmulation

        return FlexEmulation(network, machine, schedule, search)
    from .hybrid.make import hybrid_emulation

    if frames is None or not len(frames):
        raise MachineError(f"{machine.name}: chooses modes by the first frame; give one")
    modes = modes or Modes()
    tick = progress or (lambda frame, layer: None)
    return hybrid_emulation(
        network, machine, modes.by_layer, frames[0], modes.where, schedule, search, tick
    )


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
            decision=self._emulation.decision,
        )


def run(
    network: Network | str | Path,
    images: Any = None,
    machine: AnyMachine | str | Path | None = None,
    mode: "str | Path | Mapping[str, str] | None" = None,
    progress: Progress | None = None,
    trace: str | Path | None = None,
    values: bool = False,
    resume: bool = False,
    force: bool = False,
    schedule: "Mapping[str, Descriptor] | None" = None,
    search: "Search | None" = None,
) -> Result:
    """Run a network on a machine.

    Parameters
    ----------
    network : Network, zoo name or path of an ONNX file
    images : array [n, ...], optional
        Frames in the shape of the network's input; for a network of the zoo all its held-back
        images by default, for a synthetic one the image that it is calibrated on.
    machine : Machine, FlexMachine, HybridMachine, preset name or path of a YAML file, optional
        By default the mode's, see `firemesh.emulator.modes`.
    mode : str, Path or mapping of str to str, optional
        A name in `firemesh.emulator.modes.MODES`, or names and patterns of layers with a mode each,
        or a YAML file of them; by default the machine's.
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
    schedule : mapping of layer name to Descriptor, optional
        Of mode flexnn; descriptors of the other layers are searched.
    search : Search, optional
        Of mode flexnn: objective, dataflow, candidates that the engine counts. The objective is
        also that by which modes are chosen.

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
    name, described, modes = mode_and_machine(mode, machine)
    net = network if isinstance(network, Network) else load(network)
    if images is None:
        if not entry(net):
            raise ModelError(f"images: network {net.name} brings none; pass an array of frames")
        images = zoo_images(net.name)[0]
    frames = check_inputs(net, images)
    emulation = make_emulation(net, described, schedule, search, modes, frames, progress)
    tally = Tally(emulation, name)
    options = {"values": values, "resume": resume, "force": force}
    with recording(emulation, frames, name, "firemesh.run", trace, **options) as recorder:
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
        "mode": f"{mode} {emulation.identity}".strip(),
        "command": command,
        "frames": len(frames),
    }
    recorder = Recorder(emulation.plan, emulation.run_trace, Path(trace), about, **options)
    try:
        yield recorder
    finally:
        recorder.abandon()
