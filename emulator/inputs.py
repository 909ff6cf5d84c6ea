"""Frames from files."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import ModelError


def read_frames(path: str | Path) -> NDArray[Any]:
    """Return the array in a .npy file, or the array ``images`` or only array in a .npz file.

    Raises
    ------
    ModelError
        When the file is missing or holds no such array.
    """
    try:
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
            frames: NDArray[Any] = loaded[name]
            return frames
    except OSError as error:
        reason = error.strerror or "not a .npy or .npz file"
        raise ModelError(f"{path}: cannot be read ({reason}); give a .npy or .npz file") from None
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError, MemoryError):
        raise ModelError(
            f"{path}: is not a complete .npy or .npz file of numbers; save it with numpy.save"
        ) from None
