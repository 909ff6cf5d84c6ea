"""Expected cycles of sparse windows: the slowest of some lanes with binomial numbers of pairs."""

from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

MOST_POSITIONS = 1024
"""Longer windows count as having the same cycles a position as one of this length."""

Table = NDArray[np.float64]


@cache
def slowest(share: float, lanes: int, positions: int, empty_cycles: int) -> Table:
    """Return what windows of up to some positions a lane are expected to take.

    The lanes' numbers of pairs are binomial and independent of each other; so
    ``E[max] = sum over k of (1 - F(k)^lanes)``.

    Parameters
    ----------
    share : float
        Of the positions that are pairs.
    lanes : int
        That have positions.
    positions : int
        Most positions of a lane.
    empty_cycles : int
        ``sparsity.empty_window_cycles``.

    Returns
    -------
    float64[3, positions + 1]
        Mean and variance of the cycles, and the share of windows that have a pair; by positions.

    Notes
    -----
    Source: `docs/flexnn-cycles.md`, section 5.
    """
    found = np.zeros((3, positions + 1))
    chances = np.zeros(positions + 1)
    chances[0] = 1.0
    odd = 2 * np.arange(positions + 1) + 1
    for w in range(1, positions + 1):
        chances[1 : w + 1] = chances[1 : w + 1] * (1 - share) + chances[:w] * share
        chances[0] *= 1 - share
        beyond = 1 - np.minimum(np.cumsum(chances[: w + 1]), 1) ** lanes
        beyond[w] = 0
        some = float(beyond[0])
        mean = float(beyond.sum()) + (1 - some) * empty_cycles
        square = float((odd[: w + 1] * beyond).sum()) + (1 - some) * empty_cycles
        found[:, w] = mean, max(square - mean * mean, 0), some
    found.flags.writeable = False
    return found


def shared_activations(
    shares: tuple[float, float], lanes: int, positions: int, empty_cycles: int
) -> Table:
    """Return `slowest` of lane mode ``mxm``, whose lanes share their activations.

    Of w positions, w times the share of activations are left to the weights (between whole
    numbers: linear); the variance of what is left is added.

    Parameters
    ----------
    shares : (float, float)
        Of activations and weights that are not skipped.
    lanes, positions, empty_cycles
        As in `slowest`.
    """
    of_weights = slowest(shares[1], lanes, positions, empty_cycles)
    if shares[0] == 1:
        return of_weights
    w = np.arange(positions + 1)
    kept = shares[0] * w
    low = np.floor(kept).astype(np.int64)
    part = kept - low
    high = np.minimum(low + 1, positions)
    found = np.array(of_weights[:, low] * (1 - part) + of_weights[:, high] * part)
    found[1] += kept * (1 - shares[0]) * shares[1] ** 2
    none = (1 - shares[0]) ** w
    found[0] = np.maximum(found[0], kept * shares[1] + none * empty_cycles)
    found[2] = np.minimum(found[2], 1 - none)
    found.flags.writeable = False
    return found


@cache
def expected_maxima(n: int) -> Table:
    """Return the expected largest of 0, 1 .. n standard normal numbers, by Blom's formula.

    Source: G. Blom, "Statistical Estimates and Transformed Beta-Variables" (1958).

    Returns
    -------
    float64[n + 1]
    """
    normal = NormalDist()
    found = [0.0, 0.0]
    found += [normal.inv_cdf((i - 0.375) / (i + 0.25)) for i in range(2, n + 1)]
    return np.array(found[: n + 1])
