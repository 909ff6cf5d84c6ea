"""Codes to real values and back, and the float32 operation with one rounding."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import Tensor

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
    return centred(codes, x.zero_point).astype(np.float32) * np.float32(x.scale)


def rescale(codes: Array, x: Tensor, y: Tensor, low: float, high: float) -> Array:
    """Dequantise, clip in float32 to low..high, quantise."""
    real = np.clip(dequantize(codes, x), np.float32(low), np.float32(high))
    return quantize(real, y)


def centred(codes: Array, zero_point: int) -> NDArray[np.int32]:
    """Return codes less the zero point."""
    return codes.astype(np.int32) - np.int32(zero_point)
