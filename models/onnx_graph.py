"""An ONNX file as plain values: nodes, constants, inputs; every failure is a ModelError."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from .layers import ModelError

DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
}


@dataclass(frozen=True)
class Node:
    """One operation of the file."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def input(self, index: int) -> str:
        """Return the name of an input; the empty string where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True)
class Input:
    """A graph input; the shape is without the batch axis, None where it is symbolic."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    batch: int | None = None


@dataclass(frozen=True)
class Graph:
    """The file's graph with initialisers and Constant nodes as arrays."""

    file: str
    name: str
    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    opset: int = 13

    @property
    def batch(self) -> int:
        """Size of the inputs' first axis; 1 where it is symbolic."""
        return next((item.batch for item in self.inputs if item.batch), 1)

    def error(self, node: Node, sentence: str) -> ModelError:
        """Return an error that names the file, the node and its operator."""
        label = node.name or ", ".join(node.outputs)
        return ModelError(f"{self.file}: node {label!r} ({node.op}): {sentence}")

    def constant(self, node: Node, index: int, what: str) -> NDArray[Any]:
        """Return a constant input of a node."""
        name = node.input(index)
        if name not in self.constants:
            raise self.error(
                node,
                f"{what} must be a constant of the file, got {name or 'nothing'!r}; "
                f"fold constants first (onnxruntime.quantization.preprocess)",
            )
        return self.constants[name]

    def scalar(self, node: Node, index: int, what: str) -> Any:
        """Return a constant input that holds one number."""
        array = self.constant(node, index, what)
        if array.size != 1:
            raise self.error(node, f"{what} must be one number, got shape {list(array.shape)}")
        return array.reshape(())[()]


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """Read and check an ONNX file.

    Raises
    ------
    ModelError
        If it is missing, not an ONNX file, damaged, or its inputs have no known shape.
    """
    model = _load(Path(path))
    graph = model.graph
    file = str(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for proto in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}
        if proto.op_type == "Constant":
            constants[proto.output[0]] = _constant_value(attributes)
            continue
        name = proto.name
        nodes.append(Node(name, proto.op_type, tuple(proto.input), tuple(proto.output), attributes))
    inputs = [_input(file, info) for info in graph.input if info.name not in constants]
    outputs = tuple(info.name for info in graph.output)
    batches = sorted({item.batch for item in inputs if item.batch})
    if len(batches) > 1:
        raise ModelError(
            f"{file}: inputs must have one batch size, got {batches}; export with batch size 1"
        )
    opset = max([item.version for item in model.opset_import if not item.domain], default=13)
    return Graph(file, graph.name, tuple(nodes), constants, tuple(inputs), outputs, opset)


def _load(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise ModelError(f"{path}: must be an ONNX file, got a folder; name the file in it")
    if not path.exists():
        raise ModelError(f"{path}: must be an ONNX file, got nothing: there is no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: must be readable, got: {error.strerror}") from error
    if not content:
        raise ModelError(f"{path}: must be an ONNX file, got an empty file; export it again")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError has no base of its own
        raise ModelError(
            f"{path}: must be an ONNX file, got something else or a truncated file; "
            f"export or copy it again"
        ) from error
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, LookupError, OSError, TypeError, ValueError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise ModelError(
            f"{path}: must be a valid ONNX model, got one that onnx.checker refuses "
            f"({lines[0]}); export it again"
        ) from error
    return model


def _constant_value(attributes: Mapping[str, Any]) -> NDArray[Any]:
    if "value" in attributes:
        return numpy_helper.to_array(attributes["value"])
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32}
    kinds["value_floats"] = np.float32
    for name, kind in kinds.items():
        if name in attributes:
            return np.asarray(attributes[name], dtype=kind)
    raise ValueError("a Constant node holds strings or a sparse tensor, must hold numbers")


def _input(file: str, info: onnx.ValueInfoProto) -> Input:
    tensor = info.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    shown = [d.dim_param or d.dim_value or "?" for d in tensor.shape.dim]
    where = f"{file}: input {info.name!r}"
    if tensor.elem_type not in DTYPES:
        kind = onnx.helper.printable_type(info.type)
        raise ModelError(f"{where}: must be float32, int8 or uint8, got {kind}")
    if len(dims) < 2 or dims[0] == 0:
        raise ModelError(
            f"{where}: must have a first axis for the batch, symbolic or positive, and at least "
            f"one more, got {shown}; export with batch size 1"
        )
    sizes = [size for size in dims[1:] if size is not None and size > 0]
    if len(sizes) != len(dims) - 1:
        raise ModelError(
            f"{where}: must have a known shape behind the batch axis, got {shown}; "
            f"export with fixed sizes"
        )
    return Input(info.name, tuple(sizes), DTYPES[tensor.elem_type], dims[0])
