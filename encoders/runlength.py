"""Run-length coding of zeros (RLC): pairs of a run of zeros and the value that follows it.

Source: Chen et al., "Eyeriss", IEEE JSSC 52(1), 2017, section IV-B and Fig. 8: a run of up to 31
zeros takes 5 bits, the next value is stored as it is in 16 bits, and three pairs make a word of 64
bits whose last bit tells the last word. So a pair stands for ``run + 1`` values, and 32 zeros are
the pair (31, 0). How zeros at the end are coded is not printed: here the last of them is the value
of the last pair, and what is left over of the last word stays empty.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bits import VALUE_BITS
from .entries import Codes, Mask, ZeroPoint, entries, without_entries

Ints = NDArray[np.int64]
TERMINATION_BITS = 1


@dataclass(frozen=True)
class RunLength:
    """Widths of a run-length code.

    Parameters
    ----------
    run_bits : int
    value_bits : int
    word_bits : int, optional
        Size of the words that hold whole pairs and a termination bit; by default pairs follow each
        other without words.
    """

    run_bits: int = 5
    value_bits: int = VALUE_BITS
    word_bits: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        least = self.run_bits + self.value_bits + TERMINATION_BITS
        if not 1 <= self.run_bits <= 32:
            raise ValueError(f"RunLength.run_bits: must be 1..32, got {self.run_bits}")
        if self.value_bits < VALUE_BITS:
            raise ValueError(
                f"RunLength.value_bits: must be at least {VALUE_BITS}, got {self.value_bits}"
            )
        if self.word_bits is not None and self.word_bits < least:
            raise ValueError(
                f"RunLength.word_bits: must be at least {least} for a pair and the termination "
                f"bit, got {self.word_bits}"
            )

    @property
    def reach(self) -> int:
        """The most values that a pair stands for."""
        return 1 << self.run_bits

    def size_bits(self, n_pairs: int) -> int:
        """Return the bits of pairs."""
        pair_bits = self.run_bits + self.value_bits
        if self.word_bits is None:
            return n_pairs * pair_bits
        pairs_per_word = (self.word_bits - TERMINATION_BITS) // pair_bits
        return -(-n_pairs // pairs_per_word) * self.word_bits


PLAIN = RunLength()
EYERISS = RunLength(run_bits=5, value_bits=16, word_bits=64)
"""The code as published."""


class Runs(NamedTuple):
    """A tensor as pairs, in C order."""

    run: Ints
    """Zeros before each value, int64[n_pairs]."""
    value: Codes
    """What follows them, int8 or uint8 [n_pairs]; the zero point only where a run had to end."""
    shape: tuple[int, ...]
    zero_point: ZeroPoint


def encode(codes: Codes, zero_point: ZeroPoint, code: RunLength = PLAIN) -> Runs:
    """Return a tensor as pairs of run and value.

    Parameters
    ----------
    codes : int8 or uint8 array
    zero_point : int or integer array that broadcasts to the shape of codes
        What counts as zero.
    code : RunLength
        Widths; only the run's matters here.

    Returns
    -------
    Runs
    """
    gaps, tail = _gaps(entries(codes, zero_point))
    full, rest = np.divmod(gaps, code.reach)
    n_tail = -(-tail // code.reach)
    run = np.full(int(full.sum()) + len(gaps) + n_tail, code.reach - 1)
    run[np.cumsum(full + 1) - 1] = rest
    if n_tail:
        run[-1] = (tail - 1) % code.reach
    return Runs(run, codes.ravel()[np.cumsum(run + 1) - 1], codes.shape, zero_point)


def decode(runs: Runs) -> Codes:
    """Return the tensor that was encoded.

    Raises
    ------
    ValueError
        When the pairs do not stand for as many values as the tensor has.
    """
    codes = without_entries(runs.shape, runs.value.dtype, runs.zero_point)
    end = np.cumsum(runs.run + 1)
    n_values = int(end[-1]) if len(end) else 0
    if n_values != codes.size:
        raise ValueError(f"Runs.run: must stand for {codes.size} values, got {n_values}")
    codes.reshape(-1)[end - 1] = runs.value
    return codes


def count_pairs(is_entry: Mask, code: RunLength = PLAIN) -> int:
    """Return how many pairs a tensor takes.

    Parameters
    ----------
    is_entry : bool array
        Which values are not zero.
    code : RunLength
    """
    gaps, tail = _gaps(is_entry)
    return int((gaps // code.reach).sum()) + len(gaps) - (-tail // code.reach)


def _gaps(is_entry: Mask) -> tuple[Ints, int]:
    """Return the zeros before each entry and behind the last one."""
    at = np.flatnonzero(is_entry)
    gaps = np.diff(at, prepend=-1) - 1
    return gaps, is_entry.size - 1 - int(at[-1] if len(at) else -1)
