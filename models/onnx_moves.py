"""ONNX nodes that move codes and change none: new shapes and orders of axes."""

from .layer import total
from .layers import Reshape, Transpose
from .network import Tensor
from .onnx_builder import Builder
from .onnx_graph import Node
from .shapes import Shape, transpose_shape


def reshape(builder: Builder, node: Node, x: Tensor, output: str) -> Tensor:
    """Emit a Reshape of codes for Flatten, Reshape, Squeeze or Unsqueeze; return its output."""
    batch = builder.graph.batch
    shape = _reshaped(builder, node, (batch, *x.shape))
    if not shape or shape[0] != batch or total(shape) != batch * x.size:
        raise builder.graph.error(
            node,
            f"must keep the batch axis ({batch}) first and all values, got {[batch, *x.shape]} to "
            f"{list(shape) or 'another first axis'}; export with batch size 1",
        )
    builder.emit(Reshape(builder.name(node), (x.name,), output))
    return builder.tensor(node, output, shape[1:], x.dtype, x.scale, x.zero_point)


def _reshaped(builder: Builder, node: Node, shape: Shape) -> Shape:
    """Return the output shape, batch axis included; () where the node takes that axis away."""
    rank = len(shape)
    if node.op == "Flatten":
        axis = int(node.attributes.get("axis", 1))
        axis += rank * (axis < 0)
        return (total(shape[:axis]), total(shape[axis:])) if axis else ()
    if node.op == "Reshape":
        target = [int(v) for v in builder.graph.constant(node, 1, "the new shape").reshape(-1)]
        if not node.attributes.get("allowzero", 0):
            target = [shape[i] if v == 0 and i < rank else v for i, v in enumerate(target)]
        known = total(v for v in target if v != -1)
        return tuple(total(shape) // max(known, 1) if v == -1 else v for v in target)
    axes = node.attributes.get("axes")
    if axes is None and node.input(1):
        axes = builder.graph.constant(node, 1, "the axes").reshape(-1).tolist()
    if node.op == "Squeeze":
        gone = {a % rank for a in axes} if axes is not None else set(range(1, rank))
        if 0 in gone:
            return ()
        return tuple(v for i, v in enumerate(shape) if i not in gone or (v != 1 and axes is None))
    new = {a % (rank + len(axes or ())) for a in axes or ()}
    if 0 in new:
        return ()
    rest = iter(shape)
    return tuple(1 if i in new else next(rest) for i in range(rank + len(new)))


def transpose(builder: Builder, node: Node, x: Tensor, output: str) -> Tensor:
    """Emit a Transpose of codes and return its output tensor."""
    axes = range(len(x.shape) + 1)
    order = tuple(int(axis) for axis in node.attributes.get("perm", reversed(axes)))
    if sorted(order) != list(axes) or order[0] != 0:
        raise builder.graph.error(
            node,
            f"perm must keep the batch axis first and name each of {len(axes)} axes once, got "
            f"{list(order)}; export with the batch axis first",
        )
    permutation = tuple(axis - 1 for axis in order[1:])
    layer = Transpose(builder.name(node), (x.name,), output, permutation=permutation)
    builder.emit(layer)
    shape = transpose_shape(layer, x.shape)
    return builder.tensor(node, output, shape, x.dtype, x.scale, x.zero_point)
