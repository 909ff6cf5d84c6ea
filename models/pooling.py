"""Exact arithmetic of the pools, on code arrays with a batch axis."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conversions import Float, centred, dequantize, saturate
from .network import AveragePool, MaxPool, Tensor

Array = NDArray[Any]


def max_pool(codes: Array, layer: MaxPool, size: tuple[int, int]) -> Array:
    """Return window maxima as [n, c, *size]; windows may hang over the lower and right edge."""
    lowest = np.iinfo(codes.dtype).min
    result = np.full((*codes.shape[:2], *size), lowest, codes.dtype)
    for tap in _taps(codes, layer, size, lowest):
        np.maximum(result, tap, out=result)
    return result


def average_pool(
    codes: Array, layer: AveragePool, x: Tensor, y: Tensor, size: tuple[int, int]
) -> Array:
    """Return requantised window means as [n, c, *size].

    Dequantised values are added in float32, row by row; padding adds nothing. The zero point is
    added before rounding. A window that is the whole frame, unpadded, is a global mean.

    Source: ONNX Runtime, qlinear_pool.cc, QLinearAveragePool.
    """
    if layer.kernel == codes.shape[2:] and not any(layer.pads):
        return global_average_pool(codes, x, y)
    sums = _sums(dequantize(codes, x), layer, size)
    counts = np.asarray(np.float32(layer.kernel[0] * layer.kernel[1]))
    if not layer.counts_padding:
        counts = _sums(np.ones((1, 1, *codes.shape[2:]), np.float32), layer, size)
    means = (sums / counts) / np.float32(y.scale) + np.float32(y.zero_point)
    return saturate(np.rint(means), y)


def global_average_pool(codes: Array, x: Tensor, y: Tensor) -> Array:
    """Return the requantised mean over height and width as [n, c, 1, 1]."""
    sums = centred(codes, x.zero_point).sum(axis=(2, 3), keepdims=True, dtype=np.int64)
    count = np.float32(codes.shape[2] * codes.shape[3])
    factor = np.float32(x.scale) / (np.float32(y.scale) * count)
    scaled = np.rint(sums.astype(np.int32).astype(np.float32) * factor)
    bounded = np.clip(scaled, y.low - y.zero_point, y.high - y.zero_point)
    return saturate(bounded.astype(np.int32) + y.zero_point, y)


def _sums(values: Float, layer: AveragePool, size: tuple[int, int]) -> Float:
    sums = np.zeros((*values.shape[:2], *size), np.float32)
    for tap in _taps(values, layer, size, 0):
        sums += tap
    return sums


def _taps(
    values: Array, layer: MaxPool | AveragePool, size: tuple[int, int], padding: int
) -> Iterator[Array]:
    """Yield for each kernel position, row by row, the value that each window has there."""
    n, c, h, w = values.shape
    top, left, _, _ = layer.pads
    spans = [
        (count - 1) * stride + dilation * (kernel - 1) + 1
        for count, stride, dilation, kernel in zip(
            size, layer.strides, layer.dilations, layer.kernel, strict=True
        )
    ]
    frame = (max(spans[0], top + h), max(spans[1], left + w))
    padded = np.full((n, c, *frame), padding, values.dtype)
    padded[:, :, top : top + h, left : left + w] = values
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            y, x = ky * layer.dilations[0], kx * layer.dilations[1]
            rows = slice(y, y + (size[0] - 1) * layer.strides[0] + 1, layer.strides[0])
            columns = slice(x, x + (size[1] - 1) * layer.strides[1] + 1, layer.strides[1])
            yield padded[:, :, rows, columns]
