"""Exact arithmetic of every layer except Conv and Linear, on code arrays with a batch axis."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import (
    Add,
    AddConstant,
    Dequantize,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Network,
    Quantize,
    Rescale,
    Reshape,
    Tensor,
)

Array = NDArray[Any]
Float = NDArray[np.float32]


def fma(a: Float, b: Float, c: Float) -> Float:
    """Return float32(a * b + c) with one rounding.

    The product of two float32 is exact in float64. The sum is rounded to odd in float64: with 53
    bits against 24 the last conversion then rounds as if it saw the exact sum.

    Source: S. Boldo and G. Melquiond, Emulation of a FMA and correctly rounded sums: proved
    algorithms using rounding to odd, IEEE Transactions on Computers 57 (2008).
    """
    product = np.multiply(a, b, dtype=np.float64)
    addend = np.asarray(c, dtype=np.float64)
    total = np.asarray(product + addend)
    virtual = total - product
    error = (product - (total - virtual)) + (addend - virtual)
    bits = total.view(np.int64)
    is_even_inexact = (error != 0) & (bits & 1 == 0)
    step = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where(is_even_inexact, bits + step, bits).view(np.float64)
    return odd.astype(np.float32)


def saturate(values: Array, tensor: Tensor) -> Array:
    """Clip to the tensor's code range and convert to its type."""
    return np.clip(values, tensor.low, tensor.high).astype(tensor.dtype)


def quantize(values: Float, y: Tensor) -> Array:
    """Return sat(rint(x / scale) + zero_point), a true float32 division."""
    with np.errstate(over="ignore"):
        scaled = np.rint(values.astype(np.float32) / np.float32(y.scale))
    bounded = np.clip(scaled, y.low - y.zero_point, y.high - y.zero_point)
    return saturate(bounded.astype(np.int32) + y.zero_point, y)


def dequantize(codes: Array, x: Tensor) -> Float:
    """Return (q - zero_point) * scale in float32."""
    return _centred(codes, x.zero_point).astype(np.float32) * np.float32(x.scale)


def rescale(codes: Array, x: Tensor, y: Tensor, low: float, high: float) -> Array:
    """Dequantise, clip in float32 to low..high, quantise."""
    real = np.clip(dequantize(codes, x), np.float32(low), np.float32(high))
    return quantize(real, y)


def reshape(codes: Array, shape: tuple[int, ...]) -> Array:
    """Return the same codes with another shape behind the batch axis."""
    return codes.reshape(codes.shape[0], *shape)


def max_pool(codes: Array, layer: MaxPool, size: tuple[int, int]) -> Array:
    """Return window maxima as [n, c, *size]; windows may hang over the lower and right edge."""
    n, c, h, w = codes.shape
    top, left, _, _ = layer.pads
    spans = [
        (count - 1) * stride + dilation * (kernel - 1) + 1
        for count, stride, dilation, kernel in zip(
            size, layer.strides, layer.dilations, layer.kernel, strict=True
        )
    ]
    lowest = np.iinfo(codes.dtype).min
    frame = (max(spans[0], top + h), max(spans[1], left + w))
    padded = np.full((n, c, *frame), lowest, codes.dtype)
    padded[:, :, top : top + h, left : left + w] = codes
    result = np.full((n, c, *size), lowest, codes.dtype)
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            y, x = ky * layer.dilations[0], kx * layer.dilations[1]
            rows = slice(y, y + (size[0] - 1) * layer.strides[0] + 1, layer.strides[0])
            columns = slice(x, x + (size[1] - 1) * layer.strides[1] + 1, layer.strides[1])
            np.maximum(result, padded[:, :, rows, columns], out=result)
    return result


def global_average_pool(codes: Array, x: Tensor, y: Tensor) -> Array:
    """Return the requantised mean over height and width as [n, c, 1, 1]."""
    sums = _centred(codes, x.zero_point).sum(axis=(2, 3), keepdims=True, dtype=np.int64)
    count = np.float32(codes.shape[2] * codes.shape[3])
    factor = np.float32(x.scale) / (np.float32(y.scale) * count)
    scaled = np.rint(sums.astype(np.int32).astype(np.float32) * factor)
    bounded = np.clip(scaled, y.low - y.zero_point, y.high - y.zero_point)
    return saturate(bounded.astype(np.int32) + y.zero_point, y)


def add(
    a: Array, b: Array, a_params: tuple[float, int], b_params: tuple[float, int], y: Tensor
) -> Array:
    """Return the requantised sum of two code arrays.

    Parameters
    ----------
    a, b : int8 or uint8 [n, ...]
        Shapes of one rank that broadcast against each other.
    a_params, b_params : (scale, zero_point)
    y : Tensor
        The output.
    """
    if _is_scalar_first(a.shape[1:], b.shape[1:]):
        a, b, a_params, b_params = b, a, b_params, a_params
    ratio_a = np.float32(a_params[0]) / np.float32(y.scale)
    ratio_b = np.float32(b_params[0]) / np.float32(y.scale)
    zero_a, zero_b = np.float32(a_params[1]), np.float32(b_params[1])
    point = np.float32(y.zero_point)
    offset = point - fma(np.asarray(ratio_a), np.asarray(zero_a), np.asarray(ratio_b * zero_b))
    inner = fma(b.astype(np.float32), np.asarray(ratio_b), offset)
    total = np.rint(fma(a.astype(np.float32), np.asarray(ratio_a), inner))
    return saturate(total, y)


def apply(network: Network, layer: Layer, *arrays: Array) -> Array:
    """Compute a layer that is neither Conv nor Linear.

    Parameters
    ----------
    network : Network
    layer : Layer
    *arrays : code arrays [n, ...] (float32 for Quantize)
        The layer's inputs in order.

    Returns
    -------
    array [n, ...] of the output tensor's dtype

    Raises
    ------
    KeyError
        For Conv and Linear: their sums are formed elsewhere and finished by ``requantise``.
    """
    inputs = [network.tensors[name] for name in layer.inputs]
    return _BY_TYPE[type(layer)](layer, inputs, network.tensors[layer.output], arrays)


def _centred(codes: Array, zero_point: int) -> NDArray[np.int32]:
    return codes.astype(np.int32) - np.int32(zero_point)


def _is_scalar_first(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Return whether ONNX Runtime takes the first operand as the scalar of its inner loop.

    It does where the innermost axis that is not 1 in both operands is 1 in the first, and where
    a frame is one value. (For one value a frame it looks at the batch axis too and so depends on
    the batch size; here a frame's result is that of a batch of one.)
    """
    for size_a, size_b in zip(reversed(a), reversed(b), strict=True):
        if size_a != 1 or size_b != 1:
            return size_a == 1
    return True


def _params(tensor: Tensor) -> tuple[float, int]:
    return tensor.scale, tensor.zero_point


def _add_constant(
    layer: AddConstant, inputs: list[Tensor], y: Tensor, arrays: tuple[Array, ...]
) -> Array:
    constant, params = layer.constant[None], (layer.scale, layer.zero_point)
    if layer.is_first:
        return add(constant, arrays[0], params, _params(inputs[0]), y)
    return add(arrays[0], constant, _params(inputs[0]), params, y)


_BY_TYPE: dict[type, Callable[[Any, list[Tensor], Tensor, tuple[Array, ...]], Array]] = {
    MaxPool: lambda layer, x, y, a: max_pool(a[0], layer, (y.shape[1], y.shape[2])),
    GlobalAveragePool: lambda layer, x, y, a: global_average_pool(a[0], x[0], y),
    Add: lambda layer, x, y, a: add(a[0], a[1], _params(x[0]), _params(x[1]), y),
    AddConstant: _add_constant,
    Reshape: lambda layer, x, y, a: reshape(a[0], y.shape),
    Rescale: lambda layer, x, y, a: rescale(a[0], x[0], y, layer.low, layer.high),
    Quantize: lambda layer, x, y, a: quantize(a[0], y),
    Dequantize: lambda layer, x, y, a: dequantize(a[0], x[0]),
}
