"""Synthetic networks: known shapes, random pruned weights, calibrated to given densities.

Source: the MNF paper's density settings, see `firemesh.models.densities`.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import thinned
from .cut import chosen, cut, frames_at
from .draft import Draft
from .layers import ModelError
from .network import Network, Tensor
from .noise import image
from .recipe import Recipe
from .specs import IMAGE
from .stages import make

MOST_FRAMES = 1000
"""Images made at a time."""

Array = NDArray[Any]


def network(recipe: Recipe) -> Network:
    """Return a synthetic network; the same recipe gives the same network.

    Weights are int8, uniform in -127..127 without 0 in the rows that stay. Activations are uint8,
    with zero point 0 behind a ReLU, and 128 behind other layers and for the logits. Bias and
    scales are those of `calibrate` on image 0 of the seed.

    Raises
    ------
    ModelError
        If a layer is unknown or cannot reach its density.
    """
    part = cut(_whole(recipe), recipe.chosen_layers)
    return Network(
        recipe.name, part.layers, part.tensors, part.inputs, part.outputs, recipe.sentence
    )


def images(recipe: Recipe, frames: int) -> Array:
    """Return frames for a synthetic network; the first is the one it is calibrated on.

    Returns
    -------
    uint8[frames, ...]
        In the shape of the network's input: images or, where the network begins behind its first
        layer, activations.

    Raises
    ------
    ModelError
        If ``frames`` is not 1..1000.
    """
    if not 1 <= frames <= MOST_FRAMES:
        raise ModelError(f"images.frames: must be 1..{MOST_FRAMES}, got {frames}")
    values = np.stack([_input(recipe, i) for i in range(frames)])
    if recipe.chosen_layers in ("all", "conv"):
        return values
    whole = _whole(recipe)
    return frames_at(whole, cut(whole, recipe.chosen_layers).inputs[0], values)


def _input(recipe: Recipe, frame: int) -> NDArray[np.uint8]:
    """Return an image, or the activations that a part of a network reads."""
    values = image(recipe.architecture.shape, recipe.seed, frame)
    share = recipe.input_density
    return values if share is None else thinned(values, share, recipe.seed)


def _whole(recipe: Recipe) -> Network:
    """Return the network from its input to the last layer that the recipe needs."""
    architecture, layers = recipe.architecture, recipe.chosen_layers
    if layers == "all":
        count = len(architecture.layers)
    elif layers == "conv":
        count = architecture.n_convolutional
    else:
        names = chosen(layers, list(architecture.places), recipe.name)
        count = architecture.places[names[-1]] + 1
    return _upto(replace(recipe, layers=None), count)


@lru_cache(maxsize=2)
def _upto(recipe: Recipe, count: int) -> Network:
    """Return the network of the first layers, with what belongs to them."""
    architecture = recipe.architecture
    start = Tensor(IMAGE, architecture.shape, "uint8", 1 / 255)
    draft = Draft(recipe, start, _input(recipe, 0)[None])
    for spec in architecture.layers[:count]:
        make(draft, spec)
    return draft.network()
