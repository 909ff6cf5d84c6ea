"""A layer as the PEs see it: every weighted layer is a convolution."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.events import Window
from ..models.network import Conv, Linear, MaxPool, Network, Tensor


@dataclass(frozen=True)
class ConvShape:
    """Sizes of a convolution; a fully connected layer has a 1 x 1 ifmap and kernel.

    Parameters
    ----------
    filters, channels : int
    height, width : int
        Of the ifmap.
    groups : int
    window : Window
    """

    filters: int
    channels: int
    height: int
    width: int
    groups: int
    window: Window

    @property
    def group_channels(self) -> int:
        """Channels of a convolution group."""
        return self.channels // self.groups

    @property
    def group_filters(self) -> int:
        """Filters of a convolution group."""
        return self.filters // self.groups

    def taps(self, axis: int) -> list[int]:
        """Return the number of taps of each phase, 0 .. stride - 1."""
        s, d = self.window.strides[axis], self.window.dilations[axis]
        phases = [(k * d) % s for k in range(self.window.kernel[axis])]
        return [phases.count(phase) for phase in range(s)]


def conv_shape(layer: Conv | Linear, x: Tensor, y: Tensor) -> ConvShape:
    """Return the shape of a weighted layer with input ``x`` and output ``y``."""
    if isinstance(layer, Linear):
        window = Window((1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
        return ConvShape(layer.weight.shape[0], layer.weight.shape[1], 1, 1, 1, window)
    channels, height, width = x.shape
    window = Window(
        layer.kernel, layer.strides, layer.dilations, layer.pads[:2], (y.shape[1], y.shape[2])
    )
    return ConvShape(layer.weight.shape[0], channels, height, width, layer.groups, window)


def weights(layer: Conv | Linear, channels: tuple[int, int] | None = None) -> NDArray[np.int16]:
    """Return the weights less their zero points, int16[k, channels, r, s].

    Parameters
    ----------
    layer : Conv or Linear
    channels : (int, int), optional
        Half-open range of channels of each convolution group; all by default.
    """
    weight: NDArray[Any] = layer.weight
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    if channels is not None:
        weight = weight[:, slice(*channels)]
    points = layer.weight_zero_point.astype(np.int16)
    return weight.astype(np.int16) - points[:, None, None, None]


@dataclass(frozen=True)
class Pool:
    """A max-pool fused into the fire phase; each field (y, x)."""

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    dilations: tuple[int, int] = (1, 1)

    def covered(self, axis: int, output: int, size: int) -> list[int]:
        """Return the rows (axis 0) or columns that output row or column ``output`` covers."""
        first = output * self.strides[axis] - self.pads[axis]
        places = (first + i * self.dilations[axis] for i in range(self.kernel[axis]))
        return [place for place in places if 0 <= place < size]


def pool_window(pool: MaxPool | None) -> Pool:
    """Return the window of a max-pool; 1 x 1 without one."""
    return Pool(pool.kernel, pool.strides, pool.pads[:2], pool.dilations) if pool else Pool()


def covers_psums(network: Network, pool: MaxPool) -> bool:
    """Tell whether every window of a max-pool covers at least one value (dilation may miss all)."""
    before, after = network.tensors[pool.inputs[0]].shape, network.tensors[pool.output].shape
    window = pool_window(pool)
    return all(
        window.covered(axis, at, before[1 + axis])
        for axis in (0, 1)
        for at in range(after[1 + axis])
    )


def fused_pool(network: Network, layer: Conv | Linear) -> MaxPool | None:
    """Return the max-pool that the fire phase does: the layer's only consumer, if it is one."""
    consumers = network.consumers(layer.output)
    if isinstance(layer, Conv) and len(consumers) == 1 and layer.output not in network.outputs:
        only = consumers[0]
        if isinstance(only, MaxPool) and covers_psums(network, only):
            return only
    return None
