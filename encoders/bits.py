"""Sizes of encoded tensors and messages in bits.

VGG-16 needs at most 8+9+4+16+2+2 = 41 bits for a full event and 33 for a compact one.
"""

import numpy as np

from .events import Window, axis_reach

VALUE_BITS = 8
TYPE_BITS = 2
"""Convolution event, fully connected event, end-of-data, fired output."""


def width(n: int) -> int:
    """Return ceil(log2 n): bits that tell ``n`` things apart, 0 for one."""
    if n < 1:
        raise ValueError(f"width: n must be at least 1, got {n}")
    return (n - 1).bit_length()


def event_fields(shape: tuple[int, int, int], window: Window) -> dict[str, int]:
    """Return the width of each field of a layer's full convolution event.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the ifmap.
    window : Window
    """
    jumps = [axis_reach(np.arange(shape[1 + axis]), window, axis).jump.max() for axis in (0, 1)]
    return {
        "value": VALUE_BITS,
        "channel": width(shape[0]),
        "start_weight": width(window.kernel[0] * window.kernel[1]),
        "start_neuron": width(window.ofmap[0] * window.ofmap[1]),
        "x_jump": width(int(jumps[1]) + 1),
        "y_jump": width(int(jumps[0]) + 1),
    }


def compact_fields(shape: tuple[int, int, int]) -> dict[str, int]:
    """Return the width of each field of the compact event of a tensor [c, h, w]."""
    channels, height, columns = shape
    return {
        "value": VALUE_BITS,
        "channel": width(channels),
        "y": width(height),
        "x": width(columns),
    }


def message_bits(fields: dict[str, int], n_destinations: int = 0) -> int:
    """Return the bits of a message: type, fields and a bit per possible destination."""
    return TYPE_BITS + sum(fields.values()) + n_destinations


def flits(bits: int, flit_bits: int) -> int:
    """Return how many flits carry a message."""
    if flit_bits < 1:
        raise ValueError(f"flit_bits: must be at least 1, got {flit_bits}")
    return -(-bits // flit_bits)
