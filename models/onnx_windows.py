"""Windows of ONNX nodes, and the pools over them."""

from .layers import AveragePool, MaxPool
from .network import Tensor
from .onnx_builder import Builder
from .onnx_graph import Node
from .shapes import Shape, pool_shape


def pool(builder: Builder, node: Node, x: Tensor, output: str) -> Tensor:
    """Emit a MaxPool on codes and return its output tensor."""
    if any(node.outputs[1:]) or node.attributes.get("storage_order", 0):
        raise builder.graph.error(node, "must have one output; indices are not supported")
    kernel = _kernel(builder, node, x)
    strides, pads, dilations = windows(builder, node, kernel, x.shape[1:])
    layer = MaxPool(builder.name(node), (x.name,), output, kernel, strides, pads, dilations)
    shape = pool_shape(layer, x.shape, bool(node.attributes.get("ceil_mode", 0)))
    builder.emit(layer)
    return builder.tensor(node, output, shape, x.dtype, x.scale, x.zero_point)


def average(builder: Builder, node: Node, x: Tensor, output: str) -> tuple[AveragePool, Shape]:
    """Return an AveragePool and its output shape."""
    kernel = _kernel(builder, node, x)
    strides, pads, dilations = windows(builder, node, kernel, x.shape[1:])
    if dilations != (1, 1) or node.attributes.get("channels_last", 0):
        raise builder.graph.error(
            node,
            f"dilations must be 1 and channels_last 0, got {dilations} and "
            f"{node.attributes.get('channels_last', 0)}; export a plain AveragePool",
        )
    counts_padding = bool(node.attributes.get("count_include_pad", 0))
    layer = AveragePool(
        builder.name(node), (x.name,), output, kernel, strides, pads, counts_padding
    )
    return layer, pool_shape(layer, x.shape, bool(node.attributes.get("ceil_mode", 0)))


def _kernel(builder: Builder, node: Node, x: Tensor) -> tuple[int, int]:
    kernel = tuple(int(size) for size in node.attributes.get("kernel_shape", ()))
    if len(x.shape) != 3 or len(kernel) != 2:
        raise builder.graph.error(
            node, f"must pool [n, c, h, w] with a two-dimensional kernel, got kernel {kernel}"
        )
    return kernel[0], kernel[1]


def windows(
    builder: Builder, node: Node, kernel: tuple[int, ...], size: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Return strides, pads and dilations of a Conv or pooling node, auto_pad resolved."""
    attributes = node.attributes
    strides = tuple(int(v) for v in attributes.get("strides", (1, 1)))
    dilations = tuple(int(v) for v in attributes.get("dilations", (1, 1)))
    pads = tuple(int(v) for v in attributes.get("pads", (0, 0, 0, 0)))
    given = tuple(attributes.get("kernel_shape", kernel))
    lengths = (len(strides), len(dilations), len(pads), given)
    if lengths != (2, 2, 4, tuple(kernel)) or min(*strides, *dilations) < 1:
        raise builder.graph.error(
            node,
            f"must have two positive strides and dilations, four pads and the weight's kernel, "
            f"got {strides}, {dilations}, {pads}, {given}",
        )
    mode = attributes.get("auto_pad", b"NOTSET").decode()
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = _same_pads(strides, dilations, kernel, size, mode == "SAME_LOWER")
    elif mode == "VALID":
        pads = (0, 0, 0, 0)
    elif mode != "NOTSET":
        raise builder.graph.error(node, f"auto_pad must be NOTSET, SAME_* or VALID, got {mode}")
    return (
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilations[0], dilations[1]),
    )


def _same_pads(
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    kernel: tuple[int, ...],
    size: tuple[int, ...],
    is_lower: bool,
) -> tuple[int, ...]:
    before, after = [], []
    for stride, dilation, taps, length in zip(strides, dilations, kernel, size, strict=True):
        count = -(-length // stride)
        missing = max(0, (count - 1) * stride + dilation * (taps - 1) + 1 - length)
        first = (missing + is_lower) // 2
        before.append(first)
        after.append(missing - first)
    return (*before, *after)
