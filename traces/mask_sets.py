"""Mask sets as they are read: their words, and where the positions of their windows lie."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import DamageError, check_range
from .masks import MOST_BITS, MOST_POSITIONS, WORD_BITS, words_of

Array = NDArray[Any]
Ints = NDArray[np.int64]
AT_ONCE = 1 << 16
"""Rows of a table that are read at least, where there are so many."""


class MaskSet(NamedTuple):
    """A mask set, as the kernels of `firemesh.traces.pairs` take it.

    Parameters
    ----------
    words : uint64[windows * jump]
    jump, stride : int
        Words from window to window, and from lane to lane.
    address : int64[windows]
    within, offset
        Of positions.
    carry, tail
        Of words of a lane.
    """

    words: NDArray[np.uint64]
    jump: int
    stride: int
    address: Ints
    within: NDArray[np.uint64]
    offset: Ints
    carry: Ints
    tail: NDArray[np.uint64]

    def beside(self, lanes: int) -> "MaskSet":
        """Return the set as ``lanes`` lanes see it: one lane is seen by all."""
        is_shared = self.jump == self.stride and lanes > 1
        return self._replace(stride=0) if is_shared else self


def bits_between(first: Ints, end: Ints) -> NDArray[np.uint64]:
    """Return uint64[n]: words with bits ``first`` to ``end`` set; none where they are no range."""
    width = np.clip(end - first, 0, WORD_BITS).astype(np.uint64)
    ones = ~np.uint64(0) >> (np.uint64(WORD_BITS) - np.maximum(width, 1))
    return np.where(width > 0, ones << np.minimum(first, 63).astype(np.uint64), np.uint64(0))


def places(sections: int, bits: int) -> tuple[NDArray[np.uint64], Ints, NDArray[np.uint64]]:
    """Return ``within``, ``carry`` and ``tail`` of lanes of so many sections of so many bits."""
    position = np.arange(sections * bits)
    begin, word = position // bits * bits, position // WORD_BITS * WORD_BITS
    within = bits_between(np.maximum(begin, word) - word, position - word)
    word = np.arange(words_of(len(position))) * WORD_BITS
    begin = word // bits * bits
    carry = np.zeros((len(word), 2), np.int64)
    carry[:, 0] = np.where(begin < word, begin + bits, 0)
    end = word + WORD_BITS
    last = end // bits * bits
    carry[:, 1] = last < word
    tail = bits_between(np.clip(last - word, 0, WORD_BITS), np.full(len(word), WORD_BITS))
    return within, carry, tail


class _Pages:
    """A dataset, of which a part is kept that was read last."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._first, self._rows = 0, np.zeros(0, dataset.dtype)

    def __getitem__(self, rows: slice) -> Array:
        first, end = rows.start, rows.stop
        if not (self._first <= first and end <= self._first + len(self._rows)):
            self._rows = self._dataset[first : max(end, first + AT_ONCE)]
            self._first = first
        return self._rows[first - self._first : end - self._first]


class MaskSets:
    """The mask sets of a trace.

    Parameters
    ----------
    sets : structured array
        Table ``masks/sets``.
    tables : mapping
        ``words``, ``address``, ``section``: datasets.
    """

    def __init__(self, sets: Array, tables: Mapping[str, Any]) -> None:
        self.sets = sets
        self._tables = {name: _Pages(dataset) for name, dataset in tables.items()}
        self._sizes = {name: len(dataset) for name, dataset in tables.items()}
        self._places: tuple[tuple[int, int], Any] | None = None

    def check(self) -> None:
        """Raise `DamageError` unless every set lies inside the tables."""
        names = ("lanes", "sections", "bits", "windows")
        lanes, sections, bits, windows = (self.sets[name].astype(np.int64) for name in names)
        for name, values in zip(names, (lanes, sections, bits), strict=False):
            check_range(f"masks/sets {name}", values, 1, MOST_POSITIONS)
        check_range("masks/sets positions of a lane", sections * bits, 1, MOST_BITS)
        check_range("masks/sets positions", lanes * sections * bits, 1, MOST_POSITIONS)
        n_words = windows * lanes * -(-sections * bits // WORD_BITS)
        for name, field, n in (
            ("words", "first_word", n_words),
            ("address", "first_address", windows),
            ("section", "first_section", sections),
        ):
            size = self._sizes[name]
            check_range(f"masks/sets {field}", self.sets[field], 0, size)
            first = self.sets[field].astype(np.int64)
            check_range(f"masks/sets {field}, and what begins there,", first + n, 0, size)

    def positions(self, number: int) -> int:
        """Return the positions of a lane of a set."""
        return int(self.sets["sections"][number]) * int(self.sets["bits"][number])

    def read(self, number: int) -> MaskSet:
        """Read a set."""
        record = self.sets[number]
        lanes, sections, bits, windows = (
            int(record[name]) for name in ("lanes", "sections", "bits", "windows")
        )
        stride = words_of(sections * bits)
        words = self._rows("words", record["first_word"], windows * lanes * stride, np.uint64)
        left = -(sections * bits) % WORD_BITS
        if left and (words[stride - 1 :: stride] >> np.uint64(WORD_BITS - left)).any():
            raise DamageError(f"masks/words of set {number} has bits beyond the last position")
        address = self._rows("address", record["first_address"], windows, np.int64)
        section = self._rows("section", record["first_section"], sections, np.int64)
        if self._places is None or self._places[0] != (sections, bits):
            self._places = (sections, bits), places(sections, bits)
        within, carry, tail = self._places[1]
        offset = np.repeat(section, bits)
        return MaskSet(words, lanes * stride, stride, address, within, offset, carry, tail)

    def _rows(self, name: str, first: Any, n: int, dtype: Any) -> Array:
        found = self._tables[name][int(first) : int(first) + n]
        return np.ascontiguousarray(found, dtype)
