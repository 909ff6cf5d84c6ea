"""ONNX nodes of the QOperator form: integer operators with scales as inputs."""

from collections.abc import Callable

import numpy as np

from . import onnx_layers
from .layers import Add, AddConstant, GlobalAveragePool
from .network import Tensor
from .onnx_builder import Array, Builder, Codes, Weights
from .onnx_graph import Node
from .shapes import Shape, broadcast_shape

UNBOUNDED = (float("-inf"), float("inf"))


def qlinear_conv(builder: Builder, node: Node) -> None:
    """QLinearConv: x, its scale and zero point, w, ..., y's scale and zero point, bias."""
    x = builder.codes(node, 0)
    bias = builder.graph.constant(node, 8, "the bias") if node.input(8) else None
    layer, shape = onnx_layers.conv(builder, node, x, builder.weights(node, 3), bias)
    y = builder.output(node, 6, shape)
    builder.emit(onnx_layers.finish(layer, y, *UNBOUNDED))
    builder.values[y.name] = Codes(y)


def qlinear_matmul(builder: Builder, node: Node) -> None:
    """QLinearMatMul: a, its scale and zero point, b [n, k], ..., y's scale and zero point."""
    x = builder.codes(node, 0)
    layer, shape = onnx_layers.linear(builder, node, x, builder.weights(node, 3), None, False)
    y = builder.output(node, 6, shape)
    builder.emit(onnx_layers.finish(layer, y, *UNBOUNDED))
    builder.values[y.name] = Codes(y)


def qgemm(builder: Builder, node: Node) -> None:
    """QGemm of com.microsoft: a, ..., b, ..., bias, y's scale and zero point."""
    is_kn = gemm_attributes(builder, node)
    x = builder.codes(node, 0)
    bias = builder.graph.constant(node, 6, "the bias") if node.input(6) else None
    layer, shape = onnx_layers.linear(builder, node, x, builder.weights(node, 3), bias, is_kn)
    if not node.input(7):
        raise builder.graph.error(node, "must give y's scale: float outputs are not supported")
    y = builder.output(node, 7, shape)
    builder.emit(onnx_layers.finish(layer, y, *UNBOUNDED))
    builder.values[y.name] = Codes(y)


def qlinear_add(builder: Builder, node: Node) -> None:
    """QLinearAdd of com.microsoft: a, ..., b, ..., y's scale and zero point."""
    operands: list[Tensor | Weights] = []
    for index in (0, 3):
        name = node.input(index)
        is_constant = name in builder.graph.constants or name in builder.constants
        operands.append(builder.weights(node, index) if is_constant else builder.codes(node, index))
    shape = sum_shape(builder, node, operands)
    y = builder.output(node, 6, shape)
    emit_sum(builder, node, operands, y)
    builder.values[y.name] = Codes(y)


def qlinear_global_average_pool(builder: Builder, node: Node) -> None:
    """QLinearGlobalAveragePool of com.microsoft: x, ..., y's scale and zero point."""
    if node.attributes.get("channels_last", 0):
        raise builder.graph.error(node, "channels_last must be 0")
    x = builder.codes(node, 0)
    y = builder.output(node, 3, (*x.shape[:1], 1, 1))
    builder.emit(GlobalAveragePool(builder.name(node), (x.name,), y.name))
    builder.values[y.name] = Codes(y)


def gemm_attributes(builder: Builder, node: Node) -> bool:
    """Check a Gemm's attributes and return whether its weight is [k, n]."""
    attributes = node.attributes
    factors = (attributes.get("alpha", 1.0), attributes.get("beta", 1.0))
    if factors != (1.0, 1.0) or attributes.get("transA", 0):
        raise builder.graph.error(
            node,
            f"alpha and beta must be 1 and transA 0, got {factors} and "
            f"{attributes.get('transA', 0)}; fold the factors into the weights",
        )
    return bool(attributes.get("transB", 0))


def sum_shape(builder: Builder, node: Node, operands: list[Tensor | Weights]) -> Shape:
    """Return the shape of the sum of two operands, behind the batch axis."""
    ranks = [len(item.shape) for item in operands if isinstance(item, Tensor)]
    if not ranks:
        raise builder.graph.error(node, "must add an activation, got two constants; fold them")
    a, b = (
        item.shape if isinstance(item, Tensor) else framed(builder, node, item, ranks[0]).shape
        for item in operands
    )
    return broadcast_shape(node.name or node.outputs[0], a, b)


def framed(builder: Builder, node: Node, constant: Weights, rank: int) -> Array:
    """Return constant codes with the rank of an activation behind its batch axis."""
    codes = constant.codes
    while codes.ndim > rank and codes.shape[0] == 1:
        codes = codes[0]
    if codes.ndim > rank or constant.scale.size != 1:
        raise builder.graph.error(
            node,
            f"a constant operand must have one scale and no batch axis, got "
            f"{constant.scale.size} scales and shape {list(constant.codes.shape)}",
        )
    return np.reshape(codes, (1,) * (rank - codes.ndim) + codes.shape)


def emit_sum(builder: Builder, node: Node, operands: list[Tensor | Weights], y: Tensor) -> None:
    """Emit an Add of two tensors or of a tensor and a constant."""
    a, b = operands
    name = builder.name(node)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        builder.emit(Add(name, (a.name, b.name), y.name))
        return
    tensor, constant = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(tensor, Tensor) or not isinstance(constant, Weights):
        raise builder.graph.error(node, "must add an activation, got two constants; fold them")
    codes = framed(builder, node, constant, len(tensor.shape))
    scale, point = float(constant.scale[0]), int(constant.zero_point[0])
    is_first = constant is a
    builder.emit(AddConstant(name, (tensor.name,), y.name, codes, scale, point, is_first))


HANDLERS: dict[str, Callable[[Builder, Node], None]] = {
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QGemm": qgemm,
    "QLinearAdd": qlinear_add,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
}
