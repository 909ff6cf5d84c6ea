"""Synthetic images: noise with the spectrum of natural images, the same on every machine."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN, DEVIATION = 117, 58
"""Of the grey values: about those of ImageNet's images."""


def image(shape: tuple[int, int, int], seed: int, frame: int) -> NDArray[np.uint8]:
    """Return an image of noise that is correlated in space and between channels.

    Octaves of bilinearly interpolated noise with equal amplitude (the last one, which is white,
    with a quarter) have about the power spectrum 1/f^2 of natural images. All sums are of
    integers or exact, so that no bit depends on the machine.

    Parameters
    ----------
    shape : (c, h, w)
    seed, frame : int
        At least 0; they decide the image together.

    Returns
    -------
    uint8[c, h, w]
        With mean 117 and standard deviation 58 before clipping to 0..255.
    """
    rng = np.random.default_rng([seed, frame])
    channels, height, width = shape
    side = 1 << (max(height, width) - 1).bit_length()
    shared = _octaves(rng, side)
    planes = [3 * shared + _octaves(rng, side) for _ in range(channels)]
    values = np.rint(np.stack(planes)[:, :height, :width]).astype(np.int64)
    count = values.size
    mean = int(values.sum()) / count
    spread = sqrt(int((values * values).sum()) / count - mean * mean)
    grey = np.rint((values - mean) * (DEVIATION / spread) + MEAN)
    codes: NDArray[np.uint8] = np.clip(grey, 0, 255).astype(np.uint8)
    return codes


def _octaves(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return the sum of noise on grids of cells of side, side/2, ... 1 positions."""
    total = np.zeros((side, side))
    cell = side
    while cell >= 1:
        corners = side // cell + 1
        grid: NDArray[Any] = rng.integers(-128, 128, (corners, corners)).astype(np.float64)
        step = np.arange(cell) / cell
        grid = (grid[:-1, None] * (1 - step[:, None]) + grid[1:, None] * step[:, None]).reshape(
            side, corners
        )
        plane = grid[:, :-1, None] * (1 - step) + grid[:, 1:, None] * step
        total += plane.reshape(side, side) / (4 if cell == 1 else 1)
        cell //= 2
    return total
