"""MobileNetV2: inverted residual blocks with depth-wise convolutions and linear bottlenecks."""

from collections.abc import Iterator

from .architecture import Architecture
from .specs import AddSpec, ConvSpec, LinearSpec, MeanSpec, Spec, pointwise_tile

_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, filters, blocks and stride of the first block: t, c, n, s of the paper's Table 2."""

_CAP = 6.0  # ReLU6


def _layers() -> Iterator[Spec]:
    yield ConvSpec("conv1", 32, 3, stride=2, pad=1, cap=_CAP)
    channels, number, last = 32, 0, "conv1"
    for expansion, filters, count, first_stride in _BLOCKS:
        for place in range(count):
            number += 1
            stride = first_stride if place == 0 else 1
            is_residual = stride == 1 and channels == filters
            shortcut = last if is_residual else ""
            block = _block(f"block{number}", channels, expansion, filters, stride, shortcut)
            yield from block
            channels, last = filters, f"block{number}_project"
    yield ConvSpec("conv18", 1280, 1, tile=pointwise_tile(1280), cap=_CAP)
    yield MeanSpec("pool18")
    yield LinearSpec("fc19", 1000)


def _block(
    name: str, channels: int, expansion: int, filters: int, stride: int, shortcut: str
) -> Iterator[Spec]:
    wide = channels * expansion
    if expansion > 1:
        yield ConvSpec(f"{name}_expand", wide, 1, tile=pointwise_tile(wide), cap=_CAP)
    yield ConvSpec(f"{name}_depthwise", wide, 3, stride, pad=1, groups=wide, cap=_CAP)
    yield ConvSpec(
        f"{name}_project",
        filters,
        1,
        tile=pointwise_tile(filters),
        add=AddSpec(f"{name}_add", shortcut) if shortcut else None,
        has_relu=False,
    )


MOBILENETV2 = Architecture(
    name="mobilenetv2",
    title="MobileNetV2 (width 1.0, 224 x 224 image)",
    shape=(3, 224, 224),
    layers=tuple(_layers()),
    source="M. Sandler et al., MobileNetV2 (arXiv 1801.04381), Table 2",
)
