"""GoogLeNet (Inception v1): blocks of four branches whose channels are joined."""

from collections.abc import Iterator

from .architecture import Architecture
from .specs import (
    ConcatSpec,
    ConvSpec,
    LinearSpec,
    MaxPoolSpec,
    MeanSpec,
    PoolSpec,
    Spec,
    pointwise_tile,
)

_BLOCKS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Filters of 1 x 1, 3 x 3 reduce, 3 x 3, 5 x 5 reduce, 5 x 5 and pool proj of each block."""

_HALVED = PoolSpec(3, 2, is_ceiled=True)
_POOLED = ("3b", "4e")  # blocks with a pool behind


def _point(name: str, filters: int, reads: str = "") -> ConvSpec:
    return ConvSpec(name, filters, 1, tile=pointwise_tile(filters), reads=reads)


def _five(name: str, filters: int) -> ConvSpec:
    """Return a 5 x 5 convolution of four runs of 3 x 3 tiles, or of ten of 3 x 1.

    A run costs a PE as many cycles as it has filter groups: one per 33 filters, or per 99.
    """
    is_wide = 10 * -(-filters // 99) < 4 * -(-filters // 33)
    return ConvSpec(name, filters, 5, pad=2, tile=(3, 1) if is_wide else (3, 3))


def _layers() -> Iterator[Spec]:
    yield ConvSpec("conv1", 64, 7, stride=2, pad=3, pool=_HALVED)
    yield _point("conv2_reduce", 64)
    yield ConvSpec("conv2", 192, 3, pad=1, pool=_HALVED)
    last = "conv2"
    for block, filters in _BLOCKS.items():
        yield from _inception(f"inception_{block}", filters, last, block in _POOLED)
        last = f"inception_{block}"
    yield MeanSpec("pool5")
    yield LinearSpec("fc6", 1000)


def _inception(name: str, filters: tuple[int, ...], reads: str, is_pooled: bool) -> Iterator[Spec]:
    one, reduce3, three, reduce5, five, proj = filters
    yield _point(f"{name}_1x1", one, reads)
    yield _point(f"{name}_3x3_reduce", reduce3, reads)
    yield ConvSpec(f"{name}_3x3", three, 3, pad=1)
    yield _point(f"{name}_5x5_reduce", reduce5, reads)
    yield _five(f"{name}_5x5", five)
    yield MaxPoolSpec(f"{name}_max", PoolSpec(3, 1, pad=1), reads)
    yield _point(f"{name}_pool_proj", proj)
    parts = tuple(f"{name}_{branch}" for branch in ("1x1", "3x3", "5x5", "pool_proj"))
    yield ConcatSpec(name, parts, _HALVED if is_pooled else None)


GOOGLENET = Architecture(
    name="googlenet",
    title="GoogLeNet (Inception v1, 224 x 224 image, without local response normalisation and "
    "auxiliary classifiers)",
    shape=(3, 224, 224),
    layers=tuple(_layers()),
    source="C. Szegedy et al., Going Deeper with Convolutions (arXiv 1409.4842), Table 1",
)
