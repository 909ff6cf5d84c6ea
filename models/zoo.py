"""Networks by name: trained ones that come with the package, and synthetic ones; their images."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import synthetic
from .architectures import ARCHITECTURES
from .cut import cut, frames_at
from .layers import ModelError
from .network import Network
from .onnx_reader import read_onnx
from .quantise import quantise
from .recipe import Recipe

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Parameters
    ----------
    name : str
    description : str
        One sentence.
    shape : tuple of int
        Of one input image.
    source : str
        Where the network and the images come from.
    file, dataset : str
        File names in the package's data folder; empty for synthetic networks.
    accuracy_float, accuracy_int8 : float, optional
        Share of the held-back images classified correctly, measured before and after
        quantisation; synthetic networks have none.
    """

    name: str
    description: str
    shape: tuple[int, ...]
    source: str
    file: str = ""
    dataset: str = ""
    accuracy_float: float | None = None
    accuracy_int8: float | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether the network is made on demand, with random weights and images."""
        return not self.file


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
    **{
        name: Entry(
            name=name,
            description=f"{architecture.title}, synthetic weights",
            shape=architecture.shape,
            source=f"made on demand with the shapes of {architecture.source}",
        )
        for name, architecture in ARCHITECTURES.items()
    },
}


def load(
    name_or_path: str | os.PathLike[str],
    preset: str | None = None,
    seed: int | None = None,
    weights: str | None = None,
    activations: float | None = None,
    layers: str | None = None,
    calibration: Any = None,
) -> Network:
    """Return a network of the zoo, or read one from an ONNX file.

    Parameters
    ----------
    name_or_path : str or path
        A name in ``ZOO``, or the path of an ONNX file, quantised or, with calibration, float.
    preset : str, optional
        Densities of a synthetic network: S1 (default), S2 or S3.
    seed : int, optional
        Of a synthetic network's weights and images; 0 by default.
    weights : str, optional
        ``rows:D``, ``random:D`` or ``dense`` instead of the preset's weights; depth-wise layers
        stay dense.
    activations : float, optional
        Density behind every ReLU, addition and pool included, instead of the preset's.
    layers : str, optional
        ``all``, ``conv`` or layer names with commas between: the part of the network from the
        first to the last of them. By default all, but of vgg16 and alexnet the convolutions.
    calibration : float32[n, ...], optional
        Typical frames, with which a float file is quantised to int8 (``quantise`` has options);
        needs onnxruntime: ``pip install 'firemesh[quantise]'``.

    Raises
    ------
    ModelError
        If the name is unknown, the file cannot be used, or an option does not apply.

    Examples
    --------
    >>> load("digits").inputs
    ('image',)
    """
    name = os.fspath(name_or_path)
    if name in ZOO and calibration is not None:
        raise ModelError(f"load.calibration: must be left out for {name}, which is quantised")
    if name in ARCHITECTURES:
        return synthetic.network(_recipe(name, preset, seed, weights, activations, layers))
    _refuse(name, preset=preset, seed=seed, weights=weights, activations=activations)
    network = _stored(name) if name in ZOO else _file(name, calibration)
    return cut(network, "all" if layers is None else layers)


def images(
    name: str,
    frames: int | None = None,
    preset: str | None = None,
    seed: int | None = None,
    weights: str | None = None,
    activations: float | None = None,
    layers: str | None = None,
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Return frames for a zoo network, and labels where there are some.

    Parameters
    ----------
    name : str
        A name in ``ZOO``.
    frames : int, optional
        How many, from the first; by default all held-back images, of a synthetic network the one
        that it is calibrated on.
    preset, seed, weights, activations, layers
        As in ``load``: frames for the network that it gives with the same options.

    Returns
    -------
    array[n, ...], int64[n] or None
        Images, or the activations that the network's first layer reads; labels only where a
        trained network runs to its end.

    Raises
    ------
    ModelError
        If the name is unknown, there are fewer images, or an option does not apply.
    """
    if name not in ZOO:
        raise ModelError(f"images.name: must be one of {', '.join(ZOO)}, got {name!r}")
    if name in ARCHITECTURES:
        recipe = _recipe(name, preset, seed, weights, activations, layers)
        return synthetic.images(recipe, 1 if frames is None else frames), None
    _refuse(name, preset=preset, seed=seed, weights=weights, activations=activations)
    values, labels = _held_back(ZOO[name], frames)
    network = _stored(name)
    part = cut(network, "all" if layers is None else layers)
    is_whole = part.outputs == network.outputs
    return frames_at(network, part.inputs[0], values), labels if is_whole else None


def _recipe(
    name: str,
    preset: str | None,
    seed: int | None,
    weights: str | None,
    activations: float | None,
    layers: str | None,
) -> Recipe:
    preset = "S1" if preset is None else preset
    return Recipe(name, preset, 0 if seed is None else seed, weights, activations, layers)


def _refuse(name: str, **options: object) -> None:
    """Raise an error where an option of synthetic networks is given for another."""
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise ModelError(
            f"{given[0]}: is for synthetic networks ({', '.join(ARCHITECTURES)}); {name} has "
            f"weights of its own"
        )


def _stored(name: str) -> Network:
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


def _file(name: str, calibration: Any) -> Network:
    if not name or (Path(name).suffix != ".onnx" and not os.path.exists(name)):
        raise ModelError(
            f"{name or 'an empty name'}: no network of this name and no such file; known networks: "
            f"{', '.join(ZOO)}; or give the path of an ONNX file"
        )
    return read_onnx(name) if calibration is None else _calibrated(name, calibration)


def _calibrated(path: str, calibration: Any) -> Network:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        quantise(path, calibration, file)
        try:
            return read_onnx(file)
        except ModelError as error:
            raise ModelError(str(error).replace(str(file), f"{path} (quantised)")) from error


def _held_back(entry: Entry, frames: int | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    with np.load(DATA / entry.dataset) as archive:
        pixels, labels = archive["images"], archive["labels"]
    count = len(labels) if frames is None else frames
    if not 1 <= count <= len(labels):
        raise ModelError(f"images.frames: must be 1..{len(labels)}, got {frames}")
    shape = (count, *entry.shape)
    return pixels[:count].astype(np.float32).reshape(shape), labels[:count].astype(np.int64)
