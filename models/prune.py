"""Structured pruning by weight row: one input channel, one filter group, one kernel tile.

A weight row is what a PE reads in one cycle. It feeds all multipliers at once, so a multiplier
skips zero weights only where whole rows are gone.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULES = ("balanced", "random")


@dataclass(frozen=True)
class Rows:
    """The weight rows of a layer.

    Parameters
    ----------
    row : int64[k, c/groups, r, s]
        Number of the row that holds each weight.
    pe : int64[n_rows]
        PE that holds the row.
    channel : int64[n_rows]
        Input channel of the row, counted over all convolution groups.
    """

    row: NDArray[np.int64]
    pe: NDArray[np.int64]
    channel: NDArray[np.int64]


def kernel_tiles(taps: int, run: int, stride: int, dilation: int) -> NDArray[np.int64]:
    """Return the tile of every kernel position along one axis.

    Position k has phase (k * dilation) mod stride and is tap k div u of it, with
    u = stride / gcd(stride, dilation); the taps of a phase are cut into runs.

    Parameters
    ----------
    taps : int
        Kernel size along the axis.
    run : int
        Largest number of taps in a tile.
    stride, dilation : int

    Returns
    -------
    int64[taps]
        Tile numbers from 0.
    """
    position = np.arange(taps)
    phase = position * dilation % stride
    tap = position // (stride // gcd(stride, dilation))
    pairs = np.stack([phase, tap // run], axis=1)
    tiles: NDArray[np.int64] = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return tiles


def filter_groups(
    filters: int, groups: int, filters_per_group: int, pes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Deal the filter groups of each convolution group to the PEs round robin.

    Each convolution group starts at the PE where the previous one ended.

    Returns
    -------
    int64[filters], int64[n_filter_groups]
        Filter group of every filter, and PE of every filter group.
    """
    per_group = filters // groups
    local = np.arange(per_group) // filters_per_group
    count = int(local[-1]) + 1
    of_filter = (np.arange(groups)[:, None] * count + local).reshape(-1)
    return of_filter, np.arange(groups * count) % pes


def weight_rows(
    shape: tuple[int, ...],
    filters_per_group: int,
    tile: tuple[int, int],
    pes: int,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Rows:
    """Return the weight rows of a layer, numbered.

    Parameters
    ----------
    shape : (k, c/groups, r, s) or (k, n)
    filters_per_group : int
        F, filters in a row.
    tile : (A, B)
        Kernel rows and columns in a row, at most.
    pes : int
    strides, dilations : (y, x)
    groups : int

    Returns
    -------
    Rows

    Raises
    ------
    ValueError
        If a parameter is not positive, or the groups do not divide the filters.
    """
    c = shape[1]
    of_filter, tiles, pe = _grid(shape, filters_per_group, tile, pes, strides, dilations, groups)
    count = int(tiles.max()) + 1
    row = (of_filter[:, None] * c + np.arange(c))[:, :, None, None] * count + tiles
    return Rows(row.reshape(shape), *_holders(pe, groups, c, count))


def _grid(
    shape: tuple[int, ...],
    filters_per_group: int,
    tile: tuple[int, int],
    pes: int,
    strides: tuple[int, int],
    dilations: tuple[int, int],
    groups: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return filter group of each filter, tile of each kernel position, PE of each filter group."""
    if min(filters_per_group, *tile, pes, *strides, *dilations, groups, *shape) < 1:
        raise ValueError(
            f"weight_rows: sizes must be positive, got shape {shape}, F {filters_per_group}, "
            f"tile {tile}, pes {pes}, strides {strides}, dilations {dilations}, groups {groups}"
        )
    k, _, r, s = (*shape, 1, 1)[:4]
    if k % groups:
        raise ValueError(f"weight_rows.groups: must divide the {k} filters, got {groups}")
    of_filter, pe = filter_groups(k, groups, filters_per_group, pes)
    tile_y = kernel_tiles(r, tile[0], strides[0], dilations[0])
    tile_x = kernel_tiles(s, tile[1], strides[1], dilations[1])
    return of_filter, tile_y[:, None] * (int(tile_x.max()) + 1) + tile_x, pe


def _holders(
    pe: NDArray[np.int64], groups: int, channels: int, tiles: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return PE and input channel of every row."""
    first = np.arange(pe.size) // (pe.size // groups) * channels
    channel = np.repeat(first[:, None] + np.arange(channels), tiles, axis=1).reshape(-1)
    return np.repeat(pe, channels * tiles), channel


def prune_rows(
    weight: NDArray[Any],
    density: float | Fraction,
    filters_per_group: int,
    tile: tuple[int, int],
    pes: int,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    groups: int = 1,
    seed: int = 0,
    score: NDArray[Any] | None = None,
    rule: str = "balanced",
) -> NDArray[np.bool_]:
    """Choose the weight rows that stay.

    ``balanced``: per input channel, a PE with n rows keeps density * n of them; the fraction is
    carried to its next channel and dropped at the end of the layer. ``random``: density * n of
    the layer's n rows, wherever they lie.

    Parameters
    ----------
    weight : array [k, c/groups, r, s] or [k, n]
        Only its shape is read.
    density : float or Fraction
        Share of rows to keep, 0..1; a float means the decimal number it prints as.
    filters_per_group, tile, pes, strides, dilations, groups
        As in ``weight_rows``.
    seed : int
        Of the random choice; not used with a score.
    score : array like weight, optional
        Importance of each weight, at least 0 (``abs(weight)`` for the L1 norm): the rows with the
        largest sums stay, the first of equal ones.
    rule : {"balanced", "random"}

    Returns
    -------
    bool, shape of weight
        True where the weight stays.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """
    share = density if isinstance(density, Fraction) else Fraction(repr(float(density)))
    if not 0 <= share <= 1:
        raise ValueError(f"prune_rows.density: must be 0..1, got {density}")
    if rule not in RULES:
        raise ValueError(f"prune_rows.rule: must be one of {', '.join(RULES)}, got {rule!r}")
    if score is not None and score.shape != weight.shape:
        raise ValueError(
            f"prune_rows.score: must have the weight's shape {weight.shape}, got {score.shape}"
        )
    shape = tuple(weight.shape)
    of_filter, tiles, held = _grid(shape, filters_per_group, tile, pes, strides, dilations, groups)
    n_tiles = int(tiles.max()) + 1
    pe, channel = _holders(held, groups, shape[1], n_tiles)
    rank: NDArray[np.float64]
    if score is None:
        rank = np.random.default_rng(seed).permutation(pe.size).astype(np.float64)
    else:
        row = weight_rows(shape, filters_per_group, tile, pes, strides, dilations, groups).row
        sums = np.bincount(row.reshape(-1), score.reshape(-1).astype(np.float64), pe.size)
        rank = -sums.astype(np.float64)
    if rule == "random":
        is_kept = np.zeros(pe.size, np.bool_)
        is_kept[np.argsort(rank, kind="stable")[: int(share * pe.size)]] = True
    else:
        is_kept = _balanced(rank, pe, channel, share)
    # by filter group, then by filter: an index per weight would take eight times the weights
    of_group = is_kept.reshape(held.size, shape[1], n_tiles)[:, :, tiles]
    mask: NDArray[np.bool_] = of_group[of_filter].reshape(shape)
    return mask


def _balanced(
    rank: NDArray[np.float64], pe: NDArray[np.int64], channel: NDArray[np.int64], share: Fraction
) -> NDArray[np.bool_]:
    """Return the rows of least rank, as many of each (PE, channel) as ``prune_rows`` says."""
    pool = pe * (int(channel.max()) + 1) + channel
    order = np.argsort(rank, kind="stable")
    order = order[np.argsort(pool[order], kind="stable")]
    starts = np.flatnonzero(np.diff(pool[order], prepend=-1))
    stops = np.append(starts[1:], order.size)
    held = pe[order[starts]]
    first = starts[np.searchsorted(held, held)]  # of the PE's rows
    above, below = share.numerator, share.denominator
    until = [int(n) * above // below for n in stops - first]
    before = [int(n) * above // below for n in starts - first]
    count = np.array(until) - np.array(before)
    place = np.arange(order.size) - np.repeat(starts, stops - starts)
    is_kept = np.zeros(order.size, np.bool_)
    is_kept[order[place < np.repeat(count, stops - starts)]] = True
    return is_kept
