"""Weight rows: what one read of a PE's weight SRAM brings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ...models.network import Conv, Linear
from ..shape import ConvShape
from .mapping import Mapping

NO_SLOT = -1


@dataclass(frozen=True)
class Rows:
    """A layer's weight rows, sorted by PE, channel of the PE, phase, filter group and position.

    Parameters
    ----------
    first : int64[n_pes + 1]
        Rows of each PE.
    pointer_first : int64[n_pes + 1]
        Pointers of each PE.
    pointer : int64[n_pointers + 1]
        Rows of (channel of the PE, phase).
    place : int32[n_rows, positions, 4]
        Tap in y, tap in x, first filter slot of the PE (-1 for no such position), filters.
    weight : int16[n_rows, positions, filters]
    effectual : int32[n_rows, positions]
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


def _runs(mapping: Mapping, n_y: int, n_x: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the taps of each row of a phase with n_y x n_x taps: tiles, or runs in raster order."""
    if mapping.is_linear:
        taps = [(y, x) for y in range(n_y) for x in range(n_x)]
        for at in range(0, len(taps), mapping.modules):
            yield taps[at : at + mapping.modules]
        return
    a, b = mapping.tile
    for first_y in range(0, n_y, a):
        for first_x in range(0, n_x, b):
            tile = [(first_y + i // b, first_x + i % b) for i in range(a * b)]
            yield [(y, x) if y < n_y and x < n_x else (NO_SLOT, NO_SLOT) for y, x in tile]


def _cut(
    mapping: Mapping, weight: NDArray[np.int16]
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.int16]]]:
    """Yield phase, taps int32[positions, 2] and weights int16[groups, channels, positions, F]."""
    shape, positions = mapping.shape, mapping.row_positions
    size = (len(mapping.groups), weight.shape[1])
    filled = np.zeros((*size, *shape.window.kernel, mapping.filters), np.int16)
    for i, group in enumerate(mapping.groups):
        part = weight[group.first : group.first + group.size]
        filled[i, ..., : group.size] = part.transpose(1, 2, 3, 0)
    for phase_y in range(shape.window.strides[0]):
        for phase_x in range(shape.window.strides[1]):
            rows = _phase_taps(shape, 0, phase_y)
            columns = _phase_taps(shape, 1, phase_x)
            for run in _runs(mapping, len(rows), len(columns)):
                taps = np.full((positions, 2), NO_SLOT, np.int32)
                taps[: len(run)] = run
                block = np.zeros((*size, positions, mapping.filters), np.int16)
                for i, (y, x) in enumerate(run):
                    if y != NO_SLOT:
                        block[:, :, i] = filled[:, :, rows[y], columns[x]]
                yield phase_y * shape.window.strides[1] + phase_x, taps, block


def _group_rank(mapping: Mapping) -> NDArray[np.int64]:
    rank = np.full((mapping.n_pes, mapping.shape.groups), -1, np.int64)
    for group in mapping.groups:
        if rank[group.pe, group.conv_group] < 0:
            rank[group.pe, group.conv_group] = rank[group.pe].max() + 1
    return rank


def weight_rows(
    mapping: Mapping, weight: NDArray[np.int16], keep_zero: bool, first_channel: int = 0
) -> Rows:
    """Cut a layer's weights into rows.

    Parameters
    ----------
    mapping : Mapping
    weight : int16[k, channels, r, s]
        Weights less their zero points, of some channels of each convolution group.
    keep_zero : bool
        Also store rows that are all zero.
    first_channel : int
        The first of those channels; pointers are of all channels.
    """
    channels, window = mapping.shape.group_channels, mapping.shape.window
    rank = _group_rank(mapping)
    pe, number, size = np.array(
        [(group.pe, group.number, group.size) for group in mapping.groups]
    ).T
    base = np.array([rank[group.pe, group.conv_group] * channels for group in mapping.groups])
    keys, taps, data = [], [], []
    for tile, (phase, of_tile, block) in enumerate(_cut(mapping, weight)):
        of, channel = np.nonzero(block.any(axis=(2, 3)) | keep_zero)
        key = (pe[of], base[of] + first_channel + channel, phase, number[of], tile, size[of])
        keys.append(np.stack(np.broadcast_arrays(*key)))
        taps.append(of_tile)
        data.append(block[of, channel])
    keyed = np.concatenate(keys, axis=1)
    order = np.lexsort(tuple(keyed[:5][::-1]))
    of_pe, at_channel, phase_of, of_group, tile_of, of_size = keyed[:, order]
    weights = np.concatenate(data)[order]
    place = np.empty((*weights.shape[:2], 4), np.int32)
    place[..., :2] = np.array(taps)[tile_of]
    slot = (of_group * mapping.filters)[:, None]
    place[..., 2] = np.where(place[..., 0] == NO_SLOT, NO_SLOT, slot)
    place[..., 3] = of_size[:, None]
    n_phases = window.strides[0] * window.strides[1]
    pointer_first = np.concatenate([[0], np.cumsum((rank.max(axis=1) + 1) * channels * n_phases)])
    at = pointer_first[of_pe] + at_channel * n_phases + phase_of
    return Rows(
        first=np.searchsorted(of_pe, np.arange(mapping.n_pes + 1)),
        pointer_first=pointer_first,
        pointer=np.searchsorted(at, np.arange(pointer_first[-1] + 1)),
        place=place,
        weight=weights,
        effectual=np.count_nonzero(weights, axis=2).astype(np.int32),
        group_rank=rank,
    )


def row_counts(mapping: Mapping, layer: Conv | Linear, keep_zero: bool) -> NDArray[np.int64]:
    """Return int64[filter groups, channels of a convolution group]: weight rows that are stored.

    With packed weights there may be fewer.
    """
    window, point = mapping.shape.window, layer.weight_zero_point
    channels = mapping.shape.group_channels
    counts = np.zeros((len(mapping.groups), channels), np.int64)
    phases = [
        [_phase_taps(mapping.shape, axis, phase) for phase in range(window.strides[axis])]
        for axis in (0, 1)
    ]
    for i, group in enumerate(mapping.groups):
        part = slice(group.first, group.first + group.size)
        kept = layer.weight[part] != point[part].reshape(-1, *[1] * (layer.weight.ndim - 1))
        is_kept = kept.any(axis=0).reshape(channels, *window.kernel)
        for rows, columns in product(*phases):
            for run in _runs(mapping, len(rows), len(columns)):
                taps = [(rows[y], columns[x]) for y, x in run if y != NO_SLOT]
                y, x = np.array(taps).T
                counts[i] += is_kept[:, y, x].any(axis=1) | keep_zero
    return counts


def packed(rows: Rows) -> Rows:
    """Return the rows with their non-zero weights packed: each weight a position of its own."""
    row, position, lane = np.nonzero(rows.weight)
    width = rows.weight.shape[1] * rows.weight.shape[2]
    of_row = np.repeat(np.arange(len(rows.pointer) - 1), np.diff(rows.pointer))
    pointer = of_row[row]
    first = np.searchsorted(pointer, np.arange(len(rows.pointer)))
    rank = np.arange(len(row)) - first[pointer]
    n_rows = -(-np.diff(first) // width)
    base = np.concatenate([[0], np.cumsum(n_rows)])
    at = base[pointer] + rank // width, rank % width
    place = np.full((base[-1], width, 4), (NO_SLOT, NO_SLOT, NO_SLOT, 0), np.int32)
    old = rows.place[row, position]
    place[at] = np.stack([old[:, 0], old[:, 1], old[:, 2] + lane, np.ones_like(lane)], axis=1)
    weight = np.zeros((base[-1], width, 1), np.int16)
    weight[*at, 0] = rows.weight[row, position, lane]
    return replace(
        rows,
        first=base[rows.pointer_first],
        pointer=base,
        place=place,
        weight=weight,
        effectual=(weight[..., 0] != 0).astype(np.int32),
    )
