"""Architectures of well-known networks: layers, sizes and the tile of their weight rows."""

from .architecture import Architecture
from .googlenet import GOOGLENET
from .mobilenet import MOBILENETV2
from .resnet import RESNET18, RESNET50
from .specs import ConvSpec, LinearSpec, PoolSpec, WeightedSpec


def _vgg16() -> tuple[WeightedSpec, ...]:
    layers: list[WeightedSpec] = []
    blocks = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for block, (filters, count) in enumerate(blocks, 1):
        for number in range(1, count + 1):
            pool = PoolSpec(2, 2) if number == count else None
            layers.append(ConvSpec(f"conv{block}_{number}", filters, 3, pad=1, pool=pool))
    return (*layers, LinearSpec("fc6", 4096), LinearSpec("fc7", 4096), LinearSpec("fc8", 1000))


def one_layer(
    name: str,
    channels: int,
    filters: int,
    size: int,
    kernel: int = 3,
    source: str = "chosen",
    groups: int = 1,
) -> Architecture:
    """Return a convolution of stride 1, alone, whose ofmap is as large as its square ifmap.

    Parameters
    ----------
    name : str
    channels, filters, size, kernel : int
        The kernel's size is odd.
    source : str
    groups : int
        ``channels`` and ``filters`` of a depth-wise convolution.
    """
    return Architecture(
        name=name,
        title=f"convolution {channels} x {size} x {size} to {filters}",
        shape=(channels, size, size),
        layers=(ConvSpec(name, filters, kernel, pad=kernel // 2, groups=groups),),
        source=source,
        is_part=True,
    )


_LENET5 = Architecture(
    name="lenet5",
    title="LeNet-5 (32 x 32 image, max pools)",
    shape=(1, 32, 32),
    layers=(
        ConvSpec("conv1", 6, 5, pool=PoolSpec(2, 2)),
        ConvSpec("conv2", 16, 5, pool=PoolSpec(2, 2)),
        LinearSpec("fc3", 120),
        LinearSpec("fc4", 84, tile=(3, 1)),
        LinearSpec("fc5", 10, tile=(3, 3)),
    ),
    source="Y. LeCun et al., Proceedings of the IEEE 86 (1998), with max pools and all of conv2",
)

_ALEXNET = Architecture(
    name="alexnet",
    title="AlexNet (grouped, 227 x 227 image, without local response normalisation)",
    shape=(3, 227, 227),
    layers=(
        ConvSpec("conv1", 96, 11, stride=4, pool=PoolSpec(3, 2), tile=(3, 1)),
        ConvSpec("conv2", 256, 5, pad=2, groups=2, pool=PoolSpec(3, 2), tile=(1, 1)),
        ConvSpec("conv3", 384, 3, pad=1),
        ConvSpec("conv4", 384, 3, pad=1, groups=2),
        ConvSpec("conv5", 256, 3, pad=1, groups=2, pool=PoolSpec(3, 2)),
        LinearSpec("fc6", 4096),
        LinearSpec("fc7", 4096),
        LinearSpec("fc8", 1000),
    ),
    source="A. Krizhevsky, I. Sutskever, G. Hinton, NIPS 2012",
)

_VGG16 = Architecture(
    name="vgg16",
    title="VGG-16 (224 x 224 image)",
    shape=(3, 224, 224),
    layers=_vgg16(),
    source="K. Simonyan, A. Zisserman, ICLR 2015, configuration D",
)

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (_LENET5, _ALEXNET, _VGG16, RESNET18, RESNET50, MOBILENETV2, GOOGLENET)
}
