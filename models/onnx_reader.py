"""Read a quantised ONNX file, in QDQ or QOperator form, as a network."""

import os
from collections.abc import Iterable
from pathlib import Path

from . import onnx_groups, onnx_qdq, onnx_qlinear
from .layers import Dequantize, ModelError
from .network import Network, Tensor
from .onnx_builder import Builder, Codes, Pending, Real, Wide
from .onnx_graph import Graph, Input, Node, load_graph

HANDLERS = {**onnx_qlinear.HANDLERS, **onnx_qdq.HANDLERS}

# Inputs of an operator that hold an activation; its scale and zero point follow it.
_OPERANDS: dict[str, Iterable[int]] = {
    "DequantizeLinear": (0,),
    "QLinearConv": (0,),
    "QLinearMatMul": (0,),
    "QGemm": (0,),
    "QLinearAdd": (0, 3),
    "QLinearMul": (0, 3),
    "QLinearConcat": range(2, 1000, 3),
    "QLinearAveragePool": (0,),
    "QLinearGlobalAveragePool": (0,),
    "QLinearSoftmax": (0,),
}


def read_onnx(path: str | os.PathLike[str]) -> Network:
    """Read an int8 or uint8 ONNX file.

    Parameters
    ----------
    path : str or path
        A file in QDQ form (float operators between DequantizeLinear and QuantizeLinear) or in
        QOperator form (QLinearConv and its kin). A batch axis of fixed size is read like a
        symbolic one: frames lie along it.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        If the file is missing, damaged, not quantised, or uses something that is not supported;
        the message names the file, the node and the way out.
    """
    try:
        graph = load_graph(path)
        _require_quantised(graph)
        return _build(graph, Path(path).stem)
    except ModelError as error:
        # a damaged file may hold line breaks in the name of an operator
        text = str(error).replace("\r", "\\r").replace("\n", "\\n")
        prefix = "" if text.startswith(f"{path}:") else f"{path}: "
        raise ModelError(prefix + text) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: must be a well-formed ONNX model, got one with a malformed node, "
            f"attribute or constant ({error}); export it again"
        ) from error


def _build(graph: Graph, name: str) -> Network:
    builder = Builder(graph)
    for item in graph.inputs:
        tensor = _input_tensor(graph, item)
        builder.tensors[item.name] = tensor
        builder.values[item.name] = Codes(tensor) if tensor.is_code else Wide(tensor)
    for node in graph.nodes:
        handler = HANDLERS.get(node.op)
        if handler is None:
            raise graph.error(
                node,
                f"this operator is not supported; supported are {', '.join(sorted(HANDLERS))}; "
                f"cut the model before this node (onnx.utils.extract_model)",
            )
        handler(builder, node)
    outputs = tuple(_output(builder, output) for output in graph.outputs)
    inputs = tuple(item.name for item in graph.inputs)
    return _pruned(name, builder, inputs, outputs)


def _pruned(
    name: str, builder: Builder, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> Network:
    """Return the network of the layers that an output depends on."""
    needed = set(outputs)
    layers = []
    for layer in reversed(builder.layers):
        if layer.output in needed:
            needed.update(layer.inputs)
            layers.append(layer)
    unused = [item for item in inputs if item not in needed]
    if unused:
        raise ModelError(f"inputs must reach an output, got {unused} unused; remove them")
    tensors = {key: value for key, value in builder.tensors.items() if key in needed}
    return Network(name, tuple(reversed(layers)), tensors, inputs, outputs)


def _output(builder: Builder, name: str) -> str:
    """Return the tensor of a graph output; a dequantised one gets a Dequantize layer."""
    value = builder.values.get(name)
    if isinstance(value, Codes):
        return value.tensor.name
    file = builder.graph.file
    if isinstance(value, Pending):
        if value.node.op == "Softmax" and value.node.outputs[0] == name:
            layer = onnx_groups.float_softmax(builder, value)
            builder.tensors[name] = Tensor(name, builder.tensors[layer.inputs[0]].shape, "float32")
            builder.emit(layer)
            return name
        raise builder.graph.error(
            value.node,
            f"its result is the float output {name!r} and must pass QuantizeLinear first; "
            f"{onnx_groups.REMEDY}",
        )
    if not isinstance(value, Real):
        raise ModelError(f"{file}: output {name!r} must be computed by a layer; export it again")
    if name not in builder.tensors:
        node = Node(name, "DequantizeLinear", (), (name,))
        source = value.tensor
        builder.tensors[name] = Tensor(name, source.shape, "float32")
        builder.emit(Dequantize(builder.name(node, "dequantize"), (source.name,), name))
    return name


def _input_tensor(graph: Graph, item: Input) -> Tensor:
    """Return a graph input; codes take scale and zero point from the first node that uses them."""
    scale, point = 1.0, 0
    if item.dtype != "float32":
        scale, point = _first_use(graph, item.name)
    return Tensor(item.name, item.shape, item.dtype, scale, point)


def _first_use(graph: Graph, name: str) -> tuple[float, int]:
    names = {name}
    for node in graph.nodes:
        for index in _OPERANDS.get(node.op, ()):
            if node.input(index) in names:
                return Builder(graph).params(node, index + 1)[:2]
        if node.op not in _OPERANDS and node.input(0) in names:
            names.update(node.outputs)
    return 1.0, 0


def is_quantised(graph: Graph) -> bool:
    """Return whether a file holds quantised operators, or takes codes."""
    marks = ("QuantizeLinear", "DequantizeLinear", *onnx_qlinear.HANDLERS)
    takes_codes = any(item.dtype != "float32" for item in graph.inputs)
    return takes_codes or any(node.op in marks for node in graph.nodes)


def _require_quantised(graph: Graph) -> None:
    """Raise an error for a float model."""
    if not is_quantised(graph):
        raise ModelError(
            f"{graph.file}: must be a quantised model, got float operators only; "
            f"quantise it first with onnxruntime.quantization.quantize_static, or give typical "
            f"frames: firemesh.load(path, calibration=frames), firemesh run --calibration FILE"
        )
