"""Blocks of a bitmap and non-zeros (zero-value compression, ZVC), each with a header flag.

A tensor in C order is cut into blocks. A compressed block is a bit per value, packed in words, and
its entries; a raw one, where that is no larger, all its values. The address of an entry is its
rank: the bits set before it.

Source: Rhu et al., "Compressing DMA Engine", HPCA 2018 (ZVC); "FlexNN", arXiv 2403.09026 (bitmaps).
The header flag, for each block, is chosen.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bits import VALUE_BITS
from .entries import Codes, ZeroPoint, entries, without_entries

WORD_BITS = 64
FLAG_BITS = 1
BLOCK = 512
"""Values of a block, by default."""

Words = NDArray[np.int64]


class Zvc(NamedTuple):
    """A tensor as blocks."""

    is_packed: NDArray[np.bool_]
    """bool[blocks]: whether a block is compressed."""
    words: Words
    """int64[words]: bitmaps of compressed blocks, each from a word of its own on, little order."""
    value: Codes
    """Entries of compressed blocks, all values of raw ones, int8 or uint8 [n]."""
    first_word: NDArray[np.int64]
    """int64[blocks + 1]: where each block's words begin; likewise its values."""
    first_value: NDArray[np.int64]
    block: int
    """Values of a block; the last may have fewer."""
    shape: tuple[int, ...]
    zero_point: ZeroPoint


def pack(is_set: NDArray[np.bool_]) -> Words:
    """Return bits as words, bool[..., n] to int64[..., ceil(n / 64)], little bit order."""
    n = is_set.shape[-1]
    packed = np.packbits(is_set, axis=-1, bitorder="little")
    filled = np.zeros((*is_set.shape[:-1], -(-n // WORD_BITS) * 8), np.uint8)
    filled[..., : packed.shape[-1]] = packed
    return filled.view("<i8")


def unpack(words: Words, n: int) -> NDArray[np.bool_]:
    """Return the first ``n`` bits of words, int64[..., w] to bool[..., n]."""
    bits = np.unpackbits(words.view(np.uint8), axis=-1, count=n, bitorder="little")
    return bits.astype(np.bool_)


def rank(words: Words, position: Any) -> NDArray[np.int64]:
    """Return how many bits lie before each position of a row of words.

    Parameters
    ----------
    words : int64[w]
    position : int or int array
        0 to 64 * w.
    """
    bits = unpack(words, len(words) * WORD_BITS)
    before = np.concatenate([[0], np.cumsum(bits)])
    found: NDArray[np.int64] = before[position]
    return found


def encode(
    codes: Codes, zero_point: ZeroPoint, block: int = BLOCK, pays_below: float = 0.875
) -> Zvc:
    """Return a tensor as blocks.

    Parameters
    ----------
    codes : int8 or uint8 array
    zero_point : int or integer array that broadcasts to the shape of codes
    block : int
        Values of a block, at least 1.
    pays_below : float
        A block is compressed where its share of entries is below this; 7/8 is where bitmap and
        entries of 8 bits become smaller than the values.

    Raises
    ------
    ValueError
        When the block is empty, or codes are of another type.
    """
    if block < 1:
        raise ValueError(f"block: must be at least 1, got {block}")
    is_entry = entries(codes, zero_point).reshape(-1)
    flat, n_blocks = codes.reshape(-1), -(-codes.size // block)
    packed, words, values = np.zeros(n_blocks, bool), [np.zeros(0, "<i8")], [flat[:0]]
    for number in range(n_blocks):
        at = slice(number * block, (number + 1) * block)
        part = is_entry[at]
        packed[number] = np.count_nonzero(part) < pays_below * part.size
        if packed[number]:
            words.append(pack(part))
        values.append(flat[at][part] if packed[number] else flat[at])
    lengths = -(-np.diff(np.minimum(np.arange(n_blocks + 1) * block, codes.size)) // WORD_BITS)
    return Zvc(
        packed,
        np.concatenate(words),
        np.concatenate(values),
        np.concatenate([[0], np.cumsum(np.where(packed, lengths, 0))]),
        np.cumsum([0, *(len(part) for part in values[1:])]),
        block,
        codes.shape,
        zero_point,
    )


def decode(zvc: Zvc) -> Codes:
    """Return the tensor that was encoded."""
    codes = without_entries(zvc.shape, zvc.value.dtype, zvc.zero_point).reshape(-1)
    for number, is_packed in enumerate(zvc.is_packed):
        at = slice(number * zvc.block, min((number + 1) * zvc.block, codes.size))
        values = zvc.value[zvc.first_value[number] : zvc.first_value[number + 1]]
        if is_packed:
            words = zvc.words[zvc.first_word[number] : zvc.first_word[number + 1]]
            codes[at][unpack(words, at.stop - at.start)] = values
        else:
            codes[at] = values
    return codes.reshape(zvc.shape)


def size_bits(is_entry: NDArray[np.bool_], block: int = BLOCK, pays_below: float = 0.875) -> int:
    """Return the bits of a tensor: flags, bitmaps of compressed blocks, and values.

    Parameters
    ----------
    is_entry : bool array
        Which values are entries.
    block, pays_below
        As for `encode`.
    """
    begin = np.arange(0, is_entry.size, block)
    lengths = np.minimum(begin + block, is_entry.size) - begin
    n = np.add.reduceat(is_entry.reshape(-1).astype(np.int64), begin)
    bits = np.where(n < pays_below * lengths, lengths + VALUE_BITS * n, VALUE_BITS * lengths)
    return FLAG_BITS * len(begin) + int(bits.sum())
