"""A layer of a frame on the array, from stored codes to stored codes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models.network import Tensor
from ...models.requantise import requantise
from ..activations import Activations, stored, volume
from ..kinds import Kind
from ..latency import Latency
from ..layer_result import LayerResult
from ..shape import weights
from .descriptor import Cut, Descriptor
from .engine import LayerRun, run_layer
from .machine import FlexMachine
from .plan import FlexStep

ORDER = "raster"
"""In which order tensors lie: by (y, x, c)."""


@dataclass(frozen=True)
class FlexRun:
    """What a layer of a frame left behind.

    Parameters
    ----------
    step : FlexStep
    descriptor : Descriptor
    array : LayerRun
    inputs, output : Activations
    cycle0, cycle1 : int
        First cycle, and the one after the last.
    """

    step: FlexStep
    descriptor: Descriptor
    array: LayerRun
    inputs: Activations
    output: Activations
    cycle0: int
    cycle1: int


def operand(part: Activations) -> NDArray[np.int16]:
    """Return a stored tensor as the array reads it: int16[1, c, h, w] less its zero point."""
    dense = part.dense().reshape(volume(part.tensor)).astype(np.int16)
    return dense[None] - np.int16(part.tensor.zero_point)


def run_step(
    step: FlexStep,
    descriptor: Descriptor,
    machine: FlexMachine,
    inputs: Activations,
    output: Tensor,
    region: int,
    cycle: int,
    keeps_starts: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> FlexRun:
    """Run a layer of a frame.

    Parameters
    ----------
    step : FlexStep
    descriptor : Descriptor
        A legal one.
    machine : FlexMachine
    inputs : Activations
    output : Tensor
    region : int
        First byte of the output.
    cycle : int
        First cycle.
    keeps_starts : bool
        Whether a trace will need when rounds begin.
    tick : callable
    """
    layer = step.layer
    found: list[NDArray[np.int32]] = []

    def finish(psum: NDArray[np.int32]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            sums = psum[0] + layer.bias.reshape(-1, 1, 1)
        codes = requantise(sums, layer.multiplier, output.zero_point, layer.low, layer.high)
        found.append(codes)
        is_active: NDArray[np.bool_] = codes[None] != output.zero_point
        return is_active

    cut = Cut(descriptor, step.dims)
    array = run_layer(cut, machine, operand(inputs), weights(layer), finish, keeps_starts, tick)
    codes = found[0].astype(output.dtype)
    held = stored(output, codes, ORDER, region)
    return FlexRun(step, descriptor, array, inputs, held, cycle, cycle + array.cycles)


def summary(cut: Cut) -> str:
    """Return a descriptor in a few letters: lane mode, and partitions over rows / columns."""
    sides = []
    for parts in (cut.row_parts, cut.column_parts):
        names = zip(("n", "g", "y", "x", "k", "c", "r", "s"), parts, strict=True)
        sides.append("".join(f"{name}{size}" for name, size in names if size > 1) or "1")
    return f"{cut.descriptor.lanes} {'/'.join(sides)}"


def of_flex(run: FlexRun) -> LayerResult:
    """Return the result of a layer of one frame on the array.

    ``events`` are pairs that were multiplied, ``waves`` rounds. What goes over buses is counted as
    accesses of `firemesh.emulator.kinds.Memory.BUS`, what goes over the mesh as flits.
    """
    array = run.array
    return LayerResult(
        name=run.step.name,
        op=run.step.layer.op,
        mode="flexnn",
        frames=1,
        cycles=array.cycles,
        waves=array.n_rounds,
        events=array.pairs,
        halo=0,
        repeated=0,
        active=len(run.inputs.flat),
        inputs=run.inputs.tensor.size,
        fired=len(run.output.flat),
        tile=summary(array.layer.cut),
        slots=array.slots,
        counts=array.counts,
        bytes=array.bytes,
        link_flits=array.traffic.link_flits,
        sent_flits=array.traffic.sent_flits,
        stalls=array.traffic.stalls,
        latency=np.zeros((len(Kind), len(Latency)), np.int64),
    )
