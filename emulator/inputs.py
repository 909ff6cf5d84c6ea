"""The frames of a run: from a file, or the images of a network of the zoo."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.frames import check_inputs
from ..models.network import ModelError, Network
from ..models.synthetic import MOST_FRAMES
from ..models.zoo import ZOO, Entry, images, load

DEFAULT_FRAMES = 10


def entry(network: Network) -> Entry | None:
    """Return the network's entry in the zoo; another network of the same name has none."""
    name = network.name
    return ZOO[name] if name in ZOO and load(name).digest == network.digest else None


def find_frames(
    network: Network, path: str | None, frames: str | None, name: str, **options: Any
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Return the frames of a run and, for the images of the zoo, their labels.

    Parameters
    ----------
    network : Network
    path : str or None
        Of a .npy or .npz file; None for the zoo's images.
    frames : str or None
        How many, ``all``, or None for ten or what there is; of a synthetic network there is
        one, and more are made when asked for.
    name : str
        In the zoo, or the path of a file.
    **options
        With which `firemesh.models.zoo.load` gave the network.

    Raises
    ------
    ModelError
        When there are no frames, not as many, or they do not fit the network.
    """
    labels: NDArray[np.int64] | None = None
    if path is not None:
        values = check_inputs(network, read_frames(path), path)
    elif known := ZOO.get(name) or entry(network):
        made = None
        if known.is_synthetic and frames not in (None, "all"):
            made = _count(frames, MOST_FRAMES, network.name)
        values, labels = images(known.name, made, **options)
    else:
        shape = " x ".join(str(size) for size in network.tensors[network.inputs[0]].shape)
        raise ModelError(
            f"{network.name}: brings no images; give frames x {shape} with --input FILE.npy"
        )
    n = _count(frames, len(values), path or network.name)
    return values[:n], None if labels is None else labels[:n]


def _count(text: str | None, available: int, where: str) -> int:
    if text is None:
        return min(DEFAULT_FRAMES, available)
    if text == "all":
        return available
    if not re.fullmatch("[0-9]{1,18}", text) or not 1 <= int(text) <= available:
        raise ModelError(
            f"--frames: must be all or 1..{available} ({available} frames in {where}), got {text}"
        )
    return int(text)


def read_frames(path: str | Path) -> NDArray[Any]:
    """Return the array in a .npy file, or the array ``images`` or only array in a .npz file.

    Raises
    ------
    ModelError
        When the file is missing, damaged or holds no such array.
    """
    try:
        return _array(path)
    except ModelError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"{path}: cannot be read ({reason}); give a .npy or .npz file") from None
    except MemoryError:
        raise ModelError(
            f"{path}: needs more memory than there is; give a file with fewer frames"
        ) from None
    except Exception:  # numpy's, zipfile's, zlib's and tokenize's have no base of their own
        raise ModelError(
            f"{path}: is not a complete .npy or .npz file of numbers; save it with numpy.save"
        ) from None


def _array(path: str | Path) -> NDArray[Any]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        names = loaded.files
        name = "images" if "images" in names else names[0] if len(names) == 1 else None
        if name is None:
            raise ModelError(
                f"{path}: holds {', '.join(names) or 'no arrays'}; "
                "name the frames' array images, or give a file with one array"
            )
        array = loaded[name]
    if not isinstance(array, np.ndarray):
        raise ModelError(f"{path}: {name} is not an array; save it with numpy.savez")
    return array
