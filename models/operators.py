"""Exact arithmetic of every layer except Conv and Linear, on code arrays with a batch axis."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conversions import dequantize, fma, quantize, rescale, saturate
from .network import (
    Add,
    AddConstant,
    AveragePool,
    Concat,
    Dequantize,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Mul,
    MulConstant,
    Network,
    Quantize,
    Rescale,
    Reshape,
    Softmax,
    Tensor,
    Transpose,
)
from .pooling import average_pool, global_average_pool, max_pool
from .softmax import float_softmax, softmax

Array = NDArray[Any]


def reshape(codes: Array, shape: tuple[int, ...]) -> Array:
    """Return the same codes with another shape behind the batch axis."""
    return codes.reshape(codes.shape[0], *shape)


def transpose(codes: Array, permutation: tuple[int, ...]) -> Array:
    """Return the same codes in another order of the axes behind the batch axis."""
    return np.ascontiguousarray(codes.transpose(0, *(axis + 1 for axis in permutation)))


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


def multiply(
    a: Array, b: Array, a_params: tuple[float, int], b_params: tuple[float, int], y: Tensor
) -> Array:
    """Return the requantised product of two code arrays; parameters are those of ``add``.

    Unlike the sum's, this product and the zero point are added with two roundings.

    Source: ONNX Runtime, qlmul.cpp, MlasQLinearMulVectorS16.
    """
    ratio = (np.float32(a_params[0]) * np.float32(b_params[0])) / np.float32(y.scale)
    product = (a.astype(np.int32) - a_params[1]) * (b.astype(np.int32) - b_params[1])
    total = np.rint(product.astype(np.float32) * ratio + np.float32(y.zero_point))
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


def _elementwise(
    layer: Add | AddConstant | Mul | MulConstant,
    inputs: list[Tensor],
    y: Tensor,
    arrays: tuple[Array, ...],
) -> Array:
    operands = list(zip(arrays, inputs, strict=True))
    if isinstance(layer, AddConstant | MulConstant):
        codes = layer.constant
        tensor = Tensor(layer.name, codes.shape, codes.dtype.name, layer.scale, layer.zero_point)
        is_first = isinstance(layer, AddConstant) and layer.is_first
        operands.insert(0 if is_first else 1, (codes[None], tensor))
    (a, x_a), (b, x_b) = operands
    if layer.is_clipped:
        combine = np.add if layer.op == "Add" else np.multiply
        real = combine(dequantize(a, x_a), dequantize(b, x_b))
        return quantize(np.clip(real, np.float32(layer.low), np.float32(layer.high)), y)
    operation = add if layer.op == "Add" else multiply
    return operation(a, b, _params(x_a), _params(x_b), y)


def _concat(layer: Concat, inputs: list[Tensor], y: Tensor, arrays: tuple[Array, ...]) -> Array:
    parts = [
        rescale(codes, x, y, layer.low, layer.high) for codes, x in zip(arrays, inputs, strict=True)
    ]
    return np.concatenate(parts, axis=layer.axis + 1)


def _softmax(layer: Softmax, inputs: list[Tensor], y: Tensor, arrays: tuple[Array, ...]) -> Array:
    if y.is_code:
        return softmax(arrays[0], layer.axis + 1, inputs[0], y)
    return float_softmax(arrays[0], layer.axis + 1, inputs[0])


_BY_TYPE: dict[type, Callable[[Any, list[Tensor], Tensor, tuple[Array, ...]], Array]] = {
    MaxPool: lambda layer, x, y, a: max_pool(a[0], layer, (y.shape[1], y.shape[2])),
    AveragePool: lambda layer, x, y, a: average_pool(
        a[0], layer, x[0], y, (y.shape[1], y.shape[2])
    ),
    GlobalAveragePool: lambda layer, x, y, a: global_average_pool(a[0], x[0], y),
    Add: _elementwise,
    AddConstant: _elementwise,
    Mul: _elementwise,
    MulConstant: _elementwise,
    Concat: _concat,
    Reshape: lambda layer, x, y, a: reshape(a[0], y.shape),
    Transpose: lambda layer, x, y, a: transpose(a[0], layer.permutation),
    Softmax: _softmax,
    Rescale: lambda layer, x, y, a: rescale(a[0], x[0], y, layer.low, layer.high),
    Quantize: lambda layer, x, y, a: quantize(a[0], y),
    Dequantize: lambda layer, x, y, a: dequantize(a[0], x[0]),
}
