"""Density presets: which share of weights and activations of a synthetic network is not zero."""

from dataclasses import dataclass

from .architecture import Architecture
from .architectures import ARCHITECTURES


@dataclass(frozen=True)
class Densities:
    """Target densities of a network's layers.

    Parameters
    ----------
    weights : tuple of float
        Share of weight rows kept, by layer with weights.
    inputs : tuple of float
        Share of non-zero activations (after pooling or addition) that each layer with weights but
        the first reads in a chain: the density behind the layer before. Behind a layer without
        ReLU it is not used. The first layer's input is the image as it is.
    source : str
        Where the numbers come from.
    """

    weights: tuple[float, ...]
    inputs: tuple[float, ...]
    source: str


_VGG16 = {
    "S1": Densities(
        weights=(0.501,) * 16,
        inputs=(0.233,) * 15,
        source="derived: the reading of the MNF paper (section 6: 49.9 % and 59.6 %) that fits "
        "its weight SRAM and its Figure 8; the fully connected layers alike",
    ),
    "S2": Densities(
        weights=(0.404,) * 16,
        inputs=(0.30,) * 15,
        source="the MNF paper's literal order of 49.9 % and 59.6 % sparsity (section 6)",
    ),
    "S3": Densities(
        weights=(
            *(0.58, 0.22, 0.34, 0.36, 0.53, 0.24, 0.42, 0.32, 0.27, 0.34, 0.35, 0.29, 0.36),
            *(0.04, 0.04, 0.23),
        ),
        inputs=(
            *(0.53, 0.89, 0.80, 0.81, 0.68, 0.70, 0.64, 0.51, 0.45, 0.34, 0.32, 0.29),
            *(0.19, 0.38, 0.42),
        ),
        source="S. Han et al., NIPS 2015, Table 5, recalled; the convolutions cross-checked within "
        "2 points with a public SCNN simulator's configuration",
    ),
}

_ALEXNET = {
    "S1": Densities(
        weights=(0.404,) * 8,
        inputs=(0.60, 0.275, 0.207, 0.23, 0.23, 0.23, 0.23),
        source="weights derived: the reading of the MNF paper (section 6: 49.9 % and 59.6 %) that "
        "fits its weight SRAM and its Figure 8; inputs of the Sparseloop artifact's Eyeriss "
        "set-up, chosen: conv5's also for the fully connected layers",
    ),
    "S2": Densities(
        weights=(0.501,) * 8,
        inputs=(0.29,) * 7,
        source="the MNF paper's literal order of 49.9 % and 59.6 % sparsity (section 6)",
    ),
    "S3": Densities(
        weights=(0.71, 0.385, 0.346, 0.372, 0.369, 0.09, 0.09, 0.25),
        inputs=(0.60, 0.275, 0.207, 0.23, 0.34, 0.36, 0.40),
        source="convolutions: Sparseloop artifact, Eyeriss set-up (2022); fully connected layers: "
        "S. Han et al., NIPS 2015, Table 4, recalled",
    ),
}

_LENET5 = {
    "S1": Densities((0.501,) * 5, (0.233,) * 4, "chosen: as VGG-16's S1"),
    "S2": Densities((0.404,) * 5, (0.30,) * 4, "chosen: as VGG-16's S2"),
}


def _chosen(architecture: Architecture) -> dict[str, Densities]:
    """Return the presets of a network of which no densities are published in one table."""
    has_depthwise = any(layer.is_depthwise for layer in architecture.convolutions)
    note = (
        "; depth-wise layers stay dense, chosen: a weight row of theirs is a whole filter, and "
        "M. Zhu, S. Gupta, To prune, or not to prune (arXiv 1710.01878), leave those of MobileNet "
        "dense too, recalled"
    )
    found = {}
    for name, weights, share, source in (
        ("S1", 0.501, 0.233, "chosen: VGG-16's S1"),
        ("S2", 0.404, 0.30, "chosen: VGG-16's S2"),
        ("S3", 0.36, 0.58, "chosen: the means of VGG-16's S3 over its convolutions"),
    ):
        found[name] = Densities(
            tuple(1.0 if spec.is_depthwise else weights for spec in architecture.weighted),
            (share,) * (len(architecture.weighted) - 1),
            source + note * has_depthwise,
        )
    return found


PRESETS: dict[str, dict[str, Densities]] = {
    "lenet5": _LENET5,
    "alexnet": _ALEXNET,
    "vgg16": _VGG16,
    **{
        name: _chosen(ARCHITECTURES[name])
        for name in ("resnet18", "resnet50", "mobilenetv2", "googlenet")
    },
}
