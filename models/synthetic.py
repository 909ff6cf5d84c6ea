"""Synthetic networks: known shapes, random pruned weights, calibrated to given densities.

Source: the MNF paper's density settings, see `firemesh.models.densities`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .architectures import ConvSpec, LinearSpec
from .calibration import PEAK_CODE, Calibration, calibrate, peak, thinned
from .cut import chosen, cut, frames_at
from .layers import Conv, Layer, Linear, MaxPool, ModelError, Reshape
from .network import Network, Tensor
from .noise import image
from .operators import reshape
from .pooling import max_pool
from .prune import prune_rows
from .recipe import Recipe
from .reference import conv_sums, linear_sums
from .requantise import requantise
from .shapes import conv_shape, pool_shape

PES, MULTIPLIERS = 11, 27
"""Of the MNF paper's machine, for which the weight rows are pruned."""

MOST_FRAMES = 1000
"""Images made at a time."""

Array = NDArray[Any]


def network(recipe: Recipe) -> Network:
    """Return a synthetic network; the same recipe gives the same network.

    Weights are int8, uniform in -127..127 without 0 in the rows that stay. Activations are uint8
    with zero point 0 behind a ReLU; the logits are uint8 with zero point 128. Bias
    and scales are those of `calibrate` on image 0 of the seed.

    Raises
    ------
    ModelError
        If a layer is unknown or cannot reach its density.
    """
    names = [spec.name for spec in recipe.architecture.layers]
    layers = recipe.chosen_layers
    if layers == "all":
        last = names[-1]
    elif layers == "conv":
        last = recipe.architecture.convolutions[-1].name
    else:
        last = chosen(layers, names, recipe.name)[-1]
    whole = _upto(replace(recipe, layers=None), names.index(last) + 1)
    part = cut(whole, layers)
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
    architecture = recipe.architecture
    values = np.stack([_input(recipe, i) for i in range(frames)])
    names = [spec.name for spec in architecture.layers]
    if recipe.chosen_layers in ("all", "conv"):
        return values
    first = chosen(recipe.chosen_layers, names, recipe.name)
    whole = _upto(replace(recipe, layers=None), names.index(first[-1]) + 1)
    by_name = {layer.name: layer for layer in whole.layers}
    return frames_at(whole, by_name[first[0]].inputs[0], values)


def _input(recipe: Recipe, frame: int) -> NDArray[np.uint8]:
    """Return an image, or the activations that a part of a network reads."""
    values = image(recipe.architecture.shape, recipe.seed, frame)
    share = recipe.input_density
    return values if share is None else thinned(values, share, recipe.seed)


@lru_cache(maxsize=2)
def _upto(recipe: Recipe, count: int) -> Network:
    """Return the network of the first layers, pool included."""
    shape = recipe.architecture.shape
    codes: Array = _input(recipe, 0)[None]
    last = Tensor("image", shape, "uint8", 1 / 255)
    tensors, layers = {last.name: last}, []
    for index in range(count):
        for layer, y, made in _stage(recipe, index, last, codes):
            layers.append(layer)
            tensors[y.name] = y
            last, codes = y, made
    return Network(recipe.name, tuple(layers), tensors, ("image",), (last.name,))


def _stage(
    recipe: Recipe, index: int, x: Tensor, codes: Array
) -> Iterator[tuple[Layer, Tensor, Array]]:
    """Yield a weighted layer and what stands around it, with output tensors and codes."""
    spec = recipe.architecture.layers[index]
    if isinstance(spec, LinearSpec) and len(x.shape) > 1:
        flat = replace(x, name="flat", shape=(x.size,))
        codes = reshape(codes, flat.shape)
        yield Reshape("flatten", (x.name,), flat.name), flat, codes
        x = flat
    layer, sums = _summed(recipe, index, x, codes)
    layer, y = _calibrated(recipe, index, layer, x, sums)
    biased = sums + layer.bias.reshape(-1, *[1] * (sums.ndim - 2))
    codes = requantise(biased, layer.multiplier, y.zero_point, layer.low, layer.high, 1)
    codes = codes.astype(y.dtype)
    yield layer, y, codes
    if isinstance(spec, ConvSpec) and spec.pool:
        pool = _pool(spec, y.name)
        pooled = replace(y, name=pool.output, shape=pool_shape(pool, y.shape, False))
        yield pool, pooled, max_pool(codes, pool, _size(pooled.shape))


def _summed(recipe: Recipe, index: int, x: Tensor, codes: Array) -> tuple[Conv | Linear, Array]:
    """Return a layer that lacks bias and scale, and its int32[1, k, ...] sums."""
    spec = recipe.architecture.layers[index]
    shape: tuple[int, ...] = (spec.filters, x.size)
    if isinstance(spec, ConvSpec):
        shape = (spec.filters, x.shape[0] // spec.groups, spec.kernel, spec.kernel)
    fields: dict[str, Any] = {
        "name": spec.name,
        "inputs": (x.name,),
        "output": f"{spec.name}_out",
        "weight": _weight(recipe, index, shape),
        "weight_zero_point": np.zeros(spec.filters, np.int32),
        "multiplier": np.zeros(spec.filters, np.float32),
        "bias": np.zeros(spec.filters, np.int32),
        "low": 0,
        "high": 255,
    }
    if isinstance(spec, LinearSpec):
        full = Linear(**fields)
        return full, linear_sums(full, codes, 0)
    conv = Conv(
        **fields,
        strides=(spec.stride, spec.stride),
        pads=(spec.pad,) * 4,
        groups=spec.groups,
    )
    return conv, conv_sums(conv, codes, 0, _size(conv_shape(conv, x.shape)))


def _weight(recipe: Recipe, index: int, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Return random weights without 0, pruned by row; they depend on the layer's name alone."""
    spec = recipe.architecture.layers[index]
    name = f"{recipe.name} {spec.name}".encode()
    rng = np.random.default_rng([recipe.seed, *name])
    weight = rng.integers(-127, 127, shape, np.int8)
    weight += weight >= 0
    rule, density = recipe.pruning(index)
    if density < 1:
        strides = (spec.stride, spec.stride) if isinstance(spec, ConvSpec) else (1, 1)
        weight *= prune_rows(
            weight,
            density,
            MULTIPLIERS // (spec.tile[0] * spec.tile[1]),
            spec.tile,
            PES,
            strides,
            groups=spec.groups if isinstance(spec, ConvSpec) else 1,
            seed=int(rng.integers(2**63)),
            rule=rule,
        )
    return weight


def _calibrated(
    recipe: Recipe, index: int, layer: Conv | Linear, x: Tensor, sums: Array
) -> tuple[Conv | Linear, Tensor]:
    """Return the layer with bias and multiplier, and its output tensor."""
    spec = recipe.architecture.layers[index]
    share = recipe.output_density(index)
    if share is None:
        found = Calibration(layer.bias, max(1, peak(sums)))
    else:
        pooled = sums
        if isinstance(spec, ConvSpec) and spec.pool:
            pool = _pool(spec, layer.output)
            pooled = max_pool(sums, pool, _size(pool_shape(pool, sums.shape[1:], False)))
        found = calibrate(spec.name, sums[0], pooled[0], share)
    # a power of two that keeps the activations' scales within a factor of two of each other
    product = np.float32(x.scale) * np.float32(0.5 ** (found.peak // PEAK_CODE).bit_length())
    name, point = ("logits", 128) if share is None else (layer.output, 0)
    y = Tensor(name, sums.shape[1:], "uint8", float(product) * found.peak / PEAK_CODE, point)
    multiplier = np.full(spec.filters, product / np.float32(y.scale), np.float32)
    return replace(layer, output=name, bias=found.bias, multiplier=multiplier), y


def _pool(spec: ConvSpec, source: str) -> MaxPool:
    assert spec.pool is not None
    kernel, stride = spec.pool.kernel, spec.pool.stride
    name = f"{spec.name}_pool"
    return MaxPool(name, (source,), f"{spec.name}_pooled", (kernel, kernel), (stride, stride))


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1], shape[2]
