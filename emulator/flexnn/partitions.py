"""Partitions of a layer over the array: those of the candidate set; `docs/flexnn-schedule.md`."""

from itertools import combinations, product
from math import prod

import numpy as np
from numpy.typing import NDArray

from .dims import REDUCTION, Dim, LayerDims
from .machine import FlexMachine

PARTITIONED = (Dim.N, Dim.G, Dim.OY, Dim.OX, Dim.OC, Dim.IC, Dim.FY)
"""Dimensions that may lie on an axis."""
MOST_DIMS = 2
"""That lie on an axis at once."""

Parts = dict[Dim, int]


def changes(size: int) -> list[int]:
    """Return the values v at which ``ceil(size / v)`` changes, ascending."""
    found, value = [1], 1
    while value < size:
        quotient = -(-size // value)
        value = -(-size // (quotient - 1))
        found.append(value)
    return found


def values(size: int, is_all: bool) -> list[int]:
    """Return the values of a size: all changes, or powers of two and divisors among them."""
    return [v for v in changes(size) if is_all or size % v == 0 or v & (v - 1) == 0]


def lane_dim(mode: str) -> Dim:
    """Return the dimension that the lanes take."""
    return Dim.IC if mode == "vxv" else Dim.OC


def on_axis(quotients: dict[Dim, int], most: int, is_all: bool) -> list[Parts]:
    """Return the partitions of an axis.

    Parameters
    ----------
    quotients : dict
        What is left to divide of each dimension that may be partitioned.
    most : int
        VPEs of the axis.
    is_all : bool
        Whether those that are not maximal are taken too.
    """
    found: list[Parts] = [{}]
    options = {
        dim: [v for v in values(size, is_all) if 1 < v <= most] for dim, size in quotients.items()
    }
    for n in range(1, MOST_DIMS + 1):
        for dims in combinations(options, n):
            chosen = [
                sizes for sizes in product(*(options[d] for d in dims)) if prod(sizes) <= most
            ]
            for sizes in chosen:
                larger = (
                    other != sizes and all(a >= b for a, b in zip(other, sizes, strict=True))
                    for other in chosen
                )
                if is_all or not any(larger):
                    found.append(dict(zip(dims, sizes, strict=True)))
    return found


def partitions(
    layer: LayerDims, machine: FlexMachine, mode: str, is_all: bool, dataflow: str | None
) -> NDArray[np.int64]:
    """Return the partitions of a layer in a lane mode.

    Returns
    -------
    int64[partitions, 2, 8]
        Over rows, over columns.
    """
    array = machine.array
    quotients = {
        dim: -(-layer.sizes[dim] // (array.lanes if dim == lane_dim(mode) else 1))
        for dim in PARTITIONED
    }
    found = []
    for columns in on_axis(quotients, array.columns, is_all):
        if dataflow == "row" and {Dim.FY, Dim.OX} & set(columns):
            continue
        reduces = any(dim in columns for dim in REDUCTION)
        left = {
            dim: -(-size // columns.get(dim, 1))
            for dim, size in quotients.items()
            if not (reduces and dim in REDUCTION)
        }
        for rows in on_axis(left, array.rows, is_all):
            if dataflow == "row" and {Dim.OY, Dim.OX} & set(rows):
                continue
            found.append([[rows.get(d, 1) for d in Dim], [columns.get(d, 1) for d in Dim]])
    return np.array(found, np.int64)
