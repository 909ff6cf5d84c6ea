"""Patterns that a segment adds to a trace."""

from collections.abc import Sequence

import numpy as np

from ...traces.schema import dtype_of
from ..patterns import Item
from ..run_trace import Records


class SegmentPatterns:
    """Patterns that a segment adds to a trace.

    Parameters
    ----------
    records : Records
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: dict[tuple[Item, ...], int] = {}

    def add(self, items: Sequence[Item]) -> int:
        """Add a pattern of a period of one cycle, once; return its number."""
        key = tuple(items)
        if key not in self._known:
            self._known[key] = self.append([key])
        return self._known[key]

    def append(self, patterns: Sequence[Sequence[Item]]) -> int:
        """Add patterns one after another; return the first one's number."""
        records = self._records
        number = records.rows("patterns/period")
        sizes = [len(items) for items in patterns]
        first = records.rows("patterns/items") + np.cumsum(sizes)
        rows = [tuple(item) for items in patterns for item in items]
        records.append("patterns/items", np.array(rows, dtype_of("patterns/items")))
        records.append("patterns/first", first.astype("<u4"))
        records.append("patterns/period", np.ones(len(patterns), "<u4"))
        return number
