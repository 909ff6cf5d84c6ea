"""Exact arithmetic of Softmax, on code arrays with a batch axis."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conversions import dequantize, saturate
from .network import Tensor

Array = NDArray[Any]

RESERVE = 5.0  # of ln(float32's maximum / terms), against overflow of the sum


def exponentials(scale: float, n_terms: int) -> NDArray[np.float32]:
    """Return exp of the 256 distances 255..0 below a largest code, times one common factor.

    The factor is as large as float32 sums of ``n_terms`` allow; it cancels in the quotient.

    Source: ONNX Runtime, qlinear_softmax.cc, QlinearBuildLookupTableUint32.
    """
    bits = float(np.log(np.finfo(np.float32).max / np.float32(n_terms)))
    shift = max(0.0, bits - RESERVE) / scale
    with np.errstate(over="ignore"):
        return np.array([math.exp((i - 255 + shift) * scale) for i in range(256)], np.float32)


def softmax(codes: Array, axis: int, x: Tensor, y: Tensor) -> Array:
    """Return the quantised softmax along an axis of ``codes``.

    Terms and their sum, from the first, are float32; the quotient is taken, in float64, of the
    term times floor(1 / scale of y), and the zero point is added after rounding. Results saturate.

    This is what ONNX Runtime 1.32 gives. Up to 1.31 it took product and quotient in float32: some
    results at ties differ by 1, and where the product overflows (a scale of y below
    1 / (148 * terms): in practice a single term) it casts infinity to an integer.
    """
    table = exponentials(x.scale, codes.shape[axis])
    wide = codes.astype(np.int32)
    terms = table[255 - (wide.max(axis=axis, keepdims=True) - wide)]
    # accumulate adds in order, where sum would add in pairs
    sums = np.take(np.add.accumulate(terms, axis=axis), [-1], axis=axis)
    factor = np.floor(np.float32(1) / np.float32(y.scale))
    quotient = terms.astype(np.float64) * factor / sums
    return saturate(np.rint(quotient) + y.zero_point, y)


def float_softmax(codes: Array, axis: int, x: Tensor) -> NDArray[np.float32]:
    """Return the softmax of the real values in float32, computed in float64."""
    real = dequantize(codes, x).astype(np.float64)
    terms = np.exp(real - real.max(axis=axis, keepdims=True))
    result: NDArray[np.float32] = (terms / terms.sum(axis=axis, keepdims=True)).astype(np.float32)
    return result
