"""Bias and output scale of a layer from its sums on one image, so that a target density fires."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import ModelError

PEAK_CODE = 127
PEAK_SHARE = 0.999
_ROUNDS = 4  # of asking all channels for what equal values leave
_STEPS = 4  # the offset is at most 1/254 of the peak: each step brings them together 250 times


@dataclass(frozen=True)
class Calibration:
    """What turns a layer's sums into codes.

    Parameters
    ----------
    bias : int32[k]
    peak : int
        99.9th percentile of the positive sums with bias: it becomes code 127, or 255 of a clipped
        ReLU; behind a layer without ReLU that of all sizes: it is 127 codes from the zero point.
    """

    bias: NDArray[np.int32]
    peak: int


def density(codes: NDArray[Any]) -> float:
    """Return the share of codes that are not 0."""
    return np.count_nonzero(codes) / codes.size


def thresholds(pooled: NDArray[Any], share: float, has_ties: bool = False) -> NDArray[np.int64]:
    """Return a threshold per channel so that the target share of values lies above.

    Every channel whose values differ gets the same share; what rounding and equal values leave is
    carried to the next channel. Channels of one value fire all or nothing, at the end.

    Parameters
    ----------
    pooled : int32[k, n] or int64[k, n]
    share : float
        Above 0, at most 1.
    has_ties : bool
        Whether many values of a channel are equal, such as the zeros of a depth-wise layer and
        maxima of windows that overlap: what the last channel leaves is then shared among all that
        can take it.

    Returns
    -------
    int64[k]
    """
    values = np.sort(pooled, axis=1)
    channels, size = values.shape
    is_flat = values[:, 0] == values[:, -1]
    live = int(channels - is_flat.sum())
    wanted_in_all = int(Fraction(repr(float(share))) * values.size)
    result = np.zeros(channels, np.int64)
    reached = 0
    for number, k in enumerate(np.argsort(is_flat, kind="stable"), 1):
        due = wanted_in_all * min(number, live) // live if live else wanted_in_all
        wanted = min(size, due - reached)
        result[k], count = _level(values[k], wanted)
        reached += count
    for _ in range(_ROUNDS if has_ties else 0):
        reached += _topped_up(values, result, ~is_flat, wanted_in_all - reached)
    return result


def _level(values: NDArray[Any], wanted: int) -> tuple[int, int]:
    """Return the level above which at most so many of the sorted values lie, and how many do."""
    size = values.size
    level = int(values[size - 1 - wanted]) if wanted < size else int(values[0]) - 1
    return level, size - int(np.searchsorted(values, level, side="right"))


def _topped_up(
    values: NDArray[Any], levels: NDArray[np.int64], is_live: NDArray[np.bool_], missing: int
) -> int:
    """Lower the levels so that about so many more values lie above, never more; return the number.

    Every channel is asked for its share of what is still missing.
    """
    channels = np.flatnonzero(is_live)
    added = 0
    for place, k in enumerate(channels):
        before = values.shape[1] - int(np.searchsorted(values[k], levels[k], side="right"))
        asked = -(-(missing - added) // (channels.size - place))
        levels[k], count = _level(values[k], min(values.shape[1], before + asked))
        added += count - before
    return added


def thinned(values: NDArray[np.uint8], share: float, seed: int) -> NDArray[np.uint8]:
    """Return values less a threshold per channel, so that the target share of them is above 0.

    Parameters
    ----------
    values : uint8[c, h, w]
    share : float
        Above 0, at most 1.
    seed : int
        Of the order of equal values.

    Returns
    -------
    uint8[c, h, w]
    """
    order = np.random.default_rng(seed).permutation(values.size).reshape(values.shape)
    ranked = values.astype(np.int64) * values.size + order
    levels = thresholds(ranked.reshape(values.shape[0], -1), share).reshape(-1, 1, 1)
    above = np.where(ranked > levels, np.maximum(1, values - levels // values.size), 0)
    return np.minimum(above, 255).astype(np.uint8)


def peak(sums: NDArray[Any]) -> int:
    """Return the 99.9th percentile of the positive sums; 0 where there is none."""
    positive = sums[sums > 0]
    if not positive.size:
        return 0
    rank = min(positive.size - 1, int(PEAK_SHARE * positive.size))
    return int(np.partition(positive, rank)[rank])


def flat_error(name: str) -> ModelError:
    """Return the error of a layer none of whose sums differs from the others."""
    return ModelError(
        f"layer {name}: no output can be above the others; use a higher density of weights or "
        f"activations"
    )


def centred(sums: NDArray[np.int32]) -> Calibration:
    """Choose bias and peak of a layer without ReLU: every channel's mean is 0, rounded up.

    Parameters
    ----------
    sums : int32[k, ...]
        Without bias.
    """
    flat = sums.reshape(sums.shape[0], -1)
    bias = -(flat.sum(axis=1, dtype=np.int64) // flat.shape[1])
    return Calibration(bias.astype(np.int32), max(1, peak(np.abs(flat + bias[:, None]))))


def calibrate(
    name: str,
    sums: NDArray[np.int32],
    pooled: NDArray[np.int32],
    share: float,
    code: int = PEAK_CODE,
    has_ties: bool = False,
) -> Calibration:
    """Choose bias and peak of a layer with ReLU.

    A code is above 0 where sum times code / peak rounds above 0. The bias lifts each channel's
    threshold to the largest sum that still rounds to 0, which depends on the peak, which depends
    on the bias: a few steps settle both; the density is exact in any case.

    Parameters
    ----------
    name : str
        Of the layer, for messages.
    sums : int32[k, ...]
        Without bias.
    pooled : int32[k, ...]
        The maxima of the sums in the windows of the pool behind; the sums without one. With one
        value per channel (a fully connected layer) all channels share one threshold.
    share : float
        Target density of the pooled codes.
    code : int
        The code of the peak.
    has_ties : bool
        As in `thresholds`.

    Returns
    -------
    Calibration

    Raises
    ------
    ModelError
        If no sum differs from the others, so that none can be above a threshold.
    """
    flat = pooled.reshape(pooled.shape[0], -1)
    if flat.shape[1] == 1:
        levels = np.repeat(thresholds(flat.reshape(1, -1), share), flat.shape[0])
    else:
        levels = thresholds(flat, share, has_ties)
    above = sums.astype(np.int32) - levels.astype(np.int32).reshape(-1, *[1] * (sums.ndim - 1))
    offset = highest = 0
    for _ in range(_STEPS):
        highest = peak(above[above > -offset] + np.int32(offset))
        if not highest:
            raise flat_error(name)
        highest += highest % (2 * code) == 0  # no sum may lie on the tie between 0 and 1
        offset = highest // (2 * code)
    return Calibration((offset - levels).astype(np.int32), highest)
