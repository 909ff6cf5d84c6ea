"""Layers from groups of the QDQ form: a float operator between DequantizeLinear and Quantize."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from . import onnx_elementwise, onnx_layers, onnx_windows
from .conversions import quantize
from .elementwise import INFINITY
from .layers import GlobalAveragePool, Rescale, Softmax
from .network import Tensor
from .onnx_builder import Array, Builder, Operand, Pending, Real, Weights
from .onnx_graph import Node
from .onnx_qlinear import gemm_attributes, softmax
from .shapes import Shape

REMEDY = "quantise the model with onnxruntime.quantization.quantize_static (QDQ, int8)"


def finish(builder: Builder, node: Node, value: Pending) -> Tensor:
    """Emit the layer of a group that a QuantizeLinear ends and return the layer's output."""
    return _GROUPS[value.node.op](builder, node, value)


def float_softmax(builder: Builder, value: Pending) -> Softmax:
    """Return the Softmax of a group that no QuantizeLinear ends: a float output."""
    return softmax(
        builder, value.node, _activation(builder, value), value.node.outputs[0], builder.graph.opset
    )


def _weighted(builder: Builder, node: Node, value: Pending) -> Tensor:
    x, weights = value.operands[0], value.operands[1]
    if not isinstance(x, Real) or not isinstance(weights, Weights):
        raise builder.graph.error(
            value.node, "must multiply an activation by constant quantised weights"
        )
    is_kn = value.node.op == "Gemm" and gemm_attributes(builder, value.node)
    axis = 0 if value.node.op == "Conv" or is_kn else 1
    if weights.scale.size > 1 and weights.axis != axis:
        raise builder.graph.error(
            value.node, f"the weight's scales must run along axis {axis}, got {weights.axis}"
        )
    integers = _integer_bias(builder, value, x.tensor, weights)
    layer, shape = (
        onnx_layers.conv(builder, value.node, x.tensor, weights, integers)
        if value.node.op == "Conv"
        else onnx_layers.linear(builder, value.node, x.tensor, weights, integers, is_kn)
    )
    y = builder.output(node, 1, shape)
    builder.emit(onnx_layers.finish(layer, y, value.low, value.high))
    return y


def _integer_bias(builder: Builder, value: Pending, x: Tensor, weights: Weights) -> Array | None:
    """Return the bias as int32 codes of scale scale_x * scale_w.

    A float bias is rounded to them, as ONNX Runtime does when it fuses the group.
    """
    bias = value.bias
    if bias is None:
        return None
    scale = np.float32(x.scale) * weights.scale
    if isinstance(bias, Weights):
        if bias.zero_point.any() or not np.allclose(bias.scale, scale, rtol=1e-5, atol=0.0):
            raise builder.graph.error(
                value.node, f"the bias must have zero point 0 and scale scale_x * scale_w; {REMEDY}"
            )
        return bias.codes
    codes = np.rint(bias.reshape(-1) / scale)
    if not (np.abs(codes) < 2.0**31).all():
        raise builder.graph.error(
            value.node, f"the bias must fit into int32 codes of scale scale_x * scale_w; {REMEDY}"
        )
    integers: Array = codes.astype(np.int32)
    return integers


def _joined(builder: Builder, node: Node, value: Pending) -> Tensor:
    """Add and Mul."""
    operands = _operands(value)
    y = builder.output(node, 1, onnx_elementwise.shape(builder, value.node, operands))
    onnx_elementwise.emit(builder, value.node, operands, y, *_bounds(value, y))
    return y


def _concat(builder: Builder, node: Node, value: Pending) -> Tensor:
    operands = _operands(value)
    layer, shape = onnx_elementwise.concat(builder, value.node, operands, value.low, value.high)
    y = builder.output(node, 1, shape)
    builder.emit(replace(layer, output=y.name))
    return y


def _operands(value: Pending) -> list[Operand]:
    return [item.tensor if isinstance(item, Real) else item for item in value.operands]


def _bounds(value: Pending, y: Tensor) -> tuple[float, float]:
    """Return the bounds of a Relu or Clip, infinite where ONNX Runtime drops it.

    It does where the code range implies the bounds, to within the epsilon of float32; then the
    group is fused to the integer operator.

    Source: ONNX Runtime, clip_quant_fusion.cc, relu_quant_fusion.cc.
    """
    scale, epsilon = np.float32(y.scale), np.finfo(np.float32).eps
    low, high = (np.float32(code - y.zero_point) * scale for code in (y.low, y.high))
    if value.low - low <= epsilon and high - value.high <= epsilon:
        return -INFINITY, INFINITY
    return value.low, value.high


def _average(builder: Builder, node: Node, value: Pending) -> Tensor:
    x = _activation(builder, value)
    layer, shape = onnx_windows.average(builder, value.node, x, node.outputs[0])
    y = _covered(builder, node, value, shape)
    builder.emit(layer)
    return y


def _global_average(builder: Builder, node: Node, value: Pending) -> Tensor:
    x = _activation(builder, value)
    if len(x.shape) != 3:
        raise builder.graph.error(value.node, f"must average [n, c, h, w], got {list(x.shape)}")
    layer = GlobalAveragePool(builder.name(value.node), (x.name,), node.outputs[0])
    y = _covered(builder, node, value, (x.shape[0], 1, 1))
    builder.emit(layer)
    return y


def _softmax(builder: Builder, node: Node, value: Pending) -> Tensor:
    x = _activation(builder, value)
    layer = softmax(builder, value.node, x, node.outputs[0], builder.graph.opset)
    y = _covered(builder, node, value, x.shape)
    builder.emit(layer)
    return y


def _covered(builder: Builder, node: Node, value: Pending, shape: Shape) -> Tensor:
    """Return the output of a mean or Softmax; a Relu or Clip behind it must change nothing.

    Otherwise ONNX Runtime forms the mean in float32, in an order that it does not promise.
    """
    y = builder.output(node, 1, shape)
    bounds = quantize(np.array([value.low, value.high], np.float32), y)
    if (int(bounds[0]), int(bounds[1])) != (y.low, y.high):
        raise builder.graph.error(
            value.node,
            f"a Relu or Clip behind it must be covered by the code range of {y.name!r}; "
            f"quantise activations asymmetrically (onnxruntime.quantization does by default)",
        )
    return y


def _activation(builder: Builder, value: Pending) -> Tensor:
    x = value.operands[0]
    if not isinstance(x, Real):
        raise builder.graph.error(value.node, "must read an activation, got a constant")
    return x.tensor


def _rescaled(builder: Builder, node: Node, value: Pending) -> Tensor:
    x = _activation(builder, value)
    y = builder.output(node, 1, x.shape)
    name = builder.name(value.node)
    builder.emit(Rescale(name, (x.name,), y.name, value.low, value.high))
    return y


_GROUPS: dict[str, Callable[[Builder, Node, Pending], Tensor]] = {
    "Conv": _weighted,
    "Gemm": _weighted,
    "MatMul": _weighted,
    "Add": _joined,
    "Mul": _joined,
    "Concat": _concat,
    "AveragePool": _average,
    "GlobalAveragePool": _global_average,
    "Softmax": _softmax,
    "Relu": _rescaled,
    "Clip": _rescaled,
}
