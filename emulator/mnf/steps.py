"""Steps of mode mnf: layers on the PEs, with weights and waves."""

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...models.network import Conv, Linear, MaxPool
from ..shape import ConvShape, weights
from ..steps import HostStep
from .machine import Machine
from .mapping import Mapping
from .rows import Rows, packed, weight_rows
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


Step = MnfStep | HostStep
