"""The network under construction while an ONNX graph is walked."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Layer, ModelError
from .network import Tensor
from .onnx_graph import Graph, Node
from .shapes import Shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Codes:
    """An ONNX value that is a code tensor of the network."""

    tensor: Tensor


@dataclass(frozen=True)
class Real:
    """An ONNX value that is a code tensor after DequantizeLinear."""

    tensor: Tensor


@dataclass(frozen=True)
class Weights:
    """Constant codes with one scale or one per index of an axis.

    Parameters
    ----------
    codes : int8, uint8 or int32 array
    scale : float32[1] or float32[codes.shape[axis]]
    zero_point : int32, shape of scale
    axis : int
    """

    codes: Array
    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    axis: int = 0


@dataclass(frozen=True)
class Pending:
    """A float operation between DequantizeLinear and the QuantizeLinear that ends it.

    The bias is int32 codes with a scale, or float32 values.
    """

    node: Node
    operands: tuple[Real | Weights, ...]
    bias: Weights | Array | None = None
    low: float = float("-inf")
    high: float = float("inf")


@dataclass(frozen=True)
class Wide:
    """A float32 input of the network."""

    tensor: Tensor


Operand = Tensor | Weights
Value = Codes | Real | Weights | Pending | Wide


@dataclass
class Builder:
    """Values by ONNX name, and the layers and tensors found so far."""

    graph: Graph
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def value(self, node: Node, index: int) -> Value:
        """Return what an input of a node stands for."""
        name = node.input(index)
        if name in self.values:
            return self.values[name]
        if name in self.graph.constants:
            raise self.graph.error(
                node,
                f"input {index} must be an activation or quantised weights, got the float "
                f"constant {name!r}; quantise the model with onnxruntime.quantization",
            )
        raise self.graph.error(node, f"input {index} must be given, got {name or 'nothing'!r}")

    def codes(self, node: Node, index: int, with_params: bool = True) -> Tensor:
        """Return the code tensor of an input, whose scale and zero point must be the producer's.

        The scale is input ``index + 1`` of the node and the zero point ``index + 2``.
        """
        value = self.value(node, index)
        if not isinstance(value, Codes):
            raise self.graph.error(node, f"input {index} must be int8 or uint8 codes, got float")
        tensor = value.tensor
        if with_params:
            scale, point = self.params(node, index + 1)[:2]
            if (scale, point) != (tensor.scale, tensor.zero_point):
                raise self.graph.error(
                    node,
                    f"scale and zero point of {tensor.name!r} must be those it was quantised "
                    f"with ({tensor.scale:.9g}, {tensor.zero_point}), got ({scale:.9g}, {point})",
                )
        return tensor

    def params(self, node: Node, index: int) -> tuple[float, int, str | None]:
        """Return scale, zero point and, where a zero point is given, its type."""
        scale = float(np.float32(self.graph.scalar(node, index, "an activation's scale")))
        if not node.input(index + 1):
            return scale, 0, None
        point = self.graph.scalar(node, index + 1, "an activation's zero point")
        return scale, int(point), str(point.dtype)

    def weights(self, node: Node, index: int) -> Weights:
        """Return constant codes at an input, with their scale and zero point behind it."""
        codes = self.constants.get(node.input(index))
        if codes is None:
            codes = self.graph.constant(node, index, "the weight")
        return self.scaled(node, codes, index + 1, 0)

    def scaled(self, node: Node, codes: Array, index: int, axis: int) -> Weights:
        """Return codes with the scale at an input of a node and the zero point behind it."""
        scale = np.atleast_1d(self.graph.constant(node, index, "the scale"))
        if node.input(index + 1):
            point = np.atleast_1d(self.graph.constant(node, index + 1, "the zero point"))
        else:
            point = np.zeros(scale.shape, codes.dtype)
        scale, point = scale.squeeze(), point.squeeze()
        if scale.ndim > 1 or point.ndim > 1 or point.size not in (1, scale.size):
            raise self.graph.error(
                node,
                f"scale and zero point must be one number or one per channel, got shapes "
                f"{list(scale.shape)} and {list(point.shape)}",
            )
        if point.dtype != codes.dtype or codes.dtype.name not in ("int8", "uint8", "int32"):
            raise self.graph.error(
                node, f"codes must be int8 or uint8, got {codes.dtype} with {point.dtype} zero"
            )
        real = np.atleast_1d(scale).astype(np.float32)
        if not (np.isfinite(real).all() and (real > 0).all()):
            raise self.graph.error(node, "the scale must be finite and positive")
        points = np.broadcast_to(np.atleast_1d(point).astype(np.int32), real.shape)
        return Weights(codes, real, points, axis)

    def tensor(
        self, node: Node, name: str, shape: Shape, dtype: str, scale: float, point: int
    ) -> Tensor:
        """Register a tensor."""
        try:
            tensor = Tensor(name, shape, dtype, scale, point)
        except ModelError as error:
            raise self.graph.error(node, str(error)) from error
        self.tensors[name] = tensor
        return tensor

    def output(self, node: Node, index: int, shape: Shape) -> Tensor:
        """Register a node's output, whose scale is an input of the node and then its zero point."""
        scale, point, dtype = self.params(node, index)
        kind = np.dtype(dtype or "uint8").name
        if kind not in ("int8", "uint8"):
            raise self.graph.error(node, f"codes must be int8 or uint8, got {kind}")
        return self.tensor(node, node.outputs[0], shape, kind, scale, point)

    def name(self, node: Node, stem: str = "") -> str:
        """Return a short unique layer name: /features/conv1/Conv_quant becomes features.conv1.

        A stem, where given, is taken in place of the node's name.
        """
        parts = [part for part in node.name.removesuffix("_quant").split("/") if part]
        if len(parts) > 1 and parts[-1].split("_")[0] == node.op.removeprefix("QLinear"):
            parts.pop()
        stem = stem or ".".join(parts) or node.op.lower()
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name

    def emit(self, layer: Layer) -> None:
        """Append a layer."""
        self.layers.append(layer)
