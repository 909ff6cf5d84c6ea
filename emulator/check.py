"""Compares a run with the integer reference; the only place of a run that reads it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import Network
from ..models.reference import forward
from .emulation import Frame


def compared(frame: Frame) -> dict[str, NDArray[Any]]:
    """Return the frame's code tensors by name, those before a fused pool included."""
    found = {name: part.dense() for name, part in frame.tensors.items()}
    return found | frame.before_pool


def differences(
    network: Network, frame: Frame, values: NDArray[Any], threshold: int | Callable[[str], int]
) -> tuple[int, list[str]]:
    """Compare a frame with the reference.

    Parameters
    ----------
    network : Network
    frame : Frame
    values : array
        The frame's input.
    threshold : int, or callable from a layer's name
        The machine's.

    Returns
    -------
    int
        Tensors compared.
    list of str
        One sentence for each tensor that differs.
    """
    expected = forward(network, values[None], threshold)
    got = compared(frame) | frame.outputs
    wrong = []
    for name, codes in got.items():
        same = codes.reshape(expected[name].shape[1:]) == expected[name][0]
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            wrong.append(
                f"frame {frame.number}: tensor {name} differs in {int((~same).sum())} of "
                f"{same.size} values, first at {at}"
            )
    return len(got), wrong
