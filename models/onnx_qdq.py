"""ONNX nodes of the QDQ form: float operators between DequantizeLinear and QuantizeLinear."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from . import onnx_layers
from .layers import GlobalAveragePool, Quantize, Rescale
from .network import Tensor
from .onnx_builder import Array, Builder, Codes, Pending, Real, Value, Weights, Wide
from .onnx_graph import Node
from .onnx_qlinear import emit_sum, gemm_attributes, sum_shape
from .operators import quantize
from .shapes import Shape

REMEDY = "quantise the model with onnxruntime.quantization.quantize_static (QDQ, int8)"


def quantize_linear(builder: Builder, node: Node) -> None:
    """QuantizeLinear: ends a float group, or quantises a network input or a constant."""
    if node.attributes.get("block_size", 0):
        raise builder.graph.error(node, "block_size must be 0: blocks are not supported")
    name = node.input(0)
    if name in builder.graph.constants:
        builder.constants[node.outputs[0]] = _quantized_constant(builder, node)
        return
    value = builder.value(node, 0)
    if isinstance(value, Wide):
        y = builder.output(node, 1, value.tensor.shape)
        builder.emit(Quantize(builder.name(node, "quantize"), (name,), y.name))
    elif isinstance(value, Real):
        y = builder.output(node, 1, value.tensor.shape)
        if _same_codes(value.tensor, y):
            del builder.tensors[y.name]
            y = value.tensor
        else:
            builder.emit(Rescale(builder.name(node, "rescale"), (value.tensor.name,), y.name))
    elif isinstance(value, Pending):
        y = _GROUPS[value.node.op](builder, node, value)
    else:
        raise builder.graph.error(node, "must read float values, got codes")
    builder.values[node.outputs[0]] = Codes(y)


def dequantize_linear(builder: Builder, node: Node) -> None:
    """DequantizeLinear of an activation or of constant codes."""
    if node.attributes.get("block_size", 0):
        raise builder.graph.error(node, "block_size must be 0: blocks are not supported")
    name = node.input(0)
    codes = builder.constants.get(name, builder.graph.constants.get(name))
    value: Value
    if codes is not None:
        axis = int(node.attributes.get("axis", 1))
        value = builder.scaled(node, codes, 1, axis % max(codes.ndim, 1))
    else:
        value = Real(builder.codes(node, 0))
    builder.values[node.outputs[0]] = value


def group(builder: Builder, node: Node) -> None:
    """Conv, Gemm, MatMul, Add, GlobalAveragePool: remember the operands until QuantizeLinear."""
    if node.op == "Add" and _is_bias_of_matmul(builder, node):
        return
    operands: list[Real | Weights] = []
    has_bias = node.op in ("Conv", "Gemm") and bool(node.input(2))
    for index in range(min(2, len(node.inputs))):
        value = builder.value(node, index)
        if not isinstance(value, Real | Weights):
            raise builder.graph.error(
                node, f"input {index} must come from DequantizeLinear, got {_kind(value)}; {REMEDY}"
            )
        operands.append(value)
    if not operands or (node.op != "Add" and not isinstance(operands[0], Real)):
        raise builder.graph.error(node, "input 0 must be an activation, got a constant")
    bias = _bias(builder, node, 2) if has_bias else None
    builder.values[node.outputs[0]] = Pending(node, tuple(operands), bias)


def _is_bias_of_matmul(builder: Builder, node: Node) -> bool:
    """Give the sum's constant to the MatMul before it, if there is one: a Gemm in two nodes."""
    for index in (0, 1):
        product = builder.values.get(node.input(index))
        if isinstance(product, Pending) and product.node.op == "MatMul":
            is_plain = product.bias is None and product.low == -product.high == float("-inf")
            if is_plain:
                bias = _bias(builder, node, 1 - index)
                builder.values[node.outputs[0]] = replace(product, bias=bias)
                return True
    return False


def _bias(builder: Builder, node: Node, index: int) -> Weights | Array:
    name = node.input(index)
    value = builder.values.get(name)
    if isinstance(value, Weights) and value.codes.dtype == np.int32:
        return value
    real = builder.graph.constants.get(name)
    if real is not None and real.dtype == np.float32:
        return real
    raise builder.graph.error(
        node, f"the bias must be a float32 constant or constant int32 codes; {REMEDY}"
    )


def clip(builder: Builder, node: Node) -> None:
    """Relu and Clip: narrow the range of the float group they follow, or start one."""
    low, high = _bounds(builder, node)
    value = builder.value(node, 0)
    if isinstance(value, Real):
        value = Pending(node, (value,))
    if not isinstance(value, Pending):
        raise builder.graph.error(
            node, f"must stand between DequantizeLinear and QuantizeLinear, got {_kind(value)}"
        )
    # min(max(x, low), high) of an already clipped x; high wins where the ranges do not meet
    narrowed = [min(max(bound, low), high) for bound in (value.low, value.high)]
    builder.values[node.outputs[0]] = replace(value, low=narrowed[0], high=narrowed[1])


def copy(builder: Builder, node: Node) -> None:
    """MaxPool, Flatten, Reshape, Squeeze, Unsqueeze: the same on codes and on real values."""
    value = builder.value(node, 0)
    make = onnx_layers.pool if node.op == "MaxPool" else onnx_layers.reshape
    if isinstance(value, Pending) and value.node.op in ("Relu", "Clip"):
        # clipping is monotone: the maximum of clipped values is the clipped maximum
        source = value.operands[0]
        if isinstance(source, Real):
            y = make(builder, node, source.tensor, node.outputs[0])
            builder.values[y.name] = replace(value, operands=(Real(y),))
            return
    if not isinstance(value, Codes | Real):
        raise builder.graph.error(
            node, f"must read codes or dequantised values, got {_kind(value)}; {REMEDY}"
        )
    y = make(builder, node, value.tensor, node.outputs[0])
    builder.values[y.name] = type(value)(y)


def identity(builder: Builder, node: Node) -> None:
    """Identity, and Dropout outside training: another name for the same value."""
    name, output = node.input(0), node.outputs[0]
    if name in builder.graph.constants:
        builder.graph.constants[output] = builder.graph.constants[name]
    elif name in builder.constants:
        builder.constants[output] = builder.constants[name]
    else:
        builder.values[output] = builder.value(node, 0)


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


def _sum(builder: Builder, node: Node, value: Pending) -> Tensor:
    operands = [item.tensor if isinstance(item, Real) else item for item in value.operands]
    shape = sum_shape(builder, value.node, operands)
    return _clipped(
        builder, node, value, shape, lambda y: emit_sum(builder, value.node, operands, y)
    )


def _average(builder: Builder, node: Node, value: Pending) -> Tensor:
    x = value.operands[0]
    if not isinstance(x, Real) or len(x.tensor.shape) != 3:
        raise builder.graph.error(value.node, "must average [n, c, h, w]")
    layer = GlobalAveragePool(builder.name(value.node), (x.tensor.name,), node.outputs[0])
    shape = (x.tensor.shape[0], 1, 1)
    return _clipped(builder, node, value, shape, lambda y: builder.emit(layer))


def _clipped(
    builder: Builder, node: Node, value: Pending, shape: Shape, emit: Callable[[Tensor], None]
) -> Tensor:
    """Emit a sum or mean whose Relu or Clip changes nothing that saturation does not."""
    y = builder.output(node, 1, shape)
    bounds = quantize(np.array([value.low, value.high], np.float32), y)
    if (int(bounds[0]), int(bounds[1])) != (y.low, y.high):
        raise builder.graph.error(
            value.node,
            f"a Relu or Clip behind it must be covered by the code range of {y.name!r}; "
            f"quantise activations asymmetrically (onnxruntime.quantization does by default)",
        )
    emit(y)
    return y


def _rescaled(builder: Builder, node: Node, value: Pending) -> Tensor:
    x = value.operands[0]
    if not isinstance(x, Real):
        raise builder.graph.error(value.node, "must read an activation, got a constant")
    y = builder.output(node, 1, x.tensor.shape)
    name = builder.name(value.node)
    builder.emit(Rescale(name, (x.tensor.name,), y.name, value.low, value.high))
    return y


def _quantized_constant(builder: Builder, node: Node) -> Array:
    """Return the codes of float weights that the file quantises itself."""
    real = builder.graph.constants[node.input(0)]
    if real.dtype != np.float32:
        raise builder.graph.error(node, f"must quantise float32 values, got {real.dtype}")
    kind = np.dtype(np.uint8)
    if node.input(2):
        kind = builder.graph.constant(node, 2, "the zero point").dtype
    params = builder.scaled(node, np.zeros(0, kind), 1, int(node.attributes.get("axis", 1)))
    if kind.name not in ("int8", "uint8"):
        raise builder.graph.error(node, f"codes must be int8 or uint8, got {kind}")
    shape = [1] * real.ndim
    if params.scale.size > 1:
        shape[params.axis] = params.scale.size
    scaled = np.rint(real / params.scale.reshape(shape)) + params.zero_point.reshape(shape)
    limits = np.iinfo(kind)
    codes: Array = np.clip(scaled, limits.min, limits.max).astype(kind)
    return codes


def _bounds(builder: Builder, node: Node) -> tuple[float, float]:
    if node.op == "Relu":
        return 0.0, float("inf")
    bounds = []
    for index, attribute, default in ((1, "min", float("-inf")), (2, "max", float("inf"))):
        if node.input(index):
            bounds.append(float(builder.graph.scalar(node, index, "a bound")))
        else:
            bounds.append(float(node.attributes.get(attribute, default)))
    if not bounds[0] <= bounds[1]:
        raise builder.graph.error(node, f"min must be at most max, got {bounds}")
    return bounds[0], bounds[1]


def _same_codes(a: Tensor, b: Tensor) -> bool:
    return (a.dtype, a.scale, a.zero_point) == (b.dtype, b.scale, b.zero_point)


def _kind(value: Value) -> str:
    kinds = {
        Codes: "codes",
        Real: "dequantised values",
        Weights: "a constant",
        Pending: "the float result of another operator",
        Wide: "the float input of the network",
    }
    return kinds[type(value)]


_GROUPS: dict[str, Callable[[Builder, Node, Pending], Tensor]] = {
    "Conv": _weighted,
    "Gemm": _weighted,
    "MatMul": _weighted,
    "Add": _sum,
    "GlobalAveragePool": _average,
    "Relu": _rescaled,
    "Clip": _rescaled,
}

HANDLERS: dict[str, Callable[[Builder, Node], None]] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "Conv": group,
    "Gemm": group,
    "MatMul": group,
    "Add": group,
    "GlobalAveragePool": group,
    "Relu": clip,
    "Clip": clip,
    "MaxPool": copy,
    "Flatten": copy,
    "Reshape": copy,
    "Squeeze": copy,
    "Unsqueeze": copy,
    "Identity": identity,
    "Dropout": identity,
}
