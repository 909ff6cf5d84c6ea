"""A quantised network: tensors, layers in topological order, and the graph they form."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import networkx as nx
import numpy as np

from .layer import is_integer, is_scale, total
from .layers import (
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
    ModelError,
    Mul,
    MulConstant,
    Quantize,
    Rescale,
    Reshape,
    Softmax,
    Transpose,
)
from .shapes import check_layer

__all__ = [
    "Add",
    "AddConstant",
    "AveragePool",
    "Concat",
    "Conv",
    "Dequantize",
    "GlobalAveragePool",
    "Layer",
    "Linear",
    "MaxPool",
    "ModelError",
    "Mul",
    "MulConstant",
    "Network",
    "Quantize",
    "Rescale",
    "Reshape",
    "Softmax",
    "Tensor",
    "Transpose",
]

_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "float32": (0, 0)}


@dataclass(frozen=True)
class Tensor:
    """A value between layers: real = (code - zero_point) * scale.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Without the batch axis.
    dtype : {"int8", "uint8", "float32"}
    scale : float
        A float32 value in 2^-50..2^50; 1.0 for float32 tensors.
    zero_point : int
        A code of the type; 0 for float32 tensors.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        where = f"(tensor {self.name!r})"
        if self.dtype not in _RANGES:
            known = ", ".join(_RANGES)
            raise ModelError(f"Tensor.dtype: must be one of {known}, got {self.dtype!r} {where}")
        if any(size < 1 for size in self.shape) or total(self.shape) > 2**40:
            raise ModelError(
                f"Tensor.shape: must be positive sizes, at most 2^40 values, "
                f"got {self.shape} {where}"
            )
        scale = float(np.float32(self.scale))
        if not is_scale(scale):
            raise ModelError(f"Tensor.scale: must be 2^-50..2^50, got {scale} {where}")
        object.__setattr__(self, "scale", scale)
        if not (is_integer(self.zero_point) and self.low <= self.zero_point <= self.high):
            raise ModelError(
                f"Tensor.zero_point: must be {self.low}..{self.high}, got {self.zero_point} {where}"
            )

    @property
    def low(self) -> int:
        """Smallest code of the type."""
        return _RANGES[self.dtype][0]

    @property
    def high(self) -> int:
        """Largest code of the type."""
        return _RANGES[self.dtype][1]

    @property
    def is_code(self) -> bool:
        """Whether the values are integer codes."""
        return self.dtype != "float32"

    @property
    def size(self) -> int:
        """Number of values without the batch axis."""
        return total(self.shape)


@dataclass(frozen=True, eq=False)
class Network:
    """A directed acyclic graph of quantised layers.

    Parameters
    ----------
    name : str
    layers : tuple of Layer
        In topological order.
    tensors : mapping of tensor name to Tensor
        Every tensor that a layer reads or writes, and every network input.
    inputs, outputs : tuple of str
        Names of the network's input and output tensors.
    description : str
        One sentence for people.

    Raises
    ------
    ModelError
        If names repeat, a tensor is unknown, the order is wrong or shapes disagree.
    """

    name: str
    layers: tuple[Layer, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    description: str = ""

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        self._check_names()
        written = set(self.inputs)
        for layer in self.layers:
            for name in layer.inputs:
                if name not in written:
                    raise ModelError(
                        f"Network.layers: must be in topological order, got layer "
                        f"{layer.name!r} reading {name!r} before any layer writes it"
                    )
            if layer.output in written:
                raise ModelError(
                    f"Network.layers: must write each tensor once, got {layer.output!r} "
                    f"again in layer {layer.name!r}"
                )
            written.add(layer.output)
            self._check_layer(layer)
        lost = [name for name in self.outputs if name not in self._producers]
        if lost or not self.outputs:
            raise ModelError(f"Network.outputs: must be written by a layer, got {lost}")

    def _check_names(self) -> None:
        names = [layer.name for layer in self.layers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ModelError(f"Network.layers: must have unique names, got {twice} twice")
        used = {*self.inputs, *self.outputs}
        for layer in self.layers:
            used.update(layer.inputs, (layer.output,))
        unknown = sorted(used - set(self.tensors))
        if unknown:
            raise ModelError(f"Network.tensors: must name every tensor in use, lacks {unknown}")
        wrong = sorted(key for key, tensor in self.tensors.items() if tensor.name != key)
        if wrong:
            raise ModelError(f"Network.tensors: must be keyed by tensor name, got {wrong}")

    def _check_layer(self, layer: Layer) -> None:
        output = self.tensors[layer.output]
        codes = [self.tensors[name].is_code for name in layer.inputs]
        real_in, real_out = isinstance(layer, Quantize), isinstance(layer, Dequantize)
        is_wrong = output.is_code == real_out and not isinstance(layer, Softmax)
        if is_wrong or any(code == real_in for code in codes):
            raise ModelError(
                f"Network.tensors: must be int8 or uint8 except before Quantize and after "
                f"Dequantize or Softmax, got otherwise at layer {layer.name!r}"
            )
        if isinstance(layer, Conv | Linear):
            if not output.low <= layer.low <= layer.high <= output.high:
                raise ModelError(
                    f"{layer.op}.low, high: must be codes of {output.dtype}, "
                    f"got {layer.low}..{layer.high} (layer {layer.name!r})"
                )
        if isinstance(layer, MaxPool | Reshape | Transpose):
            source = self.tensors[layer.inputs[0]]
            before = (source.dtype, source.scale, source.zero_point)
            if before != (output.dtype, output.scale, output.zero_point):
                raise ModelError(
                    f"{layer.op}.output: must have its input's type, scale and zero point "
                    f"(layer {layer.name!r})"
                )
        if isinstance(layer, Mul | MulConstant):
            scales = [self.tensors[name].scale for name in layer.inputs]
            scales += [layer.scale] if isinstance(layer, MulConstant) else []
            if not scales[0] * scales[1] / output.scale <= 2.0**100:
                raise ModelError(
                    f"Mul.inputs: must have scales whose product is at most 2^100 output scales, "
                    f"got {scales} and {output.scale} (layer {layer.name!r})"
                )
        check_layer(layer, [self.tensors[name].shape for name in layer.inputs], output.shape)

    @cached_property
    def graph(self) -> "nx.DiGraph[Layer]":
        """Layers as nodes; an edge for each tensor passed, with its name as ``tensor``."""
        graph: nx.DiGraph[Layer] = nx.DiGraph()
        graph.add_nodes_from(self.layers)
        for layer in self.layers:
            for name in layer.inputs:
                source = self._producers.get(name)
                if source is not None:
                    graph.add_edge(source, layer, tensor=name)
        return graph

    @cached_property
    def _producers(self) -> dict[str, Layer]:
        return {layer.output: layer for layer in self.layers}

    def consumers(self, tensor: str) -> tuple[Layer, ...]:
        """Return the layers that read a tensor, in network order."""
        return tuple(layer for layer in self.layers if tensor in layer.inputs)

    def producer(self, tensor: str) -> Layer | None:
        """Return the layer that writes a tensor; None for a network input."""
        return self._producers.get(tensor)

    def has_relu(self, layer: Layer) -> bool:
        """Return whether a Conv or Linear layer's outputs are never below their zero point."""
        point = self.tensors[layer.output].zero_point
        return isinstance(layer, Conv | Linear) and layer.low >= point

    def macs(self, layer: Layer) -> int:
        """Return the dense multiply-accumulate operations of a layer per frame."""
        if not isinstance(layer, Conv | Linear):
            return 0
        return self.tensors[layer.output].size * total(layer.weight.shape[1:])

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal over everything that defines results."""
        state = hashlib.sha256()
        for layer in self.layers:
            state.update(type(layer).__name__.encode())
            for field in dataclasses.fields(layer):
                value = getattr(layer, field.name)
                state.update(f"\0{field.name}=".encode())
                if isinstance(value, np.ndarray):
                    state.update(f"{value.dtype.name}{value.shape}".encode())
                    little = value.astype(value.dtype.newbyteorder("<"), copy=False)
                    state.update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)
                else:
                    state.update(repr(value).encode())
        tensors = sorted(self.tensors.values(), key=lambda tensor: tensor.name)
        state.update(repr((tensors, self.inputs, self.outputs)).encode())
        return state.hexdigest()
