"""Sizes of a tensor in each format, in bits.

A format's size is what a reader needs who knows shape, type and zero point; messages add their own
(`bits.message_bits`).
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from . import bitmap, sparse
from .bits import VALUE_BITS, compact_fields, event_fields
from .entries import Codes, Mask, ZeroPoint, entries
from .events import Window, axis_reach
from .runlength import PLAIN, RunLength, count_pairs

Size = Callable[[Mask, Window | None], int | None]
"""Bits from which values are entries and, for activations, the window that reads them; None where
the format does not know such tensors."""


def _dense(is_entry: Mask, window: Window | None) -> int:
    return is_entry.size * VALUE_BITS


def _volume(is_entry: Mask) -> Mask | None:
    """Return activations as [c, h, w]; a vector has channels only."""
    if is_entry.ndim == 1:
        return is_entry[:, None, None]
    return is_entry if is_entry.ndim == 3 else None


def _event_full(is_entry: Mask, window: Window | None) -> int | None:
    """Activations that no output uses are no events."""
    volume = _volume(is_entry)
    if volume is None or window is None:
        return None
    channels, height, width = volume.shape
    rows, columns = (
        axis_reach(np.arange(n), window, axis).is_event for axis, n in enumerate((height, width))
    )
    n_events = np.count_nonzero(volume & rows[:, None] & columns)
    return int(n_events) * sum(event_fields((channels, height, width), window).values())


def _event_compact(is_entry: Mask, window: Window | None) -> int | None:
    volume = _volume(is_entry)
    if volume is None:
        return None
    channels, height, width = volume.shape
    fields = compact_fields((channels, height, width))
    return int(np.count_nonzero(volume)) * sum(fields.values())


def _sparse(is_entry: Mask, window: Window | None, form: str) -> int:
    return sparse.size_bits(form, is_entry.shape, int(np.count_nonzero(is_entry)))


def _runlength(is_entry: Mask, window: Window | None, code: RunLength) -> int:
    return code.size_bits(count_pairs(is_entry, code))


def _bitmap(is_entry: Mask, window: Window | None) -> int:
    return bitmap.size_bits(is_entry.size, int(np.count_nonzero(is_entry)))


FORMATS: dict[str, Size] = {
    "dense": _dense,
    "event_full": _event_full,
    "event_compact": _event_compact,
    "csr": partial(_sparse, form="csr"),
    "csc": partial(_sparse, form="csc"),
    "coo": partial(_sparse, form="coo"),
    "rlc": partial(_runlength, code=PLAIN),
    "bitmap": _bitmap,
}


def sizes(
    codes: Codes,
    zero_point: ZeroPoint,
    window: Window | None = None,
    formats: Mapping[str, Size] = FORMATS,
) -> dict[str, int]:
    """Return the size of a tensor in each format that knows it.

    Parameters
    ----------
    codes : int8 or uint8 array
        Activations [c, h, w] or [n], or weights of another rank, which are never events.
    zero_point : int or integer array that broadcasts to the shape of codes
    window : Window, optional
        Of the convolution that reads the activations; without one there are no full events.
    formats : mapping of name to function
        The shipped formats by default: codes of 8 bits, least index widths with a row per channel
        or filter, runs of 5 bits without words.

    Returns
    -------
    dict of name to bits
    """
    is_entry = entries(codes, zero_point)
    found = {name: size(is_entry, window) for name, size in formats.items()}
    return {name: bits for name, bits in found.items() if bits is not None}
