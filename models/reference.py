"""The integer reference: what every tensor of a network must be, in plain numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import check_inputs
from .network import Conv, Linear, Network
from .operators import apply
from .requantise import apply_threshold, requantise

Array = NDArray[Any]

_FILTERS = 256  # of a fully connected layer that are float64 at a time: memory


def conv_sums(layer: Conv, codes: Array, zero_point: int, size: tuple[int, int]) -> Array:
    """Return a convolution's int32 sums with bias.

    Every kernel position is one float64 matrix product; integers stay exact below 2^53. The sum
    wraps into int32.

    Parameters
    ----------
    layer : Conv
    codes : int8 or uint8 [n, c, h, w]
    zero_point : int
        Zero point of the input; padding is the zero point.
    size : (int, int)
        Height and width of the output.

    Returns
    -------
    int32[n, k, *size]
    """
    n, c, h, w = codes.shape
    k, c_group, r, s = layer.weight.shape
    top, left, bottom, right = layer.pads
    padded = np.zeros((n, c, h + top + bottom, w + left + right))
    padded[:, :, top : top + h, left : left + w] = codes.astype(np.float64) - zero_point
    points = layer.weight_zero_point[:, None, None, None]
    weight = (layer.weight.astype(np.float64) - points).reshape(layer.groups, -1, c_group, r, s)
    sums = np.zeros((n, layer.groups, k // layer.groups, size[0] * size[1]))
    for ky in range(r):
        for kx in range(s):
            y, x = ky * layer.dilations[0], kx * layer.dilations[1]
            rows = slice(y, y + (size[0] - 1) * layer.strides[0] + 1, layer.strides[0])
            columns = slice(x, x + (size[1] - 1) * layer.strides[1] + 1, layer.strides[1])
            taken = padded[:, :, rows, columns].reshape(n, layer.groups, c_group, -1)
            sums += weight[None, :, :, :, ky, kx] @ taken
    return _wrap(sums.reshape(n, k, *size), layer.bias[:, None, None])


def linear_sums(layer: Linear, codes: Array, zero_point: int) -> Array:
    """Return a fully connected layer's int32[n, k] sums with bias; they wrap into int32."""
    real = codes.astype(np.float64) - zero_point
    sums = np.zeros((codes.shape[0], layer.weight.shape[0]))
    for first in range(0, layer.weight.shape[0], _FILTERS):
        block = slice(first, first + _FILTERS)
        weight = layer.weight[block].astype(np.float64) - layer.weight_zero_point[block, None]
        sums[:, block] = real @ weight.T
    return _wrap(sums, layer.bias)


def forward(
    network: Network, x: Array, threshold: int | Callable[[str], int] = 0
) -> dict[str, Array]:
    """Compute every tensor of a network.

    Parameters
    ----------
    network : Network
        With one input.
    x : float32[n, ...] or, where the network takes codes, int8 or uint8 [n, ...]
    threshold : int, or callable from a layer's name
        Codes of layers with ReLU that exceed the zero point by at most this much become the zero
        point; 0 changes nothing.

    Returns
    -------
    dict of tensor name to array with a batch axis
        The input included.

    Raises
    ------
    ModelError
        If x has another shape or type than the network's input, or is not finite.
    """
    values = {network.inputs[0]: check_inputs(network, x, "forward.x")}
    for layer in network.layers:
        y = network.tensors[layer.output]
        arrays = [values[name] for name in layer.inputs]
        if isinstance(layer, Conv | Linear):
            point = network.tensors[layer.inputs[0]].zero_point
            if isinstance(layer, Conv):
                sums = conv_sums(layer, arrays[0], point, (y.shape[1], y.shape[2]))
            else:
                sums = linear_sums(layer, arrays[0], point)
            codes = requantise(sums, layer.multiplier, y.zero_point, layer.low, layer.high, 1)
            least = threshold if isinstance(threshold, int) else threshold(layer.name)
            if least and network.has_relu(layer):
                codes = apply_threshold(codes, y.zero_point, least)
            values[layer.output] = codes.astype(y.dtype)
        else:
            values[layer.output] = apply(network, layer, *arrays)
    return values


def _wrap(sums: Array, bias: Array) -> NDArray[np.int32]:
    """Add the bias and keep the low 32 bits."""
    return (sums.astype(np.int64) + bias.astype(np.int64)).astype(np.int32)
