"""Frames: checks that an array can enter a network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import ModelError, Network


def check_inputs(network: Network, values: Any, where: str = "images") -> NDArray[Any]:
    """Return frames in the type of the network's input.

    Parameters
    ----------
    network : Network
    values : array [n, ...], or one frame
    where : str
        File or argument, for messages.

    Raises
    ------
    ModelError
        When shape, type or values do not fit.
    """
    if len(network.inputs) != 1:
        raise ModelError(
            f"network {network.name}: has {len(network.inputs)} inputs "
            f"({', '.join(network.inputs)}); firemesh runs networks with one"
        )
    tensor = network.tensors[network.inputs[0]]
    try:
        array = np.asarray(values)
    except ValueError:
        raise ModelError(
            f"{where}: must be one array of frames, got values of different shapes; "
            "pass the images alone, without labels"
        ) from None
    wanted = " x ".join(str(size) for size in tensor.shape)
    if array.shape == tensor.shape:
        array = array[None]
    if array.shape[1:] != tensor.shape or array.ndim != len(tensor.shape) + 1 or not len(array):
        got = " x ".join(str(size) for size in array.shape) or "a single value"
        raise ModelError(
            f"{where}: must have shape frames x {wanted} for network {network.name}, got {got}"
        )
    if array.dtype.kind not in "biuf":
        raise ModelError(
            f"{where}: must hold numbers, got {array.dtype}; convert to {tensor.dtype}"
        )
    if not tensor.is_code:
        with np.errstate(over="ignore"):
            real = array.astype(np.float32)
        if not np.isfinite(real).all():
            raise ModelError(
                f"{where}: must be finite in float32, got NaN or infinity; replace those values"
            )
        return real
    if array.dtype.kind == "f" or array.min() < tensor.low or array.max() > tensor.high:
        raise ModelError(
            f"{where}: must be integer codes in {tensor.low}..{tensor.high} ({tensor.dtype}), "
            f"got {array.dtype} in {array.min()}..{array.max()}"
        )
    return array.astype(tensor.dtype)
