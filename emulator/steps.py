"""Steps of a network on a machine: layers on the PEs, with weights and waves, or on the host."""

from bisect import bisect_right
from collections.abc import Mapping as Named
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..models.network import Conv, Layer, Linear, MaxPool, Network, Quantize, Reshape
from .description import Description
from .mapping import Mapping
from .mnf_description import Machine
from .rows import Rows, packed, weight_rows
from .shape import ConvShape, weights
from .waves import Range, Wave

Ints = NDArray[np.int64]


class Residency(Enum):
    """How long weights stay in the PEs; what comes in during a frame is of channels that fired."""

    NETWORK = "network"
    """All layers' rows fit: they come in before cycle 0."""
    LAYER = "layer"
    """The layer's rows fit: they come in before its first wave."""
    WAVE = "wave"
    """They come in before the waves that need them."""


def block_rows(mapping: Mapping, layer: Conv | Linear, channels: Range, machine: Machine) -> Rows:
    """Return the weight rows of some filter groups and input channels of a layer."""
    keep_zero = machine.pe.weights == "dense"
    rows = weight_rows(mapping, weights(layer, channels), keep_zero, channels[0])
    return packed(rows) if machine.pe.weights == "ideal" else rows


@dataclass(frozen=True)
class Block:
    """Weights that PEs hold at a time: some filter groups of each PE, some input channels.

    Parameters
    ----------
    layer : Conv or Linear
    mapping : Mapping
        Of the block's filter groups.
    channels : (int, int)
        Half-open range, of each convolution group.
    machine : Machine
    row_base : int64[n_pes]
        First row in each PE's weight SRAM.
    n_rows : int64[n_pes]
        Rows of each PE, at most.
    pointer_base, bias_base : int64[n_pes]
        First pointer and bias in each PE's memories; they stay there.
    dram_base : int64[n_pes]
        Byte of DRAM at which each PE's rows lie.
    kept : Rows or None
        None where they are made when they are needed.
    """

    layer: Conv | Linear
    mapping: Mapping
    channels: Range
    machine: Machine
    row_base: Ints
    n_rows: Ints
    pointer_base: Ints
    bias_base: Ints
    dram_base: Ints
    kept: Rows | None = field(default=None, repr=False)

    def rows(self) -> Rows:
        """Return the block's weight rows."""
        if self.kept is not None:
            return self.kept
        return block_rows(self.mapping, self.layer, self.channels, self.machine)


@dataclass(frozen=True)
class MnfStep:
    """A weighted layer on the PEs, with the max-pool that its fire phase does.

    Parameters
    ----------
    layer : Conv or Linear
    pool : MaxPool or None
    output : str
        Tensor that is stored: the pool's output, if there is one.
    mapping : Mapping
        Of all filter groups and ofmap rows.
    residency : Residency
    blocks : tuple of Block
    waves : tuple of Wave
    """

    layer: Conv | Linear
    pool: MaxPool | None
    output: str
    mapping: Mapping
    residency: Residency
    blocks: tuple[Block, ...]
    waves: tuple[Wave, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that are read."""
        return self.layer.inputs

    @property
    def shape(self) -> ConvShape:
        """The layer's shape, whole."""
        return self.mapping.shape

    @cached_property
    def channel_waves(self) -> tuple[int, ...]:
        """The first block of each channel wave."""
        return tuple(i for i, block in enumerate(self.blocks) if block.channels[0] == 0)

    def channel_wave(self, block: int) -> int:
        """Return the channel wave of a block."""
        return bisect_right(self.channel_waves, block) - 1

    def loads(self, wave: Wave) -> tuple[int, ...]:
        """Return the blocks that come in before a wave."""
        if self.residency is Residency.NETWORK:
            return ()
        if self.residency is Residency.LAYER:
            return tuple(range(len(self.blocks))) if wave.number == 0 else ()
        is_there = wave.number > 0 and self.waves[wave.number - 1].block == wave.block
        return () if is_there else (wave.block,)


@dataclass(frozen=True)
class HostStep:
    """A layer that the host unit computes, or that only renames or converts at the edge.

    Parameters
    ----------
    layer : Layer
    is_real : bool
        Whether its output is one of real numbers, at the network's edge.
    """

    layer: Layer
    is_real: bool = False

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that are read."""
        return self.layer.inputs

    @property
    def output(self) -> str:
        """Tensor that is stored."""
        return self.layer.output

    @property
    def is_alias(self) -> bool:
        """Whether its output is its input in a new shape."""
        return isinstance(self.layer, Reshape)

    @property
    def is_free(self) -> bool:
        """Whether the step takes no cycles: a new shape, or a conversion at the network's edge."""
        return self.is_real or self.is_alias or isinstance(self.layer, Quantize)


Step = MnfStep | HostStep


class AnyStep(Protocol):
    """What is done for a layer, in either mode, or between two."""

    @property
    def name(self) -> str:
        """The layer's name, or what else a result is told by."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that are read."""

    @property
    def output(self) -> str:
        """Tensor that is stored."""


class LayerStep(AnyStep, Protocol):
    """What is done for a layer."""

    @property
    def layer(self) -> Layer:
        """The layer."""


class AnyPlan(Protocol):
    """A network on a machine of either mode: what all of a run needs to know of its plan."""

    @property
    def network(self) -> Network:
        """The network."""

    @property
    def machine(self) -> Description:
        """The machine."""

    @property
    def steps(self) -> Sequence[AnyStep]:
        """What is done one after another."""

    @property
    def regions(self) -> Named[str, int]:
        """First byte of each stored tensor."""

    @property
    def storage_bytes(self) -> int:
        """Bytes that the stored tensors need."""

    @property
    def load_cycles(self) -> int:
        """Cycles in which the weights come in before cycle 0."""
