"""Sizes of a network's tensors in each sparse format, layer by layer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders.entries import Codes, ZeroPoint, entries
from ..encoders.events import Window
from ..encoders.sizes import sizes
from ..models.frames import check_inputs
from ..models.network import Conv, Linear, ModelError, Network
from ..models.reference import forward
from ..models.zoo import images as zoo_images
from ..models.zoo import load
from .inputs import entry
from .shape import conv_shape

ALL = "all"
"""The row that adds up the others."""


@dataclass(frozen=True)
class TensorSizes:
    """Sizes of a tensor; of activations the means over frames.

    Parameters
    ----------
    layer : str
        Layer that reads the tensor.
    tensor : str
        Name in the network, or ``weight``.
    shape : tuple of int
    values : int
        Number of values.
    density : float
        Part of the values that differ from the zero point.
    bits : dict of format to float
        Of the whole tensor; without the formats that do not know such tensors.
    """

    layer: str
    tensor: str
    shape: tuple[int, ...]
    values: int
    density: float
    bits: dict[str, float]

    @property
    def smallest(self) -> tuple[str, ...]:
        """The formats that take the fewest bits: more than one where they are equal."""
        least = min(self.bits.values())
        return tuple(name for name, bits in self.bits.items() if bits == least)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return asdict(self) | {"shape": list(self.shape), "smallest": list(self.smallest)}


def formats(
    network: Network | str | Path,
    images: Any = None,
    weights: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[TensorSizes]:
    """Return what each Conv and Linear layer reads in each format, without emulating a machine.

    Parameters
    ----------
    network : Network, zoo name or path of an ONNX file
    images : array [n, ...], optional
        Frames in the shape of the network's input; for a network of the zoo all its held-back
        images by default. Not for weights.
    weights : bool
        Whether to size the layers' weights instead of their activations.
    progress : callable, optional
        Called with the number of each frame before it.

    Returns
    -------
    list of TensorSizes
        A row per layer in the network's order.

    Raises
    ------
    ModelError
        When network and images cannot be used together, or there are no such layers.

    Examples
    --------
    >>> import firemesh
    >>> rows = firemesh.formats("digits", firemesh.images("digits", 2)[0])
    >>> rows[0].layer, rows[0].smallest
    ('conv1', ('bitmap',))
    """
    net = network if isinstance(network, Network) else load(network)
    layers = [layer for layer in net.layers if isinstance(layer, Conv | Linear)]
    if not layers:
        raise ModelError(f"network {net.name}: has no Conv or Linear layer; give one that has")
    if weights:
        return [_weights(layer) for layer in layers]
    if images is None:
        if not entry(net):
            raise ModelError(f"images: network {net.name} brings none; pass an array of frames")
        images = zoo_images(net.name)[0]
    frames = check_inputs(net, images)
    found: list[list[TensorSizes]] = []
    for number in range(len(frames)):
        if progress:
            progress(number)
        values = forward(net, frames[number : number + 1])
        found.append([_activations(net, layer, values) for layer in layers])
    return [_mean(rows) for rows in zip(*found, strict=True)]


def total(rows: Sequence[TensorSizes]) -> TensorSizes:
    """Return the sum of rows, in the formats that know all their tensors."""
    values = sum(row.values for row in rows)
    density = sum(row.density * row.values for row in rows) / values
    known = [name for name in rows[0].bits if all(name in row.bits for row in rows)]
    bits = {name: sum(row.bits[name] for row in rows) for name in known}
    return TensorSizes(ALL, "", (), values, density, bits)


def _activations(network: Network, layer: Conv | Linear, values: dict[str, Codes]) -> TensorSizes:
    x = network.tensors[layer.inputs[0]]
    window = conv_shape(layer, x, network.tensors[layer.output]).window
    return _sizes(layer.name, x.name, values[x.name][0], x.zero_point, window)


def _weights(layer: Conv | Linear) -> TensorSizes:
    points = layer.weight_zero_point.reshape(-1, *[1] * (layer.weight.ndim - 1))
    return _sizes(layer.name, "weight", layer.weight, points)


def _sizes(
    layer: str, tensor: str, codes: Codes, zero_point: ZeroPoint, window: Window | None = None
) -> TensorSizes:
    density = np.count_nonzero(entries(codes, zero_point)) / codes.size
    bits = {name: float(n) for name, n in sizes(codes, zero_point, window).items()}
    return TensorSizes(layer, tensor, codes.shape, codes.size, density, bits)


def _mean(frames: Sequence[TensorSizes]) -> TensorSizes:
    first = frames[0]

    def mean(numbers: Iterable[float]) -> float:
        return sum(numbers) / len(frames)

    density = mean(row.density for row in frames)
    bits = {name: mean(row.bits[name] for row in frames) for name in first.bits}
    return TensorSizes(first.layer, first.tensor, first.shape, first.values, density, bits)
