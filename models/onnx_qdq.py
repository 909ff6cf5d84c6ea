"""ONNX nodes of the QDQ form: float operators between DequantizeLinear and QuantizeLinear."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from . import onnx_elementwise, onnx_groups, onnx_moves, onnx_windows
from .layers import Quantize, Rescale
from .network import Tensor
from .onnx_builder import Array, Builder, Codes, Pending, Real, Value, Weights, Wide
from .onnx_graph import Node
from .onnx_groups import REMEDY

_MOVES: dict[str, Callable[[Builder, Node, Tensor, str], Tensor]] = {
    "MaxPool": onnx_windows.pool,
    "Transpose": onnx_moves.transpose,
    "Flatten": onnx_moves.reshape,
    "Reshape": onnx_moves.reshape,
    "Squeeze": onnx_moves.reshape,
    "Unsqueeze": onnx_moves.reshape,
}


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
        y = onnx_groups.finish(builder, node, value)
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
    """Conv, Gemm, MatMul, Add, Mul, means, Softmax: remember the operands until QuantizeLinear."""
    if node.op == "Add" and _is_bias_of_matmul(builder, node):
        return
    if node.op == "Concat" and _is_concat_of_codes(builder, node):
        return
    operands: list[Real | Weights] = []
    has_bias = node.op in ("Conv", "Gemm") and bool(node.input(2))
    for index in range(2 if has_bias else len(node.inputs)):
        value = builder.value(node, index)
        if not isinstance(value, Real | Weights):
            raise builder.graph.error(
                node, f"input {index} must come from DequantizeLinear, got {_kind(value)}; {REMEDY}"
            )
        operands.append(value)
    is_join = node.op in _JOINED
    if not operands or not (is_join or isinstance(operands[0], Real)):
        raise builder.graph.error(node, "input 0 must be an activation, got a constant")
    bias = _bias(builder, node, 2) if has_bias else None
    builder.values[node.outputs[0]] = Pending(node, tuple(operands), bias)


def _is_concat_of_codes(builder: Builder, node: Node) -> bool:
    """Emit a Concat of code tensors that share type, scale and zero point, if it is one."""
    parts = [builder.values.get(name) for name in node.inputs]
    tensors = [part.tensor for part in parts if isinstance(part, Codes)]
    if len(tensors) != len(parts) or not tensors:
        return False
    x = tensors[0]
    if not all(_same_codes(x, tensor) for tensor in tensors):
        raise builder.graph.error(
            node, "codes must have one type, scale and zero point; use QLinearConcat"
        )
    layer, shape = onnx_elementwise.concat(builder, node, [*tensors])
    y = builder.tensor(node, node.outputs[0], shape, x.dtype, x.scale, x.zero_point)
    builder.emit(layer)
    builder.values[y.name] = Codes(y)
    return True


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
    """MaxPool, Transpose and new shapes: the same on codes and on real values."""
    value = builder.value(node, 0)
    make, output = _MOVES[node.op], node.outputs[0]
    # the float output keeps its name for the Dequantize layer behind
    is_float_output = output in builder.graph.outputs and not isinstance(value, Codes)
    name = f"{output}_quantized" if is_float_output else output
    if isinstance(value, Pending) and value.node.op in ("Relu", "Clip"):
        # clipping is monotone: the maximum of clipped values is the clipped maximum
        source = value.operands[0]
        if isinstance(source, Real):
            y = make(builder, node, source.tensor, name)
            builder.values[output] = replace(value, operands=(Real(y),))
            return
    if not isinstance(value, Codes | Real):
        raise builder.graph.error(
            node, f"must read codes or dequantised values, got {_kind(value)}; {REMEDY}"
        )
    y = make(builder, node, value.tensor, name)
    builder.values[output] = type(value)(y)


def identity(builder: Builder, node: Node) -> None:
    """Identity, and Dropout outside training: another name for the same value."""
    name, output = node.input(0), node.outputs[0]
    if node.op == "Dropout" and (any(node.outputs[1:]) or _is_training(builder, node)):
        raise builder.graph.error(
            node, "must be out of training and without a mask; export the model for inference"
        )
    if name in builder.graph.constants:
        builder.graph.constants[output] = builder.graph.constants[name]
    elif name in builder.constants:
        builder.constants[output] = builder.constants[name]
    else:
        builder.values[output] = builder.value(node, 0)


def batch_normalization(builder: Builder, node: Node) -> None:
    """BatchNormalization: always an error, because ONNX Runtime leaves it in float32 here.

    It folds one into the Conv before it while the weights are float, and not behind their
    DequantizeLinear.
    """
    raise builder.graph.error(
        node,
        "must be folded into the Conv before it, before quantisation; run "
        "onnxruntime.quantization.quant_pre_process on the float model and quantise it again, "
        "or firemesh.models.quantise, which does both",
    )


def _is_training(builder: Builder, node: Node) -> bool:
    return bool(node.input(2)) and bool(builder.graph.scalar(node, 2, "training_mode"))


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


_JOINED = ("Add", "Mul", "Concat")
_GROUPED = ("Conv", "Gemm", "MatMul", *_JOINED, "AveragePool", "GlobalAveragePool", "Softmax")

HANDLERS: dict[str, Callable[[Builder, Node], None]] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    **dict.fromkeys(_GROUPED, group),
    **dict.fromkeys(_MOVES, copy),
    "Relu": clip,
    "Clip": clip,
    "BatchNormalization": batch_normalization,
    "Identity": identity,
    "Dropout": identity,
}
