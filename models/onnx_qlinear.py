"""ONNX nodes of the QOperator form: integer operators with scales as inputs."""

from collections.abc import Callable

from . import onnx_elementwise, onnx_layers, onnx_windows
from .layers import GlobalAveragePool, Softmax
from .network import Tensor
from .onnx_builder import Builder, Codes, Operand
from .onnx_graph import Node

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


def qlinear_elementwise(builder: Builder, node: Node) -> None:
    """QLinearAdd and QLinearMul of com.microsoft: a, ..., b, ..., y's scale and zero point."""
    operands: list[Operand] = []
    for index in (0, 3):
        name = node.input(index)
        is_constant = name in builder.graph.constants or name in builder.constants
        operands.append(builder.weights(node, index) if is_constant else builder.codes(node, index))
    y = builder.output(node, 6, onnx_elementwise.shape(builder, node, operands))
    onnx_elementwise.emit(builder, node, operands, y)
    builder.values[y.name] = Codes(y)


def qlinear_concat(builder: Builder, node: Node) -> None:
    """QLinearConcat of com.microsoft: y's scale and zero point, then each x, ..."""
    parts: list[Operand] = []
    for index in range(2, len(node.inputs), 3):
        name = node.input(index)
        is_constant = name in builder.graph.constants or name in builder.constants
        parts.append(builder.weights(node, index) if is_constant else builder.codes(node, index))
    layer, shape = onnx_elementwise.concat(builder, node, parts)
    y = builder.output(node, 0, shape)
    builder.emit(layer)
    builder.values[y.name] = Codes(y)


def qlinear_average_pool(builder: Builder, node: Node) -> None:
    """QLinearAveragePool of com.microsoft: x, ..., y's scale and zero point."""
    layer, shape = onnx_windows.average(builder, node, builder.codes(node, 0), node.outputs[0])
    y = builder.output(node, 3, shape)
    builder.emit(layer)
    builder.values[y.name] = Codes(y)


def qlinear_softmax(builder: Builder, node: Node) -> None:
    """QLinearSoftmax of com.microsoft: x, ..., y's scale and zero point."""
    x = builder.codes(node, 0)
    opset = int(node.attributes.get("opset", builder.graph.opset))
    layer = softmax(builder, node, x, node.outputs[0], opset)
    y = builder.output(node, 3, x.shape)
    builder.emit(layer)
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


def softmax(builder: Builder, node: Node, x: Tensor, output: str, opset: int) -> Softmax:
    """Return a Softmax; before opset 13 it ran over an axis and all behind it."""
    rank = len(x.shape) + 1
    axis = int(node.attributes.get("axis", 1 if opset < 13 else -1))
    axis += rank * (axis < 0)
    if not 1 <= axis < rank or (opset < 13 and axis != rank - 1):
        raise builder.graph.error(
            node,
            f"must run along one axis behind the batch axis, got axis {axis} of {rank} in opset "
            f"{opset}; export with opset 13 or later",
        )
    return Softmax(builder.name(node), (x.name,), output, axis=axis - 1)


HANDLERS: dict[str, Callable[[Builder, Node], None]] = {
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QGemm": qgemm,
    "QLinearAdd": qlinear_elementwise,
    "QLinearMul": qlinear_elementwise,
    "QLinearConcat": qlinear_concat,
    "QLinearAveragePool": qlinear_average_pool,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
    "QLinearSoftmax": qlinear_softmax,
}
