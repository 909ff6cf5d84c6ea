"""Weight rows: what one read of a PE's weight SRAM brings."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .mapping import Mapping
from .shape import ConvShape


@dataclass(frozen=True)
class Rows:
    """A layer's weight rows, sorted by PE, channel of the PE, phase, filter group and tile.

    Parameters
    ----------
    first : int64[n_pes + 1]
        Rows of each PE.
    pointer_first : int64[n_pes + 1]
        Pointers of each PE.
    pointer : int64[n_pointers + 1]
        Rows of (channel of the PE, phase).
    place : int32[n_rows, 3]
        Filter group of the PE, first tap in y, first tap in x.
    weight : int16[n_rows, A*B, F]
    effectual : int32[n_rows, A*B]
        Weights that differ from zero.
    group_rank : int64[n_pes, convolution groups]
        Which of the PE's convolution groups it is; -1 for none.
    """

    first: NDArray[np.int64]
    pointer_first: NDArray[np.int64]
    pointer: NDArray[np.int64]
    place: NDArray[np.int32]
    weight: NDArray[np.int16]
    effectual: NDArray[np.int32]
    group_rank: NDArray[np.int64]


def _phase_taps(shape: ConvShape, axis: int, phase: int) -> list[int]:
    s, d = shape.window.strides[axis], shape.window.dilations[axis]
    return [k for k in range(shape.window.kernel[axis]) if (k * d) % s == phase]


def _tiles(
    shape: ConvShape, tile: tuple[int, int]
) -> Iterator[tuple[int, int, int, list[int], list[int]]]:
    """Yield (phase, first tap y, first tap x, kernel rows, kernel columns) of each tile."""
    for phase_y in range(shape.window.strides[0]):
        for phase_x in range(shape.window.strides[1]):
            rows = _phase_taps(shape, 0, phase_y)
            columns = _phase_taps(shape, 1, phase_x)
            for y in range(0, len(rows), tile[0]):
                for x in range(0, len(columns), tile[1]):
                    phase = phase_y * shape.window.strides[1] + phase_x
                    yield phase, y, x, rows[y : y + tile[0]], columns[x : x + tile[1]]


def _cut(
    mapping: Mapping, weight: NDArray[np.int16]
) -> Iterator[tuple[tuple[int, int, int], NDArray[np.int16]]]:
    """Yield (phase, first tap y, first tap x) and int16[groups, channels, A*B, F] of each tile."""
    shape, (a, b) = mapping.shape, mapping.tile
    size = (len(mapping.groups), shape.group_channels)
    filled = np.zeros((*size, *shape.window.kernel, mapping.filters), np.int16)
    for i, group in enumerate(mapping.groups):
        part = weight[group.first : group.first + group.size]
        filled[i, ..., : group.size] = part.transpose(1, 2, 3, 0)
    for phase, y, x, rows, columns in _tiles(shape, mapping.tile):
        block = np.zeros((*size, a, b, mapping.filters), np.int16)
        block[:, :, : len(rows), : len(columns)] = filled[:, :, rows][:, :, :, columns]
        yield (phase, y, x), block.reshape(*size, a * b, mapping.filters)


def _group_rank(mapping: Mapping) -> NDArray[np.int64]:
    rank = np.full((mapping.n_pes, mapping.shape.groups), -1, np.int64)
    for group in mapping.groups:
        if rank[group.pe, group.conv_group] < 0:
            rank[group.pe, group.conv_group] = rank[group.pe].max() + 1
    return rank


def weight_rows(mapping: Mapping, weight: NDArray[np.int16], keep_zero: bool) -> Rows:
    """Cut a layer's weights into rows.

    Parameters
    ----------
    mapping : Mapping
    weight : int16[k, c/groups, r, s]
        Weights less their zero points.
    keep_zero : bool
        Also store rows that are all zero.
    """
    channels, window = mapping.shape.group_channels, mapping.shape.window
    rank = _group_rank(mapping)
    pe = np.array([group.pe for group in mapping.groups])
    number = np.array([group.number for group in mapping.groups])
    base = np.array([rank[group.pe, group.conv_group] * channels for group in mapping.groups])
    keys, data = [], []
    for (phase, y, x), block in _cut(mapping, weight):
        of, channel = np.nonzero(block.any(axis=(2, 3)) | keep_zero)
        key = (pe[of], base[of] + channel, phase, number[of], y, x)
        keys.append(np.stack(np.broadcast_arrays(*key)))
        data.append(block[of, channel])
    keyed = np.concatenate(keys, axis=1)
    order = np.lexsort(tuple(keyed[::-1]))
    rows = np.concatenate(data)[order]
    of_pe, at_channel, of_phase = keyed[:3, order]
    n_phases = window.strides[0] * window.strides[1]
    n_pointers = (rank.max(axis=1) + 1) * channels * n_phases
    pointer_first = np.concatenate([[0], np.cumsum(n_pointers)])
    at = pointer_first[of_pe] + at_channel * n_phases + of_phase
    return Rows(
        first=np.searchsorted(of_pe, np.arange(mapping.n_pes + 1)),
        pointer_first=pointer_first,
        pointer=np.searchsorted(at, np.arange(pointer_first[-1] + 1)),
        place=keyed[3:, order].T.astype(np.int32),
        weight=rows,
        effectual=np.count_nonzero(rows, axis=2).astype(np.int32),
        group_rank=rank,
    )
