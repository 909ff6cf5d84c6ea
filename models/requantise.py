"""From int32 sums to 8-bit codes, bit for bit as ONNX Runtime does it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def requantise(
    acc: NDArray[np.int32],
    multiplier: NDArray[np.float32],
    zero_point: int,
    low: int,
    high: int,
    axis: int = 0,
) -> NDArray[np.int32]:
    """Turn sums (bias included) into codes.

    The sum is converted to float32, multiplied in float32, clipped, rounded half to even and
    shifted by the zero point. Clipping to the fused range before rounding equals clipping to the
    type's range before and to the fused range after it, because all four bounds are integers.

    Parameters
    ----------
    acc : int32[..., k, ...]
        Sum of products plus bias; k lies on ``axis``.
    multiplier : float32[k]
    zero_point : int
        Zero point of the output.
    low, high : int
        Code range of the output, after a fused Relu or Clip.
    axis : int
        Axis of ``acc`` along which the multiplier runs.

    Returns
    -------
    int32, shape of acc
        Codes in low..high; cast them to the output's type without loss.
    """
    shape = [1] * acc.ndim
    shape[axis] = multiplier.size
    with np.errstate(over="ignore"):
        scaled = acc.astype(np.float32) * multiplier.reshape(shape)
    bounded = np.clip(scaled, np.float32(low - zero_point), np.float32(high - zero_point))
    rounded: NDArray[np.int32] = np.rint(bounded).astype(np.int32)
    return rounded + np.int32(zero_point)


def apply_threshold(codes: NDArray[Any], zero_point: int, threshold: int) -> NDArray[Any]:
    """Replace codes that exceed the zero point by at most ``threshold`` with the zero point.

    Parameters
    ----------
    codes : integer array
        Outputs of a layer with ReLU: no code lies below the zero point.
    zero_point : int
    threshold : int
        In codes; 0 changes nothing.

    Returns
    -------
    array of the dtype of codes
    """
    if threshold < 0:
        raise ValueError(f"apply_threshold.threshold: must be 0 or more, got {threshold}")
    small = codes.astype(np.int32) - zero_point <= threshold
    return np.where(small, codes.dtype.type(zero_point), codes)
