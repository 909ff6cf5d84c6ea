"""Activations as events: which output positions and which weights an activation meets.

The rules are the paper's Algorithms 1 and 2, extended to any stride, padding, dilation, groups and
row bands. Source: "Multiply-and-Fire (MNF)", section 4.1; its worked example (pixel (1, 1) of a
4 x 4 ifmap, start weight 4, neurons 0, 1, 4, 5) is a layer with one pixel of padding whose pixels
are counted from 1.
"""

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Window(NamedTuple):
    """The geometry of a convolution, each field (y, x)."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]
    """Padding above and to the left; padding below and to the right acts through ``ofmap``."""
    ofmap: tuple[int, int]

    def ofmap_step(self, axis: int) -> int:
        """Return e = d / gcd(s, d): the distance of the output positions of consecutive taps."""
        return self.dilations[axis] // gcd(self.strides[axis], self.dilations[axis])

    def kernel_step(self, axis: int) -> int:
        """Return u = s / gcd(s, d): the distance in the kernel of consecutive taps."""
        return self.strides[axis] // gcd(self.strides[axis], self.dilations[axis])


class ConvEvents(NamedTuple):
    """Events of a convolution, each array [n_events]."""

    source: Ints
    """Which of the activations handed in the event is."""
    channel: Ints
    start_weight: Ints
    """Kernel position ``ky*S + kx`` that meets the first output position."""
    start_neuron: Ints
    """First output position, ``(oy - band start)*pitch + ox``."""
    x_jump: Ints
    y_jump: Ints


class AxisReach(NamedTuple):
    """What activations reach along one axis, each array [n]."""

    is_event: NDArray[np.bool_]
    low: Ints
    """First output position."""
    jump: Ints
    """Number of further output positions, ``ofmap_step`` apart."""
    kernel: Ints
    """Kernel index that meets ``low``."""


def axis_reach(
    at: Ints, window: Window, axis: int, band: tuple[int, int] | None = None
) -> AxisReach:
    """Return which output positions activations meet along one axis.

    Parameters
    ----------
    at : int64[n]
        Coordinates in the ifmap.
    window : Window
    axis : int
        0 for y, 1 for x.
    band : (int, int), optional
        Half-open range of output positions; all by default.

    Returns
    -------
    AxisReach
    """
    r, s, d = window.kernel[axis], window.strides[axis], window.dilations[axis]
    e = window.ofmap_step(axis)
    first, end = (0, window.ofmap[axis]) if band is None else band
    t = np.asarray(at, np.int64) + window.pads[axis]
    low = np.maximum(first, -((d * (r - 1) - t) // s))
    for _ in range(e - 1):
        low = low + ((t - s * low) % d != 0)
    high = np.minimum(end - 1, t // s)
    is_event = (t % gcd(s, d) == 0) & (high >= low) & ((t - s * low) % d == 0)
    return AxisReach(
        is_event,
        np.where(is_event, low, 0),
        np.where(is_event, (high - low) // e, 0),
        np.where(is_event, (t - s * low) // d, 0),
    )


def conv_events(
    channel: Ints,
    y: Ints,
    x: Ints,
    window: Window,
    band: tuple[int, int] | None = None,
    pitch: int | None = None,
) -> ConvEvents:
    """Encode activations as convolution events, in the order given.

    Parameters
    ----------
    channel, y, x : int64[n]
        Coordinates of the activations that differ from the zero point.
    window : Window
        Geometry of the layer.
    band : (int, int), optional
        Half-open range of ofmap rows that the PEs hold; all by default.
    pitch : int, optional
        Distance of ofmap rows in neuron numbers; the ofmap's width by default.

    Returns
    -------
    ConvEvents
        Without the activations that no output position uses.
    """
    rows = axis_reach(y, window, 0, band)
    columns = axis_reach(x, window, 1)
    kept = np.flatnonzero(rows.is_event & columns.is_event)
    first_row = 0 if band is None else band[0]
    pitch = window.ofmap[1] if pitch is None else pitch
    return ConvEvents(
        source=kept,
        channel=np.asarray(channel, np.int64)[kept],
        start_weight=rows.kernel[kept] * window.kernel[1] + columns.kernel[kept],
        start_neuron=(rows.low[kept] - first_row) * pitch + columns.low[kept],
        x_jump=columns.jump[kept],
        y_jump=rows.jump[kept],
    )


def walk(
    events: ConvEvents, event: int, window: Window, pitch: int | None = None
) -> Iterator[tuple[int, int]]:
    """Yield the (neuron, weight) pairs of an event in the order of Algorithm 1."""
    pitch = window.ofmap[1] if pitch is None else pitch
    neuron, weight = int(events.start_neuron[event]), int(events.start_weight[event])
    for j in range(int(events.y_jump[event]) + 1):
        for i in range(int(events.x_jump[event]) + 1):
            yield (
                neuron + j * window.ofmap_step(0) * pitch + i * window.ofmap_step(1),
                weight - j * window.kernel_step(0) * window.kernel[1] - i * window.kernel_step(1),
            )


def fully_connected_walk(index: int, n_neurons: int) -> Iterator[tuple[int, int]]:
    """Yield the (neuron, weight) pairs of input ``index`` in the order of Algorithm 2.

    Weights lie input by input: weight ``index*n_neurons + neuron``.
    """
    for neuron in range(n_neurons):
        yield neuron, index * n_neurons + neuron


def raster(codes: NDArray[np.int8] | NDArray[np.uint8], zero_point: int) -> tuple[Ints, Ints, Ints]:
    """Return channel, y and x of the activations that differ from the zero point, by (y, x, c).

    Parameters
    ----------
    codes : int8 or uint8 [c, h, w]
    zero_point : int
    """
    y, x, channel = np.nonzero(codes.transpose(1, 2, 0) != zero_point)
    return channel, y, x
