"""Mask sets as they are written: which positions of windows are there, and where they lie."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import TraceError
from .schema import table

WORD_BITS = 64
MOST_BITS = 1 << 20
"""Positions of a lane in a window, at most."""
MOST_POSITIONS = 1 << 24
"""Positions of all lanes in a window, at most."""


def words_of(positions: int) -> int:
    """Return the words that hold so many positions of a lane."""
    return -(-positions // WORD_BITS)


def pack(is_set: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack positions into words.

    Parameters
    ----------
    is_set : bool[..., positions]

    Returns
    -------
    uint64[..., words]
        Position ``p`` is bit ``p % 64`` of word ``p // 64``.
    """
    positions = is_set.shape[-1]
    padding = [(0, 0)] * (is_set.ndim - 1) + [(0, -positions % WORD_BITS)]
    packed = np.packbits(np.pad(is_set, padding), axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8")


class Masks:
    """The mask sets of a trace, to add to.

    Parameters
    ----------
    rows : callable
        Takes the name of a table; returns its rows so far.
    append : callable
        Takes the name of a table and rows to append to it.
    """

    def __init__(
        self, rows: Callable[[str], int], append: Callable[[str, NDArray[Any]], None]
    ) -> None:
        self._rows, self._append = rows, append

    def add(
        self,
        words: NDArray[np.uint64],
        sections: int,
        bits: int,
        address: NDArray[Any] | int = 0,
        section: NDArray[Any] | int = 0,
    ) -> int:
        """Add a set; return its number. The lists of its commit, or of later ones, may name it.

        Parameters
        ----------
        words : uint64[windows, lanes, words]
            As `pack` makes them of bool[windows, lanes, sections * bits].
        sections, bits : int
            Of a lane; position ``c`` of section ``t`` is bit ``t * bits + c``.
        address : int64[windows] or int
            Bytes, of each window.
        section : int64[sections] or int
            Bytes, of each section.
        """
        if words.ndim != 3 or words.shape[2] != words_of(sections * bits):
            raise ValueError(
                f"words: must be windows x lanes x {words_of(sections * bits)}, got {words.shape}"
            )
        windows, lanes, _ = words.shape
        if sections * bits > MOST_BITS or lanes * sections * bits > MOST_POSITIONS:
            raise TraceError(
                f"trace: a window has {lanes} lanes of {sections * bits} positions, a trace holds "
                f"{MOST_BITS} of a lane and {MOST_POSITIONS} in all; cut the layer into smaller "
                "blocks, or run without --trace"
            )
        number = self._rows("masks/sets")
        record = table(
            "masks/sets", lanes=lanes, sections=sections, bits=bits, windows=windows,
            first_word=self._rows("masks/words"), first_address=self._rows("masks/address"),
            first_section=self._rows("masks/section"),
        )  # fmt: skip
        self._append("masks/words", np.ascontiguousarray(words, "<u8").ravel())
        self._append("masks/address", _each(address, windows))
        self._append("masks/section", _each(section, sections))
        self._append("masks/sets", record)
        return number


def _each(values: NDArray[Any] | int, n: int) -> NDArray[np.int64]:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, "<i8"), (n,)))
