"""ResNet-18 and ResNet-50: residual blocks of two and of three convolutions."""

from collections.abc import Iterator

from .architecture import Architecture
from .specs import (
    AddSpec,
    ConvSpec,
    LinearSpec,
    MeanSpec,
    PoolSpec,
    Spec,
    pointwise_tile,
)

_FILTERS = (64, 128, 256, 512)
_SOURCE = "K. He, X. Zhang, S. Ren, J. Sun, Deep Residual Learning (arXiv 1512.03385), Table 1"


def _resnet(counts: tuple[int, ...], expansion: int) -> tuple[Spec, ...]:
    """Return the layers of a ResNet.

    Parameters
    ----------
    counts : tuple of int
        Blocks of conv2_x .. conv5_x.
    expansion : int
        1: blocks of two 3 x 3 convolutions; 4: of 1 x 1, 3 x 3 and 1 x 1, the last with four
        times the filters.
    """
    layers: list[Spec] = [ConvSpec("conv1", 64, 7, stride=2, pad=3, pool=PoolSpec(3, 2, pad=1))]
    channels = 64
    for stage, (filters, count) in enumerate(zip(_FILTERS, counts, strict=True), 2):
        for number in range(1, count + 1):
            stride = 2 if number == 1 and stage > 2 else 1
            block, last = f"{stage}_{number}", layers[-1].name
            shortcut = last
            if stride > 1 or channels != filters * expansion:
                shortcut = f"conv{block}p"
                layers.append(_projection(shortcut, filters * expansion, stride, last))
            make = _basic if expansion == 1 else _bottleneck
            layers.extend(make(block, filters, stride, last, shortcut))
            channels = filters * expansion
    return (*layers, MeanSpec("pool5"), LinearSpec("fc6", 1000))


def _projection(name: str, filters: int, stride: int, reads: str) -> ConvSpec:
    tile = pointwise_tile(filters)
    return ConvSpec(name, filters, 1, stride, tile=tile, reads=reads, has_relu=False)


def _middle(name: str, filters: int, stride: int, reads: str) -> ConvSpec:
    """Return a 3 x 3 convolution; with a stride of 2 the four phases leave 2 x 2 taps at most."""
    tile = (3, 3) if stride == 1 else (1, 1)
    return ConvSpec(name, filters, 3, stride, pad=1, tile=tile, reads=reads)


def _basic(block: str, filters: int, stride: int, reads: str, shortcut: str) -> Iterator[Spec]:
    add = AddSpec(f"add{block}", shortcut)
    yield _middle(f"conv{block}a", filters, stride, reads)
    yield ConvSpec(f"conv{block}b", filters, 3, pad=1, add=add)


def _bottleneck(block: str, filters: int, stride: int, reads: str, shortcut: str) -> Iterator[Spec]:
    wide, add = 4 * filters, AddSpec(f"add{block}", shortcut)
    yield ConvSpec(f"conv{block}a", filters, 1, tile=pointwise_tile(filters), reads=reads)
    yield _middle(f"conv{block}b", filters, stride, "")
    yield ConvSpec(f"conv{block}c", wide, 1, tile=pointwise_tile(wide), add=add)


RESNET18 = Architecture(
    name="resnet18",
    title="ResNet-18 (224 x 224 image)",
    shape=(3, 224, 224),
    layers=_resnet((2, 2, 2, 2), 1),
    source=f"{_SOURCE}, with projections where sizes change (its option B)",
)

RESNET50 = Architecture(
    name="resnet50",
    title="ResNet-50 v1.5 (224 x 224 image, stride in the 3 x 3 convolution of a block)",
    shape=(3, 224, 224),
    layers=_resnet((3, 4, 6, 3), 4),
    source=f"{_SOURCE}, but with a block's stride in its 3 x 3 convolution, as torchvision has it "
    f"(v1.5); the paper has it in the first 1 x 1",
)
