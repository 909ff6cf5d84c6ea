"""The patterns and runs of a trace, as they are put together before the first layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..patterns import Item


class Patterns:
    """The patterns of a trace, in the order in which they were added."""

    def __init__(self) -> None:
        self.first, self.period = [0], list[int]()
        self.items: list[Item] = []
        self._single: dict[Item, int] = {}

    def add(self, items: list[Item], period: int) -> int:
        """Add a pattern; return its number."""
        self.items += items
        self.first.append(len(self.items))
        self.period.append(period)
        return len(self.period) - 1

    def single(self, item: Item) -> int:
        """Return the pattern of one item and a period of one cycle."""
        if item not in self._single:
            self._single[item] = self.add([item], 1)
        return self._single[item]


class Runs:
    """The runs of a trace."""

    def __init__(self) -> None:
        self.n_runs = self.n_entries = 0
        self.first: list[NDArray[Any]] = [np.zeros(1, np.int64)]
        self.entries: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []

    def add(self, first: NDArray[Any], kind: NDArray[Any], a: NDArray[Any], b: NDArray[Any]) -> int:
        """Add runs, ``first`` int64[n + 1] their entries; return the first one's number."""
        number = self.n_runs
        self.first.append(first[1:] + self.n_entries)
        self.entries.append((kind, a, b))
        self.n_runs += len(first) - 1
        self.n_entries += len(kind)
        return number
