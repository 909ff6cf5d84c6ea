"""Makes one layer of an architecture after the other: weights, sums, calibration, codes."""

from dataclasses import replace
from typing import Any

import numpy as np

from .calibration import PEAK_CODE, Calibration, calibrate, centred, peak
from .draft import Array, Draft
from .layers import Add, Concat, Conv, GlobalAveragePool, Linear, MaxPool, Reshape
from .network import Tensor
from .operators import add, reshape
from .pooling import global_average_pool, max_pool
from .reference import conv_sums, linear_sums
from .requantise import requantise
from .residual import MIDDLE, calibrate_residual
from .shapes import conv_shape, pool_shape
from .specs import (
    AddSpec,
    ConcatSpec,
    ConvSpec,
    LinearSpec,
    MaxPoolSpec,
    PoolSpec,
    Spec,
    WeightedSpec,
)
from .weights import random_weight


def make(draft: Draft, spec: Spec) -> None:
    """Add a layer of the architecture to a draft, with what belongs to it."""
    names = [spec.name]
    if isinstance(spec, WeightedSpec):
        _weighted(draft, spec)
        if isinstance(spec, ConvSpec) and spec.add:
            names.append(spec.add.name)
    elif isinstance(spec, ConcatSpec):
        _concat(draft, spec)
    elif isinstance(spec, MaxPoolSpec):
        _pool(draft, spec.name, spec.pool, f"{spec.name}_out", spec.reads)
    else:
        x, codes = draft.read(spec.reads)
        y = _mean(f"{spec.name}_out", x, codes)
        layer = GlobalAveragePool(spec.name, (x.name,), y.name)
        draft.add(layer, y, global_average_pool(codes, x, y))
    if isinstance(spec, ConvSpec | ConcatSpec) and spec.pool:
        _pool(draft, f"{spec.name}_pool", spec.pool, f"{spec.name}_pooled")
    draft.finish(names)


def _weighted(draft: Draft, spec: WeightedSpec) -> None:
    x, codes = draft.read(spec.reads)
    if isinstance(spec, LinearSpec) and len(x.shape) > 1:
        flat = replace(x, name="flat", shape=(x.size,))
        draft.add(Reshape("flatten", (x.name,), flat.name), flat, reshape(codes, flat.shape))
        x, codes = draft.read("")
    index = draft.recipe.architecture.weighted.index(spec)
    layer, sums = _summed(draft, index, x, codes)
    if isinstance(spec, ConvSpec) and spec.add:
        _with_shortcut(draft, index, spec.add, layer, x, sums)
    else:
        layer, y = _calibrated(draft, index, layer, x, sums)
        _requantised(draft, layer, y, sums)


def _with_shortcut(
    draft: Draft, index: int, spec: AddSpec, layer: Conv | Linear, x: Tensor, sums: Array
) -> None:
    """Add a convolution and the addition behind it; its ReLU is the range of the sum's codes."""
    shortcut, codes = draft.read(spec.shortcut)
    share = draft.recipe.output_density(index)
    names = (layer.name, spec.name)
    found = calibrate_residual(names, x, sums[0], shortcut, codes[0], share)
    multiplier = np.full(layer.bias.shape, found.multiplier, np.float32)
    layer = replace(layer, bias=found.bias, multiplier=multiplier)
    _requantised(draft, layer, found.branch, sums)
    y, inputs = found.total, (found.branch, shortcut)
    a, b = ((tensor.scale, tensor.zero_point) for tensor in inputs)
    total = add(draft.codes[layer.output], codes, a, b, y)
    draft.add(Add(spec.name, (layer.output, shortcut.name), y.name), y, total)


def _requantised(draft: Draft, layer: Conv | Linear, y: Tensor, sums: Array) -> None:
    """Add a weighted layer whose sums lack the bias."""
    biased = sums + layer.bias.reshape(-1, *[1] * (sums.ndim - 2))
    draft.add(
        layer, y, requantise(biased, layer.multiplier, y.zero_point, layer.low, layer.high, 1)
    )


def _summed(draft: Draft, index: int, x: Tensor, codes: Array) -> tuple[Conv | Linear, Array]:
    """Return a layer that lacks bias and scale, and its int32[1, k, ...] sums."""
    spec = draft.recipe.architecture.weighted[index]
    shape: tuple[int, ...] = (spec.filters, x.size)
    if isinstance(spec, ConvSpec):
        shape = (spec.filters, x.shape[0] // spec.groups, spec.kernel, spec.kernel)
    fields: dict[str, Any] = {
        "name": spec.name,
        "inputs": (x.name,),
        "output": f"{spec.name}_out",
        "weight": random_weight(draft.recipe, index, shape),
        "weight_zero_point": np.zeros(spec.filters, np.int32),
        "multiplier": np.zeros(spec.filters, np.float32),
        "bias": np.zeros(spec.filters, np.int32),
        "low": 0,
        "high": 255,
    }
    if isinstance(spec, LinearSpec):
        full = Linear(**fields)
        return full, linear_sums(full, codes, x.zero_point)
    conv = Conv(
        **fields,
        strides=(spec.stride, spec.stride),
        pads=(spec.pad,) * 4,
        groups=spec.groups,
    )
    return conv, conv_sums(conv, codes, x.zero_point, _size(conv_shape(conv, x.shape)))


def _calibrated(
    draft: Draft, index: int, layer: Conv | Linear, x: Tensor, sums: Array
) -> tuple[Conv | Linear, Tensor]:
    """Return the layer with bias and multiplier, and its output tensor."""
    recipe = draft.recipe
    spec, share = recipe.architecture.weighted[index], recipe.output_density(index)
    cap = spec.cap if isinstance(spec, ConvSpec) else None
    code = PEAK_CODE if cap is None else layer.high
    if share is not None:
        concat = recipe.architecture.concat_of(spec)
        # of pools that overlap too, but for old networks, whose results are to stay
        has_ties = spec.is_depthwise or (concat is not None and concat.pool is not None)
        pooled = _pooled(draft, spec, sums)[0]
        found = calibrate(spec.name, sums[0], pooled, share, code, has_ties)
    elif recipe.is_last(index):
        found = Calibration(layer.bias, max(1, peak(sums)))
    else:
        found = centred(sums[0])
    # a power of two that keeps the activations' scales within a factor of two of each other
    weight_scale = 0.5 ** (found.peak // PEAK_CODE).bit_length()
    scale = _given_scale(draft, spec) if cap is None else cap / code
    if scale is not None:
        weight_scale = scale * code / (found.peak * x.scale)
    product = np.float32(x.scale) * np.float32(weight_scale)
    if scale is None:
        scale = float(product) * found.peak / PEAK_CODE
    name = "logits" if recipe.is_last(index) else layer.output
    y = Tensor(name, sums.shape[1:], "uint8", scale, MIDDLE if share is None else 0)
    multiplier = np.full(spec.filters, product / np.float32(y.scale), np.float32)
    return replace(layer, output=name, bias=found.bias, multiplier=multiplier), y


def _given_scale(draft: Draft, spec: Spec) -> float | None:
    """Return the scale of the codes that a layer's are joined with, if there are some."""
    concat = draft.recipe.architecture.concat_of(spec)
    if concat is None or concat.parts[0] == spec.name:
        return None
    return draft.read(concat.parts[0])[0].scale


def _pooled(draft: Draft, spec: Spec, sums: Array) -> Array:
    """Return the maxima of sums in the windows of the pool behind a layer, or of its Concat's."""
    pool = spec.pool if isinstance(spec, ConvSpec) else None
    concat = draft.recipe.architecture.concat_of(spec)
    pool = concat.pool if concat else pool
    if pool is None:
        return sums
    layer = _max_pool(f"{spec.name}_pool", pool, spec.name, f"{spec.name}_pooled")
    return max_pool(sums, layer, _size(pool_shape(layer, sums.shape[1:], pool.is_ceiled)))


def _concat(draft: Draft, spec: ConcatSpec) -> None:
    read = [draft.read(name) for name in spec.parts]
    tensors, codes = [tensor for tensor, _ in read], [values for _, values in read]
    channels = sum(tensor.shape[0] for tensor in tensors)
    y = replace(tensors[0], name=f"{spec.name}_out", shape=(channels, *tensors[0].shape[1:]))
    layer = Concat(spec.name, tuple(tensor.name for tensor in tensors), y.name, axis=0)
    draft.add(layer, y, np.concatenate(codes, axis=1))


def _mean(name: str, x: Tensor, codes: Array) -> Tensor:
    """Return the output of a mean: the 99.9th percentile of what is above 0 is code 127."""
    sums = (codes.astype(np.int64) - x.zero_point).sum(axis=(2, 3))
    scale = x.scale * max(1, peak(sums)) / (x.shape[1] * x.shape[2] * PEAK_CODE)
    return Tensor(name, (x.shape[0], 1, 1), "uint8", scale, 0 if x.zero_point == 0 else MIDDLE)


def _pool(draft: Draft, name: str, spec: PoolSpec, output: str, reads: str = "") -> None:
    x, codes = draft.read(reads)
    layer = _max_pool(name, spec, x.name, output)
    y = replace(x, name=output, shape=pool_shape(layer, x.shape, spec.is_ceiled))
    draft.add(layer, y, max_pool(codes, layer, _size(y.shape)))


def _max_pool(name: str, spec: PoolSpec, source: str, output: str) -> MaxPool:
    sides = (spec.kernel, spec.kernel), (spec.stride, spec.stride)
    return MaxPool(name, (source,), output, *sides, pads=(spec.pad,) * 4)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1], shape[2]
