"""The entries of a tensor: the values that differ from the zero point."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[Any]
"""int8 or uint8 of any shape."""
Mask = NDArray[np.bool_]
ZeroPoint = int | NDArray[Any]
"""A code, or codes that broadcast to the tensor's shape, such as those of weights, [k, 1, 1, 1]."""


def entries(codes: Codes, zero_point: ZeroPoint) -> Mask:
    """Return which values of a tensor are entries.

    Parameters
    ----------
    codes : int8 or uint8 array
    zero_point : int or integer array that broadcasts to the shape of codes

    Returns
    -------
    bool array of the shape of codes

    Raises
    ------
    ValueError
        When codes are of another type or empty, or the zero point is no code of their type.
    """
    if codes.dtype not in (np.int8, np.uint8):
        raise ValueError(f"codes: must be int8 or uint8, got {codes.dtype}")
    if not codes.size:
        raise ValueError(f"codes: must have at least one value, got shape {codes.shape}")
    limits, points = np.iinfo(codes.dtype), np.asarray(zero_point)
    if points.min() < limits.min or points.max() > limits.max:
        raise ValueError(f"zero_point: must be {limits.min}..{limits.max}, got {zero_point}")
    differs: Mask = codes != np.broadcast_to(points, codes.shape)
    return differs


def without_entries(shape: tuple[int, ...], dtype: Any, zero_point: ZeroPoint) -> Codes:
    """Return a tensor that is its zero point everywhere, for decoders to put entries into.

    Parameters
    ----------
    shape : tuple of int
    dtype : int8 or uint8
    zero_point : int or integer array that broadcasts to shape
    """
    codes: Codes = np.empty(shape, dtype)
    codes[...] = zero_point
    return codes
