"""What a network becomes on a machine: steps in order, weight rows, storage regions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import Conv, Dequantize, Layer, Linear, MaxPool, Network, Quantize, Reshape
from .activations import EVENT_BYTES
from .machine import Machine
from .mapping import Mapping, MappingError, least_pes, map_layer
from .rows import Rows, packed, weight_rows
from .shape import ConvShape, Pool, conv_shape, fused_pool, pool_window, weights


@dataclass(frozen=True)
class MnfStep:
    """A weighted layer on the PEs, with the max-pool that its fire phase does.

    Parameters
    ----------
    layer : Conv or Linear
    pool : MaxPool or None
    output : str
        Tensor that is stored: the pool's output, if there is one.
    shape : ConvShape
    mapping : Mapping
    rows : Rows
    row_base, pointer_base, bias_base : int64[n_pes]
        First row, pointer and bias of the layer in each PE's memories.
    """

    layer: Conv | Linear
    pool: MaxPool | None
    output: str
    shape: ConvShape
    mapping: Mapping
    rows: Rows
    row_base: NDArray[np.int64]
    pointer_base: NDArray[np.int64]
    bias_base: NDArray[np.int64]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def window(self) -> Pool:
        """The pooling window; 1 x 1 without a fused pool."""
        return pool_window(self.pool)


@dataclass(frozen=True)
class HostStep:
    """A layer that the host unit computes, or that only renames or converts at the edge."""

    layer: Layer

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def output(self) -> str:
        """Tensor that is stored."""
        return self.layer.output

    @property
    def is_free(self) -> bool:
        """Whether the step takes no cycles: a new shape, or a conversion at the network's edge."""
        return isinstance(self.layer, Reshape | Quantize | Dequantize)


Step = MnfStep | HostStep


@dataclass(frozen=True)
class Plan:
    """A network on a machine.

    Parameters
    ----------
    network : Network
    machine : Machine
    steps : tuple of MnfStep or HostStep
    regions : dict
        First byte in storage of each stored tensor.
    storage_bytes : int
        End of the highest region.
    load_cycles : int
        Cycles in which the weight rows come in before cycle 0, one flit per cycle; they are part
        of no frame, and neither is their energy.
    """

    network: Network
    machine: Machine
    steps: tuple[Step, ...]
    regions: dict[str, int]
    storage_bytes: int
    load_cycles: int


def _mnf_step(
    network: Network, layer: Conv | Linear, machine: Machine, used: NDArray[Any]
) -> MnfStep:
    x, y = network.tensors[layer.inputs[0]], network.tensors[layer.output]
    shape = conv_shape(layer, x, y)
    mapping = map_layer(layer.name, shape, machine)
    rows = weight_rows(mapping, weights(layer), machine.pe.weights == "dense")
    if machine.pe.weights == "ideal":
        rows = packed(rows)
    pool = fused_pool(network, layer)
    step = MnfStep(
        layer, pool, pool.output if pool else layer.output, shape, mapping, rows, *used.copy()
    )
    used[0] += np.diff(rows.first)
    used[1] += np.diff(rows.pointer_first)
    used[2] += [len(mapping.groups_of(pe)) * mapping.filters for pe in range(machine.n_pes)]
    if used[0].max() > machine.pe.weight_rows:
        most = used[0].max()
        raise MappingError(
            f"layer {layer.name}: with it the weights need {most} rows in the fullest PE, which "
            f"holds {machine.pe.weight_rows} (the layer alone needs at least "
            f"{least_pes(shape, machine.pe)} PEs, Eq. 1 and 2); use a machine with more PEs or "
            f"with pe.weight_bytes of at least {most * machine.pe.multipliers}, or "
            "prune the network"
        )
    return step


def _lifetimes(network: Network, steps: list[Step]) -> dict[str, tuple[int, int]]:
    """Return the steps from which to which each stored tensor lies in storage.

    Inputs lie there before the first step, outputs until after the last; a tensor and its new
    shapes are one.
    """
    alias = {s.output: s.layer.inputs[0] for s in steps if isinstance(s.layer, Reshape)}

    def root(name: str) -> str:
        return root(alias[name]) if name in alias else name

    written = {name: -1 for name in network.inputs}
    last: dict[str, int] = {}
    for i, step in enumerate(steps):
        written[step.output] = -1 if isinstance(step.layer, Quantize) else i
        for name in step.layer.inputs:
            end = len(steps) if isinstance(step.layer, Dequantize) else i
            last[root(name)] = max(end, last.get(root(name), i))
    for name in network.outputs:
        last[root(name)] = len(steps)
    return {name: (i, last.get(root(name), i)) for name, i in written.items() if name == root(name)}


def _regions(network: Network, steps: list[Step]) -> tuple[dict[str, int], int]:
    """Place tensors in storage, first fit, each for its lifetime."""
    regions: dict[str, int] = {}
    held: list[tuple[int, int, int]] = []
    top = 0
    lifetimes = _lifetimes(network, steps)
    for name, (first, last) in sorted(lifetimes.items(), key=lambda item: item[1]):
        if not network.tensors[name].is_code:
            continue
        size = EVENT_BYTES * network.tensors[name].size
        at = 0
        for low, high, until in sorted(held):
            if until >= first and low - at < size:
                at = max(at, high)
        regions[name] = at
        held.append((at, at + size, last))
        top = max(top, at + size)
    for step in steps:
        if isinstance(step.layer, Reshape):
            regions[step.output] = regions[step.layer.inputs[0]]
    return regions, top


def make_plan(network: Network, machine: Machine) -> Plan:
    """Map a network onto a machine.

    Raises
    ------
    MappingError
        When a layer's psums, the weights of all layers or the activations do not fit.
    """
    used = np.zeros((3, machine.n_pes), np.int64)
    steps: list[Step] = []
    fused = set()
    for layer in network.layers:
        if layer.name in fused:
            continue
        if isinstance(layer, Conv | Linear):
            step = _mnf_step(network, layer, machine, used)
            if step.pool is not None:
                fused.add(step.pool.name)
            steps.append(step)
        else:
            steps.append(HostStep(layer))
    regions, top = _regions(network, steps)
    limit = machine.storage.bytes
    if limit is not None and top > limit:
        raise MappingError(
            f"network {network.name}: its activations need {top} bytes of storage, "
            f"{machine.name} has {limit}; set storage.bytes to at least {top} or to null"
        )
    flit_bytes = machine.noc.flit_bits / 8
    loads = np.ceil(used[0] * machine.pe.multipliers / flit_bytes).sum()
    return Plan(network, machine, tuple(steps), regions, top, int(loads))
