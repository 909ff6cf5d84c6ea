"""Shapes of layers' outputs (without the batch axis) and the check that a network agrees."""

from collections.abc import Sequence

import numpy as np

from .layer import total
from .layers import (
    Add,
    AddConstant,
    AveragePool,
    Concat,
    Conv,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ModelError,
    Mul,
    MulConstant,
    Reshape,
    Softmax,
    Transpose,
)

Shape = tuple[int, ...]


def window_count(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Return how many windows fit along one axis; ``pad`` is the sum of both sides.

    Raises
    ------
    ModelError
        If not one window fits.
    """
    room = size + pad - (dilation * (kernel - 1) + 1)
    if room < 0:
        raise ModelError(
            f"kernel: must fit into {size} + {pad} padded positions, got {kernel} positions "
            f"with dilation {dilation}"
        )
    return room // stride + 1


def ceiled_window_count(
    size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int
) -> int:
    """Return the count with ceil_mode: a last window may hang over, if it starts inside.

    Inside is the input and the padding before it: what ONNX Runtime does.
    """
    floor = window_count(size, kernel, stride, sum(pads), dilation)
    over = (size + sum(pads) - (dilation * (kernel - 1) + 1)) % stride != 0
    return floor + int(over and floor * stride < size + pads[0])


def conv_shape(layer: Conv, x: Shape) -> Shape:
    """Return the output shape of a convolution of an input [c, h, w]."""
    k, c, r, s = layer.weight.shape
    if len(x) != 3 or x[0] != c * layer.groups:
        raise ModelError(
            f"Conv.inputs: must have shape [{c * layer.groups}, h, w], got {list(x)} "
            f"(layer {layer.name!r})"
        )
    top, left, bottom, right = layer.pads
    (stride_y, stride_x), (dilation_y, dilation_x) = layer.strides, layer.dilations
    return (
        k,
        window_count(x[1], r, stride_y, top + bottom, dilation_y),
        window_count(x[2], s, stride_x, left + right, dilation_x),
    )


def pool_shape(layer: MaxPool | AveragePool, x: Shape, is_ceiled: bool) -> Shape:
    """Return the output shape of a pooling of an input [c, h, w]."""
    if len(x) != 3:
        raise ModelError(f"{layer.op}.inputs: must be [c, h, w], got {list(x)} ({layer.name!r})")
    top, left, bottom, right = layer.pads
    spans = []
    for axis, pads in enumerate(((top, bottom), (left, right))):
        size, kernel = x[axis + 1], layer.kernel[axis]
        stride, dilation = layer.strides[axis], layer.dilations[axis]
        if is_ceiled:
            spans.append(ceiled_window_count(size, kernel, stride, pads, dilation))
        else:
            spans.append(window_count(size, kernel, stride, sum(pads), dilation))
    return x[0], spans[0], spans[1]


def linear_shape(layer: Linear, x: Shape) -> Shape:
    """Return the output shape of a fully connected layer of an input [n]."""
    k, n = layer.weight.shape
    if x != (n,):
        raise ModelError(
            f"Linear.inputs: must have shape [{n}], got {list(x)} (layer {layer.name!r})"
        )
    return (k,)


def broadcast_shape(name: str, a: Shape, b: Shape) -> Shape:
    """Return the shape of the sum or product of two tensors of equal rank."""
    try:
        if len(a) == len(b):
            return tuple(np.broadcast_shapes(a, b))
    except ValueError:
        pass
    raise ModelError(
        f"inputs: must have shapes of one rank that broadcast, got {list(a)} and {list(b)} "
        f"(layer {name!r})"
    )


def concat_shape(layer: Concat, inputs: Sequence[Shape]) -> Shape:
    """Return the shape of tensors one behind the other."""
    axis, first = layer.axis, inputs[0]
    rests = {(len(x), x[:axis], x[axis + 1 :]) for x in inputs}
    if axis >= len(first) or len(rests) != 1:
        raise ModelError(
            f"Concat.inputs: must agree in all sizes but that of axis {axis} behind the batch "
            f"axis, got {[list(x) for x in inputs]} (layer {layer.name!r})"
        )
    return (*first[:axis], sum(x[axis] for x in inputs), *first[axis + 1 :])


def transpose_shape(layer: Transpose, x: Shape) -> Shape:
    """Return the shape with its axes in another order."""
    if len(x) != len(layer.permutation):
        raise ModelError(
            f"Transpose.permutation: must have {len(x)} axes, got {layer.permutation} "
            f"(layer {layer.name!r})"
        )
    return tuple(x[axis] for axis in layer.permutation)


def allowed_shapes(layer: Layer, inputs: Sequence[Shape], output: Shape) -> list[Shape]:
    """Return the output shapes that a layer can have with these inputs."""
    x = inputs[0]
    if isinstance(layer, Conv):
        return [conv_shape(layer, x)]
    if isinstance(layer, Linear):
        return [linear_shape(layer, x)]
    if isinstance(layer, MaxPool | AveragePool):
        floor, ceiled = (pool_shape(layer, x, is_ceiled) for is_ceiled in (False, True))
        return [(floor[0], h, w) for h in (floor[1], ceiled[1]) for w in (floor[2], ceiled[2])]
    if isinstance(layer, GlobalAveragePool):
        return [(*x[:1], 1, 1)] if len(x) == 3 else []
    if isinstance(layer, Add | Mul):
        return [broadcast_shape(layer.name, x, inputs[1])]
    if isinstance(layer, AddConstant | MulConstant):
        return [broadcast_shape(layer.name, x, layer.constant.shape)]
    if isinstance(layer, Concat):
        return [concat_shape(layer, inputs)]
    if isinstance(layer, Transpose):
        return [transpose_shape(layer, x)]
    if isinstance(layer, Softmax) and layer.axis >= len(x):
        return []
    if isinstance(layer, Reshape):
        return [output] if total(x) == total(output) else []
    return [x]


def check_layer(layer: Layer, inputs: Sequence[Shape], output: Shape) -> None:
    """Check that a layer's output has a shape that follows from its inputs.

    Raises
    ------
    ModelError
        If it has not; the message names the layer.
    """
    allowed = allowed_shapes(layer, inputs, output)
    if output not in allowed:
        wanted = " or ".join(dict.fromkeys(str(list(shape)) for shape in allowed)) or "another"
        raise ModelError(
            f"{layer.op}.output: must have shape {wanted} for inputs "
            f"{[list(shape) for shape in inputs]}, got {list(output)} (layer {layer.name!r})"
        )
