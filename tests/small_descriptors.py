"""Random legal descriptors of mode `flexnn` for small layers, and random small layers."""

from __future__ import annotations

import math

import numpy as np

DIMS = ("N", "G", "OY", "OX", "OC", "IC", "FY", "FX")
REDUCTION = ("IC", "FY", "FX")
SPARSITIES = ("dense", "activation", "weight", "both")


def _over(a: int, b: int) -> int:
    return -(-a // b)


def _is_depthwise(sizes: dict) -> bool:
    return sizes["G"] > 1 and sizes["OC"] == sizes["IC"] == 1


def _blocks(rng, sizes: dict, lane_dimension: str, n_lanes: int) -> dict:
    found = {}
    are_small = rng.random() < 0.5  # leaves more to the partitions
    for d in DIMS:
        unit = n_lanes if d == lane_dimension else 1
        most = _over(sizes[d], unit)
        drawn = rng.integers(1, most + 1)
        found[d] = unit * int(rng.choice([1, 1, drawn] if are_small else [1, most, drawn]))
    return found


def _partitions(rng, most: dict, array: dict, reduction: str) -> tuple[dict, dict]:
    """Draw partitions of the rows and columns, of a dimension up to `most`, at times one more."""
    room = {"rows": array["rows"], "columns": array["columns"]}
    parts = {"rows": {}, "columns": {}}
    reduced = str(rng.choice(["rows", "columns"]))  # the axis of the reduction's partitions
    for axis in ("rows", "columns"):
        dims = [str(d) for d in rng.permutation(DIMS) if axis == reduced or d not in REDUCTION]
        if rng.random() < 0.6:  # else there is seldom room for them
            dims.sort(key=lambda d: d not in REDUCTION and d not in parts["rows"])
        for d in dims:
            taken = parts["rows"].get(d, 1)
            limit = min(room[axis], _over(most[d], taken) + int(rng.random() < 0.1))
            values = [
                p
                for p in range(1, limit + 1)
                if d not in REDUCTION or reduction == "chain" or p.bit_count() == 1
            ]
            some = values[:2] if rng.random() < 0.5 else values  # leaves room for others
            p = int(rng.choice(some)) if rng.random() < 0.7 else 1
            if p > 1 or rng.random() < 0.1:  # at times a 1 is written out
                parts[axis][d] = p
                room[axis] //= p
    return parts["rows"], parts["columns"]


def _order(rng) -> list[str]:
    """Draw some of the dimensions, in any order."""
    return [str(d) for d in rng.permutation(DIMS)[: rng.integers(0, len(DIMS) + 1)]]


def keeps_psums_on_chip(order: list[str], n_tiles: dict) -> bool:
    """Return whether tiles of reduction dimensions are innermost (rule 8)."""
    order = [*order, *(d for d in DIMS if d not in order)]
    cut = [d in REDUCTION for d in order if n_tiles[d] > 1]
    return cut == sorted(cut)


def random_descriptor(rng: np.random.Generator, sizes: dict, machine: dict, max_rounds=60) -> dict:
    """Draw a descriptor that keeps all rules but 6 and 7, of capacity, and 9, of the machine.

    Parameters
    ----------
    rng : numpy.random.Generator
    sizes : dict
        Size of each of the eight dimensions.
    machine : dict
        array: rows, columns, lanes.
    max_rounds : int
        Descriptors with more rounds are drawn again.
    """
    array = machine["array"]
    while True:
        lanes = "vxv" if _is_depthwise(sizes) else str(rng.choice(["vxv", "mxm"]))
        reduction = str(rng.choice(["tree", "chain"]))
        block = _blocks(rng, sizes, "IC" if lanes == "vxv" else "OC", array["lanes"])
        most = {d: _over(sizes[d], block[d]) for d in DIMS}
        rows, columns = _partitions(rng, most, array, reduction)
        step = {d: block[d] * rows.get(d, 1) * columns.get(d, 1) for d in DIMS}
        tile = {}
        for d in DIMS:
            multiples = range(step[d], sizes[d], step[d])
            if multiples and rng.random() < 0.35:
                tile[d] = int(rng.choice(multiples))
            elif rng.random() < 0.1:  # at times the whole dimension is written out
                tile[d] = sizes[d]
        n_tiles = {d: _over(sizes[d], tile.get(d, sizes[d])) for d in DIMS}
        tile_order = _order(rng)
        if not keeps_psums_on_chip(tile_order, n_tiles):
            continue
        if math.prod(_over(sizes[d], step[d]) for d in DIMS) > max_rounds:
            continue
        return {
            "block": block,
            "rows": rows,
            "columns": columns,
            "tile": tile,
            "order": _order(rng),
            "tile_order": tile_order,
            "lanes": lanes,
            "sparsity": str(rng.choice(SPARSITIES)),
            "reduction": reduction,
            "balance": bool(rng.random() < 0.5),
            "drain": str(rng.choice(["yxc", "cyx"])),
        }


def random_machine(rng: np.random.Generator) -> dict:
    """Draw a small array with memories that hold any small layer."""
    draw = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    return {
        "array": {"rows": draw(1, 2, 3, 4, 5), "columns": draw(1, 2, 3, 4), "lanes": draw(1, 2, 4)},
        "sram": {
            "bytes": 2**24,
            "read_bytes": draw(1, 2, 4, 8, 16),
            "write_bytes": draw(1, 2, 4, 8, 16),
            "ports": draw("split", "shared"),
        },
        "sdn": {
            "kind": "bus",
            "column_bytes": draw(1, 2, 4, 8),
            "drain_bytes": draw(1, 2, 4, 8),
            "reduced_per_cycle": draw(1, 2, 4),
            "round_overhead_cycles": draw(0, 1, 3),
        },
        "sparsity": {
            "pays_below": draw(0.3, 0.875, 1.0),
            "empty_window_cycles": draw(0, 1),
            "barrier": draw("vpe", "column", "array"),
        },
        "dram": {"bytes_per_cycle": draw(1, 4, 16)},
    }


def random_layer(rng: np.random.Generator, kind: str, n_frames: int = 1) -> tuple:
    """Draw (x, w, shape); `kind` is plain, grouped, depthwise, pointwise or linear.

    Returns
    -------
    x : int64[n, g*ic, h, w]
    w : int64[g*oc, ic, fy, fx]
    shape : dict
    """
    low = lambda a, b: int(rng.integers(a, b + 1))  # noqa: E731
    groups = low(2, 3) if kind == "grouped" else low(2, 6) if kind == "depthwise" else 1
    oc, ic = (1, 1) if kind == "depthwise" else (low(1, 6), low(1, 7))
    if kind == "linear":
        oc, ic = low(3, 20), low(3, 30)
    is_small = kind in ("pointwise", "linear")
    kernel = (1, 1) if is_small else (low(1, 3), low(1, 3))
    strides, dilations = (low(1, 2), low(1, 3)), (low(1, 2), low(1, 2))
    pads = (0, 0) if is_small else (low(0, 2), low(0, 2))
    behind = (0, 0) if is_small else (low(0, 2), low(0, 2))
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    ifmap = (1, 1) if kind == "linear" else tuple(max(low(1, 6), r) for r in reach)
    ofmap = tuple(
        (size + pad + more - r) // s + 1
        for size, pad, more, r, s in zip(ifmap, pads, behind, reach, strides, strict=True)
    )

    def values(shape):
        density = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0], p=[0.05, 0.25, 0.3, 0.2, 0.2])
        return rng.integers(-128, 256, shape) * (rng.random(shape) < density)

    x = values((n_frames, groups * ic, *ifmap))
    w = values((groups * oc, ic, *kernel))
    shape = {
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "groups": groups,
        "ofmap": ofmap,
    }
    return x, w, shape


def dimension_sizes(x: np.ndarray, w: np.ndarray, shape: dict) -> dict:
    """Return the size of each of the eight dimensions."""
    groups = shape["groups"]
    sizes = len(x), groups, *shape["ofmap"], len(w) // groups, *w.shape[1:]
    return dict(zip(DIMS, sizes, strict=True))
