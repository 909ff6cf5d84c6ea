"""Activations in storage: lists of events, in the order in which they are read again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.events import raster
from ..models.network import Tensor

EVENT_BYTES = 8
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Activations:
    """The non-zero activations of a tensor, as storage keeps them.

    Parameters
    ----------
    tensor : Tensor
    flat : int64[n]
        Index into the raveled tensor, in reading order.
    code : int64[n]
    address : int64[n]
        Byte address in storage.
    """

    tensor: Tensor
    flat: Ints
    code: Ints
    address: Ints

    @property
    def coordinates(self) -> tuple[Ints, Ints, Ints]:
        """Channel, y and x; a tensor of rank 1 has channels only."""
        shape = volume(self.tensor)
        channel, y, x = np.unravel_index(self.flat, shape)
        return channel, y, x

    def dense(self) -> NDArray[Any]:
        """Return the tensor's codes."""
        codes = np.full(self.tensor.size, self.tensor.zero_point, self.tensor.dtype)
        codes[self.flat] = self.code
        return codes.reshape(self.tensor.shape)

    def renamed(self, tensor: Tensor) -> "Activations":
        """Return the same activations under another name and shape."""
        return Activations(tensor, self.flat, self.code, self.address)


def volume(tensor: Tensor) -> tuple[int, int, int]:
    """Return a tensor's channels, height and width; 1 x 1 where it has no such axes."""
    shape = tensor.shape
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return tensor.size, 1, 1


def merged(parts: Sequence[Activations]) -> Activations:
    """Return the activations of one tensor that arrived in several waves."""
    if len(parts) == 1:
        return parts[0]
    flat, code, address = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("flat", "code", "address")
    )
    read = np.argsort(address)
    return Activations(parts[0].tensor, flat[read], code[read], address[read])


def arrived(
    tensor: Tensor,
    channel: Ints,
    y: Ints,
    x: Ints,
    code: Ints,
    order: str,
    base: int,
    held: Ints | None = None,
) -> Activations:
    """Return activations as storage keeps them.

    Parameters
    ----------
    tensor : Tensor
    channel, y, x, code : int64[n]
        In order of arrival.
    order : {"row", "channel", "raster"}
        How storage arranges them.
    base : int
        First byte of the tensor's region.
    held : int64[max(c, h)], optional
        Entries that each row (or channel) holds before; those that arrive are added.
    """
    channels, height, width = volume(tensor)
    flat = (channel * height + y) * width + x
    if order == "raster":
        entry = (y * width + x) * channels + channel
        read = np.argsort(entry, kind="stable")
    else:
        lists, capacity = (y, channels * width) if order == "row" else (channel, height * width)
        read = np.argsort(lists, kind="stable")
        entry = np.empty_like(flat)
        first = np.searchsorted(lists[read], lists[read])
        entry[read] = lists[read] * capacity + np.arange(len(read)) - first
        if held is not None:
            entry += held[lists]
            held += np.bincount(lists, minlength=len(held))
    return Activations(tensor, flat[read], code[read], base + EVENT_BYTES * entry[read])


def stored(tensor: Tensor, codes: NDArray[Any], order: str, base: int) -> Activations:
    """Return a dense tensor's activations as if they had arrived by (y, x, c)."""
    cube = codes.reshape(volume(tensor))
    channel, y, x = raster(cube, tensor.zero_point)
    code = cube[channel, y, x].astype(np.int64)
    return arrived(tensor, channel, y, x, code, order, base)


def as_input(tensor: Tensor, codes: NDArray[Any], base: int) -> Activations:
    """Return the network's input as storage keeps it: by (y, x, c)."""
    return stored(tensor, codes, "raster", base)
