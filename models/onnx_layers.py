"""Weighted layers from ONNX nodes whose operands are known, in both quantised forms."""

from dataclasses import replace
from typing import Any

import numpy as np

from .conversions import quantize
from .layers import Conv, Linear
from .network import Tensor
from .onnx_builder import Array, Builder, Weights
from .onnx_graph import Node
from .onnx_windows import windows
from .shapes import Shape, conv_shape, linear_shape


def conv(
    builder: Builder, node: Node, x: Tensor, weights: Weights, bias: Array | None
) -> tuple[Conv, Shape]:
    """Return a convolution whose multiplier still lacks the output's scale, and its shape."""
    if len(x.shape) != 3 or weights.codes.ndim != 4:
        raise builder.graph.error(
            node,
            f"must be a two-dimensional convolution ([n, c, h, w]), got an input "
            f"{list(x.shape)} behind the batch axis and a weight {list(weights.codes.shape)}",
        )
    kernel = weights.codes.shape[2:]
    strides, pads, dilations = windows(builder, node, kernel, x.shape[1:])
    layer = Conv(
        name=builder.name(node),
        inputs=(x.name,),
        output=node.outputs[0],
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=int(node.attributes.get("group", 1)),
        **_filters(builder, node, x, weights, weights.codes, bias),
    )
    return layer, conv_shape(layer, x.shape)


def linear(
    builder: Builder, node: Node, x: Tensor, weights: Weights, bias: Array | None, is_kn: bool
) -> tuple[Linear, Shape]:
    """Return a fully connected layer like ``conv``; ``is_kn``: the filter axis comes first."""
    if len(x.shape) != 1 or weights.codes.ndim != 2:
        raise builder.graph.error(
            node,
            f"must multiply [batch, n] by a constant matrix, got an input {list(x.shape)} behind "
            f"the batch axis and a weight {list(weights.codes.shape)}; flatten the input",
        )
    codes = weights.codes if is_kn else weights.codes.T
    layer = Linear(
        name=builder.name(node),
        inputs=(x.name,),
        output=node.outputs[0],
        **_filters(builder, node, x, weights, codes, bias),
    )
    return layer, linear_shape(layer, x.shape)


def _filters(
    builder: Builder, node: Node, x: Tensor, weights: Weights, codes: Array, bias: Array | None
) -> dict[str, Any]:
    k = codes.shape[0]
    if weights.scale.size not in (1, k):
        raise builder.graph.error(
            node, f"the weight must have one scale or {k}, got {weights.scale.size}"
        )
    if bias is not None and (bias.dtype != np.int32 or bias.size not in (1, k)):
        raise builder.graph.error(
            node,
            f"the bias must be int32[{k}], got {bias.dtype}{list(bias.shape)}; "
            f"quantise it with scale_x * scale_w",
        )
    with np.errstate(over="ignore"):
        product = np.float32(x.scale) * weights.scale
    values = np.zeros(1, np.int32) if bias is None else bias.reshape(-1)
    return {
        "weight": codes,
        "weight_zero_point": np.broadcast_to(weights.zero_point, k),
        "multiplier": np.broadcast_to(product, k),
        "bias": np.broadcast_to(values, k),
        "low": 0,
        "high": 0,
    }


def finish(layer: Conv | Linear, y: Tensor, low: float, high: float) -> Conv | Linear:
    """Return the layer with the output's scale and the code range of a fused Relu or Clip."""
    with np.errstate(over="ignore", under="ignore"):
        multiplier = layer.multiplier / np.float32(y.scale)
    bounds = quantize(np.array([low, high], np.float32), y)
    return replace(
        layer, output=y.name, multiplier=multiplier, low=int(bounds[0]), high=int(bounds[1])
    )
