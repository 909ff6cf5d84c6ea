"""Bitmap and entries (zero-value compression, ZVC): a bit per value, then the entries.

Source: Rhu et al., "Compressing DMA Engine", HPCA 2018 (ZVC), with one mask for the whole tensor
instead of one per 32 values, which changes no size; FlexNN keeps its tensors so.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bits import VALUE_BITS
from .entries import Codes, ZeroPoint, entries, without_entries


class Bitmap(NamedTuple):
    """A tensor as a bitmap and its entries, in C order."""

    mask: NDArray[np.uint8]
    """Bit string, little bit order, filled up with zeros to whole bytes: uint8[ceil(n/8)]."""
    value: Codes
    """The entries, int8 or uint8 [nnz]."""
    shape: tuple[int, ...]
    zero_point: ZeroPoint


def encode(codes: Codes, zero_point: ZeroPoint) -> Bitmap:
    """Return a tensor as a bitmap and its entries.

    Parameters
    ----------
    codes : int8 or uint8 array
    zero_point : int or integer array that broadcasts to the shape of codes
    """
    is_entry = entries(codes, zero_point)
    mask = np.packbits(is_entry, bitorder="little")
    return Bitmap(mask, codes[is_entry], codes.shape, zero_point)


def decode(bitmap: Bitmap) -> Codes:
    """Return the tensor that was encoded."""
    codes = without_entries(bitmap.shape, bitmap.value.dtype, bitmap.zero_point)
    bits = np.unpackbits(bitmap.mask, count=codes.size, bitorder="little")
    codes[bits.reshape(bitmap.shape).astype(np.bool_)] = bitmap.value
    return codes


def size_bits(size: int, nnz: int) -> int:
    """Return the bits of a tensor of ``size`` values with ``nnz`` entries."""
    return size + nnz * VALUE_BITS
