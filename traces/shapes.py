"""Shapes of entries: the wanted items of patterns, as kernels take them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .index import Tables

Ints = NDArray[np.int64]


class Shapes(NamedTuple):
    """Patterns, with the wanted items only.

    Parameters
    ----------
    first : int64[n_patterns + 1]
        Items of each pattern.
    item : int64[n_items, 8]
        Columns as in `firemesh.traces.expand`.
    beat_first : int64[n_patterns + 1]
    beat : int64[n_beats, 2]
        In which cycles of an entry there are accesses, and how many.
    accesses : int64[n_patterns]
        Of an entry.
    """

    first: Ints
    item: Ints
    beat_first: Ints
    beat: Ints
    accesses: Ints


def shapes_of(tables: Tables, is_wanted: NDArray[np.bool_]) -> Shapes:
    """Return patterns with the wanted items, bool[n_items]."""
    kept = np.flatnonzero(is_wanted)
    items = tables.items[kept]
    first = np.searchsorted(kept, tables.first)
    item = np.zeros((len(kept), 8), np.int64)
    names = ("cycle", "address", "a_step", "b_step", "count", "cycle_step", "address_step")
    for column, name in enumerate(names):
        item[:, column] = items[name]
    head = items["size"].astype(np.int64) << 32 | items["memory"].astype(np.int64) << 48
    item[:, 7] = head | items["op"].astype(np.int64) << 56
    accesses = np.concatenate([[0], np.cumsum(item[:, 4])])[first]
    return Shapes(first, item, *_beats(item, first), np.diff(accesses))


def _beats(item: Ints, first: Ints) -> tuple[Ints, Ints]:
    """Return in which cycles of each pattern there are accesses, and how many."""
    n = item[:, 4]
    which = np.repeat(np.arange(len(item)), n)
    step = np.arange(len(which)) - np.repeat(np.cumsum(n) - n, n)
    pattern = np.repeat(np.arange(len(first) - 1), np.diff(first))[which]
    cycle = item[which, 0] + step * item[which, 5]
    keys, counts = np.unique(np.stack([pattern, cycle]), axis=1, return_counts=True)
    beat_first = np.searchsorted(keys[0], np.arange(len(first)))
    return beat_first, np.stack([keys[1], counts], axis=1).astype(np.int64)
