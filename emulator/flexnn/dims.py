"""The dimensions of a layer, in the order in which all of FlexNN has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.network import Conv, Linear, Network
from ..shape import conv_shape


class Dim(IntEnum):
    """A dimension of a layer; of ``OC`` and ``IC`` those of a convolution group."""

    N = 0
    G = 1
    OY = 2
    OX = 3
    OC = 4
    IC = 5
    FY = 6
    FX = 7


NAMES = tuple(dim.name for dim in Dim)
REDUCTION = (Dim.IC, Dim.FY, Dim.FX)
IF_DIMS = (Dim.N, Dim.G, Dim.OY, Dim.OX, Dim.IC, Dim.FY, Dim.FX)
FL_DIMS = (Dim.G, Dim.OC, Dim.IC, Dim.FY, Dim.FX)
OF_DIMS = (Dim.N, Dim.G, Dim.OY, Dim.OX, Dim.OC)

Sizes = tuple[int, int, int, int, int, int, int, int]


def sizes(named: Mapping[str, int], default: int | Sizes = 1) -> Sizes:
    """Return a size for each dimension; of those not named the default."""
    given = (default,) * len(Dim) if isinstance(default, int) else default
    values = [int(named.get(name, given[i])) for i, name in enumerate(NAMES)]
    return tuple(values)  # type: ignore[return-value]


def named(values: Sizes, default: int | Sizes = 1) -> dict[str, int]:
    """Return the sizes that differ from the default, by name."""
    given = (default,) * len(Dim) if isinstance(default, int) else default
    return {
        name: value
        for name, value, usual in zip(NAMES, values, given, strict=True)
        if value != usual
    }


@dataclass(frozen=True)
class LayerDims:
    """Sizes of a weighted layer.

    Parameters
    ----------
    sizes : 8 int
        By `Dim`.
    strides, dilations : (int, int)
        y, x.
    pads : (int, int)
        Before the first row, and column.
    ifmap : (int, int)
        Height and width.
    """

    sizes: Sizes
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    ifmap: tuple[int, int] = (1, 1)

    @property
    def macs(self) -> int:
        """Dense multiply-accumulates."""
        total = 1
        for size in self.sizes:
            total *= size
        return total

    @property
    def is_depthwise(self) -> bool:
        """Whether each group has one input and one output channel."""
        return self.sizes[Dim.G] > 1 and self.sizes[Dim.OC] == self.sizes[Dim.IC] == 1

    def geometry(self) -> NDArray[np.int64]:
        """int64[8]: strides, dilations, pads, ifmap, each y and x; as kernels take them."""
        return np.array([*self.strides, *self.dilations, *self.pads, *self.ifmap], np.int64)


def layer_dims(network: Network, layer: Conv | Linear, frames: int = 1) -> LayerDims:
    """Return the sizes of a layer of a network, for a batch of frames."""
    shape = conv_shape(layer, network.tensors[layer.inputs[0]], network.tensors[layer.output])
    window = shape.window
    of: dict[str, Any] = {
        "N": frames,
        "G": shape.groups,
        "OY": window.ofmap[0],
        "OX": window.ofmap[1],
        "OC": shape.group_filters,
        "IC": shape.group_channels,
        "FY": window.kernel[0],
        "FX": window.kernel[1],
    }
    return LayerDims(
        sizes(of),
        (window.strides[0], window.strides[1]),
        (window.dilations[0], window.dilations[1]),
        (window.pads[0], window.pads[1]),
        (shape.height, shape.width),
    )
