"""Small layers of mode `flexnn` for timetables made by hand: fields not given are plain."""

from __future__ import annotations

from collections import Counter

import numpy as np
from oracle_flexnn import run_layer
from small_descriptors import DIMS


def machine_of(rows=1, columns=1, lanes=1, **fields) -> dict:
    """Return a machine whose fields are named as in the page, each in its only section."""
    found = {
        "array": {"rows": rows, "columns": columns, "lanes": lanes},
        "sram": {"bytes": 2**20, "read_bytes": 4, "write_bytes": 4, "ports": "separate"},
        "sdn": {
            "kind": "bus",
            "column_bytes": 2,
            "drain_bytes": 1,
            "reduced_per_cycle": 1,
            "round_overhead_cycles": 0,
        },
        "sparsity": {"pays_below": 0.875, "empty_window_cycles": 1, "barrier": "vpe"},
        "dram": {"bytes_per_cycle": 4},
    }
    for name, value in fields.items():
        (section,) = (section for section in found.values() if name in section)
        section[name] = value
    return found


def descriptor_of(**fields) -> dict:
    """Return a dense descriptor; blocks are given by dimension, others are 1."""
    block = {d: fields.pop(d, 1) for d in DIMS}
    basis = {
        "rows": {},
        "columns": {},
        "tile": {},
        "order": [],
        "tile_order": [],
        "lanes": "vxv",
        "sparsity": "dense",
        "reduction": "tree",
        "balance": False,
    }
    assert not set(fields) - set(basis)
    return {"block": block, **basis, **fields}


def pointwise(x, w, descriptor, machine, **fields):
    """Run a 1x1 layer on an ifmap of one row: x[c][column], w[k][c]."""
    x, w = np.array(x)[None, :, None, :], np.array(w)[:, :, None, None]
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 1}
    shape["ofmap"] = x.shape[2:]
    return run_layer(x, w, shape, descriptor, machine, **fields)


def totals(done, name="counts") -> Counter:
    """Return counts or bytes of all units, by memory and op."""
    found = Counter()
    for (_, memory, op), value in getattr(done, name).items():
        found[memory, op] += value
    return found


def nonzero_slots(done, v=0) -> dict:
    return {cause: slots[v] for cause, slots in done.slots.items() if slots[v]}


def of_rows(x, w, n_rows, descriptor, machine):
    """Run a 1x1 layer of ifmap x[c][column], one row, with zeros below for the other rows."""
    x, w = np.array(x)[None, :, None, :], np.array(w)[:, :, None, None]
    shape = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "groups": 1}
    return run_layer(x, w, {**shape, "ofmap": (n_rows, x.shape[3])}, descriptor, machine)
