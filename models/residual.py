"""Calibration of an addition: bias of the convolution before it, and the scales of both outputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import PEAK_CODE, centred, flat_error, peak, thresholds
from .network import Tensor
from .operators import add
from .requantise import requantise

Array = NDArray[Any]

MIDDLE = 128
"""Zero point of uint8 codes behind a layer without ReLU."""

_NEVER = 2**31  # more than any sum


@dataclass(frozen=True)
class Residual:
    """What turns a convolution's sums and a shortcut into the codes of their sum.

    Parameters
    ----------
    bias : int32[k]
    multiplier : np.float32
        The convolution's.
    branch, total : Tensor
        Outputs of the convolution and of the addition.
    """

    bias: NDArray[np.int32]
    multiplier: np.float32
    branch: Tensor
    total: Tensor


def calibrate_residual(
    names: tuple[str, str],
    x: Tensor,
    sums: NDArray[np.int32],
    shortcut: Tensor,
    codes: Array,
    share: float | None,
) -> Residual:
    """Choose bias and scales so that the target share fires behind addition and ReLU.

    The weights' scale is the one with which the branch, its channels' means removed, is as large as
    the shortcut: both have their 99.9th percentile 127 of the shortcut's steps from the zero point.
    With a target, a bias per channel shifts the sum, and the scales follow from the shifted values;
    then the bias is settled on the codes themselves, each rounded as it will be.

    Parameters
    ----------
    names : (str, str)
        Of the convolution and of the addition.
    x : Tensor
        The convolution's input.
    sums : int32[k, h, w]
        Without bias.
    shortcut : Tensor
    codes : uint8[k, h, w]
        The shortcut's.
    share : float, optional
        Target density of the sum's codes, whose range is the ReLU; None without ReLU.

    Raises
    ------
    ModelError
        If no sum differs from the others, so that none can be above a threshold.
    """
    found = centred(sums)
    size = found.peak
    weight_scale = np.float32(PEAK_CODE * shortcut.scale / (size * x.scale))
    product = np.float32(x.scale) * weight_scale
    bias = found.bias
    # the sum in steps of shortcut.scale / size
    shifted = sums.astype(np.int64) + bias[:, None, None]
    total = shifted * PEAK_CODE + (codes.astype(np.int64) - shortcut.zero_point) * size
    if share is None:
        most, point = peak(np.abs(total)), MIDDLE
    else:
        levels = thresholds(total.reshape(total.shape[0], -1), share)
        bias = bias - (levels // PEAK_CODE).astype(np.int32)
        most, point = peak(total - levels[:, None, None]), 0
        size = max(1, peak(np.abs(sums.astype(np.int64) + bias[:, None, None])))
    if not most:
        raise flat_error(names[0])
    branch = Tensor(
        f"{names[0]}_out", sums.shape, "uint8", float(product) * size / PEAK_CODE, MIDDLE
    )
    scale = shortcut.scale * most / (found.peak * PEAK_CODE)
    y = Tensor(f"{names[1]}_out", sums.shape, "uint8", scale, point)
    multiplier = np.float32(product / np.float32(branch.scale))
    if share is not None:
        bias = _settled(sums, multiplier, branch, shortcut, codes, y, share)
    return Residual(bias, multiplier, branch, y)


def _settled(
    sums: NDArray[np.int32],
    multiplier: np.float32,
    branch: Tensor,
    shortcut: Tensor,
    codes: Array,
    y: Tensor,
    share: float,
) -> NDArray[np.int32]:
    """Return the bias with which the target share of the sum's codes is above the zero point.

    A value fires where the convolution's sum with bias reaches the least one that does so beside
    the shortcut's code; by how much a sum lacks it, or has more, is what the threshold is set on.
    """
    needed = _least_sums(multiplier, branch)[_least_codes(branch, shortcut, y)[codes]]
    levels = thresholds((sums - needed).reshape(sums.shape[0], -1), share)
    return np.clip(-(levels + 1), -(2**30), 2**30).astype(np.int32)


def _least_codes(branch: Tensor, shortcut: Tensor, y: Tensor) -> NDArray[np.int64]:
    """Return for each code of the shortcut the least one of the branch that fires; 256: none."""
    every = np.arange(256, dtype=np.uint8)
    b, a = np.meshgrid(every, every, indexing="ij")
    params = (branch.scale, branch.zero_point), (shortcut.scale, shortcut.zero_point)
    fires = add(a[None], b[None], *params, y)[0] > y.zero_point
    return np.where(fires.any(axis=1), fires.argmax(axis=1), 256)


def _least_sums(multiplier: np.float32, branch: Tensor) -> NDArray[np.int64]:
    """Return for each code 0..256 the least int32 sum that gives it or a larger one."""
    wanted = np.arange(257)
    low, high = np.full(257, -_NEVER, np.int64), np.full(257, _NEVER, np.int64)
    factor = np.asarray([multiplier])
    while (high - low > 1).any():
        middle = (low + high) // 2
        codes = requantise(middle[None].astype(np.int32), factor, branch.zero_point, 0, 255)[0]
        is_enough = codes >= wanted
        high = np.where(is_enough, middle, high)
        low = np.where(is_enough, low, middle)
    high[0] = -_NEVER  # any sum gives the least code
    return high
