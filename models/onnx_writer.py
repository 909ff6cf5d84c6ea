"""Write a network as an ordinary quantised ONNX file."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .layers import ModelError
from .network import (
    Add,
    AddConstant,
    AveragePool,
    Concat,
    Conv,
    Dequantize,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Mul,
    MulConstant,
    Network,
    Quantize,
    Rescale,
    Reshape,
    Softmax,
    Tensor,
    Transpose,
)
from .shapes import pool_shape

_TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
_NEIGHBOURS = 8  # float32 values tried on each side of a weight scale


def write_onnx(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network as an ONNX file that `read_onnx` reads back with the same digest.

    Parameters
    ----------
    network : Network
    path : str or path

    Raises
    ------
    ModelError
        If a layer cannot be written, or the file cannot.
    """
    try:
        onnx.save(to_onnx(network), path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); name another") from error


def to_onnx(network: Network) -> onnx.ModelProto:
    """Return a network as an ONNX model in QDQ form.

    Conv, Gemm, Add, GlobalAveragePool, Relu and Clip stand between DequantizeLinear and
    QuantizeLinear, with int8 weights and int32 biases; MaxPool and Reshape work on codes. The
    weights' scales are those that give the layer's multiplier bit for bit.

    Raises
    ------
    ModelError
        If a layer cannot be written.
    """
    writer = _Writer(network)
    for layer in network.layers:
        write = _WRITERS.get(type(layer))
        if write is None:
            known = ", ".join(kind.__name__ for kind in _WRITERS)
            raise ModelError(
                f"to_onnx: layer {layer.name!r} must be one of {known}, got {type(layer).__name__}"
            )
        write(writer, layer)
    graph = helper.make_graph(
        writer.nodes,
        network.name,
        [_info(network.tensors[name]) for name in network.inputs],
        [_info(network.tensors[name]) for name in network.outputs],
        list(writer.constants.values()),
        network.description,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


class _Writer:
    """Nodes and constants found so far.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, op: str, name: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Append a node and return its output's name."""
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store a constant and return its name."""
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def params(self, tensor: Tensor) -> list[str]:
        """Return the names of a tensor's scale and zero point."""
        scale = np.float32(tensor.scale)
        point = np.dtype(tensor.dtype).type(tensor.zero_point)
        return [
            self.constant(f"{tensor.name}/scale", np.asarray(scale)),
            self.constant(f"{tensor.name}/zero_point", np.asarray(point)),
        ]

    def real(self, layer: Layer, index: int) -> str:
        """Dequantise an input of a layer."""
        tensor = self.network.tensors[layer.inputs[index]]
        name = f"{layer.name}/input{index}"
        return self.node("DequantizeLinear", name, [tensor.name, *self.params(tensor)], name)

    def quantised(self, layer: Layer, source: str) -> None:
        """Quantise a float result to a layer's output."""
        y = self.network.tensors[layer.output]
        self.node("QuantizeLinear", f"{layer.name}/quantize", [source, *self.params(y)], y.name)

    def codes(
        self, name: str, codes: NDArray[Any], scale: NDArray[Any], point: NDArray[Any]
    ) -> str:
        """Dequantise constant codes with a scale per filter."""
        inputs = [
            self.constant(f"{name}/codes", codes),
            self.constant(f"{name}/scale", scale),
            self.constant(f"{name}/zero_point", point.astype(codes.dtype)),
        ]
        return self.node("DequantizeLinear", name, inputs, name, axis=0)


def _info(tensor: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, _TYPES[tensor.dtype], ["n", *tensor.shape])


def weight_scales(layer: Conv | Linear, x: Tensor, y: Tensor) -> NDArray[np.float32]:
    """Return scales w with (scale_x * w) / scale_y equal to the layer's multiplier in float32.

    Raises
    ------
    ModelError
        If there are none.
    """
    wanted = layer.multiplier
    ratio = wanted.astype(np.float64) * y.scale / x.scale
    low = high = found = ratio.astype(np.float32)
    for _ in range(_NEIGHBOURS):
        for scale in (low, high):
            good = (np.float32(x.scale) * scale) / np.float32(y.scale) == wanted
            found = np.where(good, scale, found)
        low = np.nextafter(low, np.float32(0))
        high = np.nextafter(high, np.float32(np.inf))
    if not ((np.float32(x.scale) * found) / np.float32(y.scale) == wanted).all() or not found.all():
        raise ModelError(
            f"to_onnx: layer {layer.name!r} must have a multiplier that follows from scales of "
            f"input, weight and output; no float32 weight scale gives it"
        )
    return found


def _weighted(writer: _Writer, layer: Conv | Linear) -> None:
    x, y = (writer.network.tensors[name] for name in (layer.inputs[0], layer.output))
    scale = weight_scales(layer, x, y)
    bias = np.float32(x.scale) * scale
    inputs = [
        writer.real(layer, 0),
        writer.codes(f"{layer.name}/weight", layer.weight, scale, layer.weight_zero_point),
        writer.codes(f"{layer.name}/bias", layer.bias, bias, np.zeros(bias.shape, np.int32)),
    ]
    if isinstance(layer, Linear):
        result = writer.node("Gemm", layer.name, inputs, f"{layer.name}/sum", transB=1)
    else:
        attributes = {
            "kernel_shape": layer.kernel,
            "strides": layer.strides,
            "pads": layer.pads,
            "dilations": layer.dilations,
            "group": layer.groups,
        }
        result = writer.node("Conv", layer.name, inputs, f"{layer.name}/sum", **attributes)
    low = (layer.low - y.zero_point) * y.scale if layer.low > y.low else -np.inf
    high = (layer.high - y.zero_point) * y.scale if layer.high < y.high else np.inf
    if layer.low == y.zero_point:
        low = 0.0
    writer.quantised(layer, _clipped(writer, f"{layer.name}/clip", result, low, high))


def _clipped(writer: _Writer, name: str, source: str, low: float, high: float) -> str:
    if (low, high) == (-np.inf, np.inf):
        return source
    if (low, high) == (0.0, np.inf):
        return writer.node("Relu", name, [source], name)
    bounds = {"low": low, "high": high}
    inputs = [
        writer.constant(f"{name}/{key}", np.asarray(np.float32(value)))
        if np.isfinite(value)
        else ""
        for key, value in bounds.items()
    ]
    return writer.node("Clip", name, [source, *inputs], name)


def _ceil_mode(writer: _Writer, layer: MaxPool | AveragePool) -> int:
    """Return whether a pooling rounds its output's size up."""
    x, y = (writer.network.tensors[name].shape for name in (layer.inputs[0], layer.output))
    is_ceiled = pool_shape(layer, x, False) != y
    if is_ceiled and pool_shape(layer, x, True) != y:
        raise ModelError(
            f"to_onnx: layer {layer.name!r} must round its height and width alike, got {list(y)} "
            f"from {list(x)}"
        )
    return int(is_ceiled)


def _pool(writer: _Writer, layer: MaxPool) -> None:
    writer.node(
        "MaxPool",
        layer.name,
        [layer.inputs[0]],
        layer.output,
        kernel_shape=layer.kernel,
        strides=layer.strides,
        pads=layer.pads,
        dilations=layer.dilations,
        ceil_mode=_ceil_mode(writer, layer),
    )


def _reshape(writer: _Writer, layer: Reshape) -> None:
    shape = np.array([0, *writer.network.tensors[layer.output].shape], np.int64)
    inputs = [layer.inputs[0], writer.constant(f"{layer.name}/shape", shape)]
    writer.node("Reshape", layer.name, inputs, layer.output)


def _quantize(writer: _Writer, layer: Quantize) -> None:
    y = writer.network.tensors[layer.output]
    writer.node("QuantizeLinear", layer.name, [layer.inputs[0], *writer.params(y)], y.name)


def _dequantize(writer: _Writer, layer: Dequantize) -> None:
    x = writer.network.tensors[layer.inputs[0]]
    writer.node("DequantizeLinear", layer.name, [x.name, *writer.params(x)], layer.output)


def _rescale(writer: _Writer, layer: Rescale) -> None:
    writer.quantised(
        layer, _clipped(writer, layer.name, writer.real(layer, 0), layer.low, layer.high)
    )


def _real(writer: _Writer, layer: GlobalAveragePool | AveragePool, **attributes: Any) -> None:
    result = writer.node(
        layer.op, layer.name, [writer.real(layer, 0)], f"{layer.name}/result", **attributes
    )
    writer.quantised(layer, result)


def _joined(
    writer: _Writer, layer: Add | Mul | Concat | AddConstant | MulConstant, **attributes: Any
) -> None:
    """Write what joins tensors, with the Relu or Clip behind it."""
    inputs = [writer.real(layer, index) for index in range(len(layer.inputs))]
    if isinstance(layer, AddConstant | MulConstant):
        scale, point = np.asarray(np.float32(layer.scale)), np.asarray(layer.zero_point)
        inputs.append(writer.codes(f"{layer.name}/constant", layer.constant, scale, point))
        if isinstance(layer, AddConstant) and layer.is_first:
            inputs.reverse()
    result = writer.node(layer.op, layer.name, inputs, f"{layer.name}/result", **attributes)
    clipped = _clipped(writer, f"{layer.name}/clip", result, layer.low, layer.high)
    writer.quantised(layer, clipped)


def _concat(writer: _Writer, layer: Concat) -> None:
    _joined(writer, layer, axis=layer.axis + 1)


def _average(writer: _Writer, layer: AveragePool) -> None:
    _real(
        writer,
        layer,
        kernel_shape=layer.kernel,
        strides=layer.strides,
        pads=layer.pads,
        count_include_pad=int(layer.counts_padding),
        ceil_mode=_ceil_mode(writer, layer),
    )


def _transpose(writer: _Writer, layer: Transpose) -> None:
    permutation = [0, *(axis + 1 for axis in layer.permutation)]
    writer.node("Transpose", layer.name, [layer.inputs[0]], layer.output, perm=permutation)


def _softmax(writer: _Writer, layer: Softmax) -> None:
    axis, source = layer.axis + 1, [writer.real(layer, 0)]
    if writer.network.tensors[layer.output].is_code:
        result = writer.node("Softmax", layer.name, source, f"{layer.name}/result", axis=axis)
        writer.quantised(layer, result)
    else:
        writer.node("Softmax", layer.name, source, layer.output, axis=axis)


_WRITERS: dict[type, Callable[[_Writer, Any], None]] = {
    Conv: _weighted,
    Linear: _weighted,
    MaxPool: _pool,
    Reshape: _reshape,
    Quantize: _quantize,
    Dequantize: _dequantize,
    Rescale: _rescale,
    Add: _joined,
    AddConstant: _joined,
    Mul: _joined,
    MulConstant: _joined,
    Concat: _concat,
    GlobalAveragePool: _real,
    AveragePool: _average,
    Transpose: _transpose,
    Softmax: _softmax,
}
