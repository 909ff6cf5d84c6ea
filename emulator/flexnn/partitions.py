"""Partitions of a layer over the array: those of the candidate set; `docs/flexnn-schedule.md`."""

from itertools import combinations, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from .dims import REDUCTION, Dim, LayerDims
from .estimate import lane_dim
from .machine import FlexMachine

PARTITIONED = (Dim.N, Dim.G, Dim.OY, Dim.OX, Dim.OC, Dim.IC, Dim.FY)
"""Dimensions that are partitioned."""
MOST_ON_AXIS = 2
"""Dimensions that lie on an axis at once."""

Parts = dict[Dim, int]


def values(size: int, is_all: bool) -> list[int]:
    """Return the values v at which ``ceil(size / v)`` changes, ascending.

    Parameters
    ----------
    size : int
    is_all : bool
        Otherwise only powers of two and divisors of the size.
    """
    found, value = [], 1
    while True:
        if is_all or size % value == 0 or value & (value - 1) == 0:
            found.append(value)
        quotient = -(-size // value)
        if quotient == 1:
            return found
        value = -(-size // (quotient - 1))


def on_axis(sizes: Parts, most: int, is_all: bool) -> list[Parts]:
    """Return the partitions of an axis; those of 1 are left out.

    Parameters
    ----------
    sizes : dict
        What there is to divide of each dimension.
    most : int
        VPEs of the axis.
    is_all : bool
        Take all values, and partitions that are not maximal. A partition is maximal where no other
        one of the same dimensions has larger or equal values of all.
    """
    options = {
        dim: [value for value in values(size, is_all) if 1 < value <= most]
        for dim, size in sizes.items()
    }
    found: list[Parts] = [{}]
    for n in range(1, MOST_ON_AXIS + 1):
        for dims in combinations(options, n):
            chosen = [p for p in product(*(options[dim] for dim in dims)) if prod(p) <= most]
            for parts in chosen:
                if is_all or not any(_is_within(parts, other) for other in chosen):
                    found.append(dict(zip(dims, parts, strict=True)))
    return found


def _is_within(parts: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return parts != other and all(a <= b for a, b in zip(parts, other, strict=True))


def partitions(
    layer: LayerDims, machine: FlexMachine, mode: str, is_all: bool, dataflow: str | None
) -> NDArray[np.int64]:
    """Return the partitions of a layer in a lane mode, those over columns chosen first.

    Parameters
    ----------
    layer : LayerDims
    machine : FlexMachine
    mode : {"vxv", "mxm"}
    is_all : bool
        As in `on_axis`.
    dataflow : str or None

    Returns
    -------
    int64[partitions, 2, 8]
        Over rows, over columns.
    """
    array, lane = machine.array, lane_dim(mode)
    sizes = {
        dim: -(-layer.sizes[dim] // (array.lanes if dim == lane else 1)) for dim in PARTITIONED
    }
    is_row = dataflow == "row"
    over_columns = {d: n for d, n in sizes.items() if not (is_row and d in (Dim.FY, Dim.OX))}
    found = []
    for columns in on_axis(over_columns, array.columns, is_all):
        is_reduced = any(dim in REDUCTION for dim in columns)
        over_rows = {
            dim: -(-size // columns.get(dim, 1))
            for dim, size in sizes.items()
            if not (is_reduced and dim in REDUCTION) and not (is_row and dim in (Dim.OY, Dim.OX))
        }
        for rows in on_axis(over_rows, array.rows, is_all):
            found.append([[rows.get(d, 1) for d in Dim], [columns.get(d, 1) for d in Dim]])
    return np.array(found, np.int64)
