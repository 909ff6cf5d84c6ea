"""ONNX nodes that join tensors: sums, products and concatenations, in both quantised forms."""

from typing import Any

import numpy as np

from .elementwise import INFINITY
from .layers import Add, AddConstant, Concat, Mul, MulConstant
from .network import Tensor
from .onnx_builder import Array, Builder, Operand, Weights
from .onnx_graph import Node
from .shapes import Shape, broadcast_shape, concat_shape


def shape(builder: Builder, node: Node, operands: list[Operand]) -> Shape:
    """Return the shape of the sum or product of two operands, behind the batch axis."""
    ranks = [len(item.shape) for item in operands if isinstance(item, Tensor)]
    if not ranks:
        raise builder.graph.error(node, "must read an activation, got two constants; fold them")
    a, b = (
        item.shape if isinstance(item, Tensor) else _framed(builder, node, item, ranks[0]).shape
        for item in operands
    )
    return broadcast_shape(node.name or node.outputs[0], a, b)


def emit(
    builder: Builder,
    node: Node,
    operands: list[Operand],
    y: Tensor,
    low: float = -INFINITY,
    high: float = INFINITY,
) -> None:
    """Emit the sum or product of two tensors or of a tensor and a constant."""
    a, b = operands
    name = builder.name(node)
    is_sum = node.op in ("Add", "QLinearAdd")
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        make = Add if is_sum else Mul
        builder.emit(make(name, (a.name, b.name), y.name, low, high))
        return
    tensor, constant = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(tensor, Tensor) or not isinstance(constant, Weights):
        raise builder.graph.error(node, "must read an activation, got two constants; fold them")
    fields: dict[str, Any] = {
        "constant": _framed(builder, node, constant, len(tensor.shape)),
        "scale": float(constant.scale[0]),
        "zero_point": int(constant.zero_point[0]),
    }
    inputs = (tensor.name,)
    if is_sum:
        is_first = constant is a
        builder.emit(AddConstant(name, inputs, y.name, low, high, is_first=is_first, **fields))
    else:
        builder.emit(MulConstant(name, inputs, y.name, low, high, **fields))


def concat(
    builder: Builder,
    node: Node,
    parts: list[Operand],
    low: float = -INFINITY,
    high: float = INFINITY,
) -> tuple[Concat, Shape]:
    """Return a Concat and its output shape."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if len(tensors) != len(parts) or not tensors:
        raise builder.graph.error(node, "must read activations alone, got a constant; pad instead")
    rank = len(tensors[0].shape) + 1
    axis = int(node.attributes.get("axis", 0))
    axis += rank * (axis < 0)
    if not 1 <= axis < rank:
        raise builder.graph.error(
            node,
            f"axis must lie behind the batch axis (1..{rank - 1}), got {axis}; "
            f"run the frames one by one",
        )
    inputs = tuple(tensor.name for tensor in tensors)
    name = builder.name(node)
    layer = Concat(name, inputs, node.outputs[0], low, high, axis=axis - 1)
    return layer, concat_shape(layer, [tensor.shape for tensor in tensors])


def _framed(builder: Builder, node: Node, constant: Weights, rank: int) -> Array:
    """Return constant codes with the rank of an activation behind its batch axis."""
    codes = constant.codes
    while codes.ndim > rank and codes.shape[0] == 1:
        codes = codes[0]
    if codes.ndim > rank or constant.scale.size != 1:
        raise builder.graph.error(
            node,
            f"a constant operand must have one scale and no batch axis, got "
            f"{constant.scale.size} scales and shape {list(constant.codes.shape)}; "
            f"quantise it per tensor and export with batch size 1",
        )
    return np.reshape(codes, (1,) * (rank - codes.ndim) + codes.shape)
