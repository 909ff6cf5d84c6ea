"""Layers from ONNX nodes whose operands are known: what both quantised forms share."""

from dataclasses import replace
from typing import Any

import numpy as np

from .layers import Conv, Linear, MaxPool, Reshape, total
from .network import Tensor
from .onnx_builder import Array, Builder, Weights
from .onnx_graph import Node
from .operators import quantize
from .shapes import Shape, conv_shape, linear_shape, pool_shape


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


def pool(builder: Builder, node: Node, x: Tensor, output: str) -> Tensor:
    """Emit a MaxPool on codes and return its output tensor."""
    kernel = tuple(int(size) for size in node.attributes.get("kernel_shape", ()))
    if len(x.shape) != 3 or len(kernel) != 2:
        raise builder.graph.error(
            node, f"must pool [n, c, h, w] with a two-dimensional kernel, got kernel {kernel}"
        )
    if any(node.outputs[1:]) or node.attributes.get("storage_order", 0):
        raise builder.graph.error(node, "must have one output; indices are not supported")
    strides, pads, dilations = windows(builder, node, kernel, x.shape[1:])
    layer = MaxPool(builder.name(node), (x.name,), output, kernel, strides, pads, dilations)
    shape = pool_shape(layer, x.shape, bool(node.attributes.get("ceil_mode", 0)))
    builder.emit(layer)
    return builder.tensor(node, output, shape, x.dtype, x.scale, x.zero_point)


def windows(
    builder: Builder, node: Node, kernel: tuple[int, ...], size: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Return strides, pads and dilations of a Conv or MaxPool node, auto_pad resolved."""
    attributes = node.attributes
    strides = tuple(int(v) for v in attributes.get("strides", (1, 1)))
    dilations = tuple(int(v) for v in attributes.get("dilations", (1, 1)))
    pads = tuple(int(v) for v in attributes.get("pads", (0, 0, 0, 0)))
    given = tuple(attributes.get("kernel_shape", kernel))
    lengths = (len(strides), len(dilations), len(pads), given)
    if lengths != (2, 2, 4, tuple(kernel)) or min(*strides, *dilations) < 1:
        raise builder.graph.error(
            node,
            f"must have two positive strides and dilations, four pads and the weight's kernel, "
            f"got {strides}, {dilations}, {pads}, {given}",
        )
    mode = attributes.get("auto_pad", b"NOTSET").decode()
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same_pads(strides, dilations, kernel, size, mode == "SAME_LOWER")
    elif mode == "VALID":
        pads = (0, 0, 0, 0)
    elif mode != "NOTSET":
        raise builder.graph.error(node, f"auto_pad must be NOTSET, SAME_* or VALID, got {mode}")
    return (
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilations[0], dilations[1]),
    )


def _same_pads(
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    is_lower: bool,
) -> tuple[int, ...]:
    before, after = [], []
    for stride, dilation, taps, length in zip(strides, dilations, kernel, size, strict=True):
        count = -(-length // stride)
        missing = max(0, (count - 1) * stride + dilation * (taps - 1) + 1 - length)
        first = (missing + is_lower) // 2
        before.append(first)
        after.append(missing - first)
    return (*before, *after)


def reshape(builder: Builder, node: Node, x: Tensor, output: str) -> Tensor:
    """Emit a Reshape of codes for Flatten, Reshape, Squeeze or Unsqueeze; return its output."""
    shape = _reshaped(builder, node, (1, *x.shape))
    if not shape or shape[0] != 1 or total(shape) != x.size:
        raise builder.graph.error(
            node, f"must keep the batch axis and all values, got {list(x.shape)} to {list(shape)}"
        )
    builder.emit(Reshape(builder.name(node), (x.name,), output))
    return builder.tensor(node, output, shape[1:], x.dtype, x.scale, x.zero_point)


def _reshaped(builder: Builder, node: Node, shape: Shape) -> Shape:
    """Return the output shape for a batch of one."""
    rank = len(shape)
    if node.op == "Flatten":
        axis = int(node.attributes.get("axis", 1)) % rank
        return total(shape[:axis]), total(shape[axis:])
    if node.op == "Reshape":
        target = [int(v) for v in builder.graph.constant(node, 1, "the new shape").reshape(-1)]
        if not node.attributes.get("allowzero", 0):
            target = [shape[i] if v == 0 and i < rank else v for i, v in enumerate(target)]
        known = total(v for v in target if v != -1)
        return tuple(total(shape) // max(known, 1) if v == -1 else v for v in target)
    axes = node.attributes.get("axes")
    if axes is None and node.input(1):
        axes = builder.graph.constant(node, 1, "the axes").reshape(-1).tolist()
    if node.op == "Squeeze":
        gone = {a % rank for a in axes} if axes is not None else set(range(1, rank))
        return tuple(v for i, v in enumerate(shape) if i not in gone or (v != 1 and axes is None))
    new = {a % (rank + len(axes or ())) for a in axes or ()}
    rest = iter(shape)
    return tuple(1 if i in new else next(rest) for i in range(rank + len(new)))
