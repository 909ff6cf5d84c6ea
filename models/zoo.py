"""Networks that come with the package, and their images."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import ModelError
from .network import Network
from .onnx_reader import read_onnx

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Parameters
    ----------
    name : str
    file, dataset : str
        File names in the package's data folder.
    description : str
        One sentence.
    accuracy_float, accuracy_int8 : float
        Share of the held-back images classified correctly, measured before and after
        quantisation.
    shape : tuple of int
        Of one input image.
    source : str
        Where the network and the images come from.
    """

    name: str
    file: str
    dataset: str
    description: str
    accuracy_float: float
    accuracy_int8: float
    shape: tuple[int, ...]
    source: str


_SOURCE = (
    "trained by firemesh.models.train_digits on scikit-learn's copy of Optical Recognition of "
    "Handwritten Digits (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, CC BY 4.0)"
)

ZOO: dict[str, Entry] = {
    "digits": Entry(
        name="digits",
        file="digits.onnx",
        dataset="digits.npz",
        description="CNN for 8 x 8 handwritten digits: 2 convolutions, 2 fully connected layers",
        accuracy_float=0.9833,
        accuracy_int8=0.9861,
        shape=(1, 8, 8),
        source=_SOURCE,
    ),
    "digits-pruned": Entry(
        name="digits-pruned",
        file="digits-pruned.onnx",
        dataset="digits.npz",
        description="the same network with half the weight rows pruned (all layers but conv1)",
        accuracy_float=0.9917,
        accuracy_int8=0.9917,
        shape=(1, 8, 8),
        source=_SOURCE,
    ),
}


def load(name_or_path: str | os.PathLike[str]) -> Network:
    """Return a network of the zoo, or read one from an ONNX file.

    Parameters
    ----------
    name_or_path : str or path
        A name in ``ZOO``, or the path of a quantised ONNX file.

    Raises
    ------
    ModelError
        If the name is unknown or the file cannot be used.

    Examples
    --------
    >>> load("digits").inputs
    ('image',)
    """
    name = os.fspath(name_or_path)
    if name in ZOO:
        entry = ZOO[name]
        network = read_onnx(DATA / entry.file)
        return Network(
            name,
            network.layers,
            network.tensors,
            network.inputs,
            network.outputs,
            entry.description,
        )
    if not name or (Path(name).suffix != ".onnx" and not os.path.exists(name)):
        raise ModelError(
            f"{name or 'an empty name'}: no network of this name and no such file; known networks: "
            f"{', '.join(ZOO)}; or give the path of an ONNX file"
        )
    return read_onnx(name)


def images(name: str, frames: int | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return held-back images of a zoo network and their labels.

    Parameters
    ----------
    name : str
        A name in ``ZOO``.
    frames : int, optional
        How many, from the first; all of them by default.

    Returns
    -------
    float32[n, *shape], int64[n]

    Raises
    ------
    ModelError
        If the name is unknown, or there are fewer images.
    """
    if name not in ZOO:
        raise ModelError(f"images.name: must be one of {', '.join(ZOO)}, got {name!r}")
    with np.load(DATA / ZOO[name].dataset) as archive:
        pixels, labels = archive["images"], archive["labels"]
    count = len(labels) if frames is None else frames
    if not 1 <= count <= len(labels):
        raise ModelError(f"images.frames: must be 1..{len(labels)}, got {frames}")
    shape = (count, *ZOO[name].shape)
    return pixels[:count].astype(np.float32).reshape(shape), labels[:count].astype(np.int64)
