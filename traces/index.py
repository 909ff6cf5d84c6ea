"""What all segments of a trace share: patterns and runs, and where each list's columns are."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DamageError, check_range
from .mask_sets import MaskSets
from .schema import COLUMNS, INHERITED, OWN, Walk

Array = NDArray[Any]
Ints = NDArray[np.int64]
MOST_ITEM_ACCESSES = 1 << 24
"""Accesses that all items together may repeat; more cannot be true."""


@dataclass(frozen=True)
class Tables:
    """What of a trace all its segments share, as int64 arrays.

    Parameters
    ----------
    first, period : int64[n_patterns + 1], int64[n_patterns]
    items : structured array
        As in the trace.
    run_first : int64[n_runs + 1]
    kind, a, b : int64[n_entries]
    """

    first: Ints
    period: Ints
    items: Array
    run_first: Ints
    kind: Ints
    a: Ints
    b: Ints

    @cached_property
    def most_kind(self) -> Ints:
        """int64[n_runs]: the largest kind of a run's entries."""
        most = np.zeros(len(self.run_first) - 1, np.int64)
        held = np.flatnonzero(np.diff(self.run_first))
        if len(held):
            most[held] = np.maximum.reduceat(self.kind, self.run_first[held])
        return most

    @cached_property
    def is_single(self) -> NDArray[np.bool_]:
        """bool[n_patterns]: whether all items are one access."""
        others = np.concatenate([[0], np.cumsum(self.items["count"] != 1)])
        single: NDArray[np.bool_] = np.diff(others[self.first]) == 0
        return single

    @cached_property
    def size(self) -> Ints:
        """int64[n_patterns]: the size of all items; 0 where they differ or are not one access."""
        size = self.items["size"].astype(np.int64)
        others = np.concatenate([[0, 0], np.cumsum(np.diff(size) != 0)])
        first, last = self.first[:-1], self.first[1:] - 1
        is_same = self.is_single & (last >= first)
        is_same[is_same] = others[last[is_same] + 1] == others[first[is_same] + 1]
        found = np.zeros(len(first), np.int64)
        found[is_same] = size[first[is_same]]
        return found

    def check(self, n_memories: int) -> None:
        """Raise `DamageError` unless every number in the tables points into the others."""
        _check_edges("patterns/first", self.first, len(self.items), len(self.period))
        _check_edges("runs/first", self.run_first, len(self.kind), None)
        if not len(self.kind) == len(self.a) == len(self.b):
            raise DamageError("runs/kind, runs/a and runs/b differ in length")
        items = self.items
        check_range("patterns/items memory", items["memory"], 0, n_memories - 1)
        check_range("patterns/items op", items["op"], 0, 1)
        if items["count"].sum(dtype=np.int64) > MOST_ITEM_ACCESSES:
            raise DamageError("patterns/items count is too large")


def _check_edges(name: str, edges: Ints, total: int, n: int | None) -> None:
    is_whole = len(edges) > 0 and edges[0] == 0 and edges[-1] == total
    if not is_whole or (np.diff(edges) < 0).any() or (n is not None and len(edges) != n + 1):
        raise DamageError(f"{name} does not divide its table")


class Index:
    """Where the columns, members and stalls of each list are.

    Parameters
    ----------
    lists, members : structured arrays
        All of the trace.
    masks : MaskSets
    """

    def __init__(self, lists: Array, members: Array, masks: MaskSets) -> None:
        self.lists, self.members, self.masks = lists, members, masks
        rows = lists["rows"].astype(np.int64)
        self.member = _edges(lists["members"])
        self.stall = _edges(members["stalls"])
        self.n_slack = np.zeros(len(lists), np.int64)
        if len(members):
            owner = np.repeat(np.arange(len(lists)), lists["members"])
            np.maximum.at(self.n_slack, owner, members["slack"].astype(np.int64) + 1)
        self.column = {
            name: _edges(rows * (lists[name] == OWN)) for name in COLUMNS if name != "slack"
        }
        self.column["slack"] = _edges(rows * self.n_slack)

    def check(self, sizes: dict[str, int], n_segments: int, n_units: int) -> None:
        """Raise `DamageError` unless lists, members and columns fit each other.

        Parameters
        ----------
        sizes : dict
            Rows of each column and of ``stalls``.
        n_segments, n_units : int
        """
        lists, members = self.lists, self.members
        expected = {name: edges[-1] for name, edges in self.column.items()}
        expected["stalls"] = self.stall[-1]
        for name, n in expected.items():
            if sizes.get(name, 0) != n:
                raise DamageError(f"{name} has {sizes.get(name, 0)} rows, the lists tell of {n}")
        if self.member[-1] != len(members):
            raise DamageError(
                f"members has {len(members)} rows, the lists tell of {self.member[-1]}"
            )
        segment = lists["segment"].astype(np.int64)
        check_range("lists segment", segment, 0, n_segments - 1)
        check_range("members unit", members["unit"], 0, n_units - 1)
        if (np.diff(segment) < 0).any():
            raise DamageError("lists are not in the order of segments")
        leader = lists["leader"].astype(np.int64)
        follows = np.flatnonzero(leader != -1)
        check_range("lists leader", leader, -1, len(lists) - 1)
        if (leader >= np.arange(len(lists))).any():
            raise DamageError("lists leader does not come before its follower")
        if (segment[leader[follows]] != segment[follows]).any():
            raise DamageError("lists leader belongs to another segment")
        rows = lists["rows"].astype(np.int64)
        plain = follows[lists["of"][follows] == INHERITED]
        if (rows[plain] > rows[leader[plain]]).any():
            raise DamageError("lists rows is more than the leader has")
        check_range("lists modulo", lists["modulo"], 0, 1 << 62)
        if (lists["members"][leader[follows]] == 0).any():
            raise DamageError("lists leader has no members")
        check_range("lists walks", lists["walks"], 0, max(Walk))
        self._check_long()

    def _check_long(self) -> None:
        """Check lists of spans and masks."""
        walks = self.lists["walks"]
        has_stalls = self.stall[self.member[1:]] > self.stall[self.member[:-1]]
        if (has_stalls & (walks >= Walk.SPAN)).any():
            raise DamageError("lists of spans or masks have stalls")
        self.masks.check()
        sets, of_masks = self.masks.sets, self.lists[walks == Walk.MASKS]
        for name in ("mask_a", "mask_b"):
            check_range(f"lists {name}", of_masks[name], 0, len(sets) - 1)
        if not len(of_masks):
            return
        positions = sets["sections"].astype(np.int64) * sets["bits"]
        lanes = sets["lanes"].astype(np.int64)
        a, b = of_masks["mask_a"], of_masks["mask_b"]
        if (positions[a] != positions[b]).any():
            raise DamageError("lists mask_a and mask_b have windows of other lengths")
        if ((lanes[a] != lanes[b]) & (np.minimum(lanes[a], lanes[b]) != 1)).any():
            raise DamageError("lists mask_a and mask_b have other numbers of lanes")


def _edges(counts: Array) -> Ints:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
