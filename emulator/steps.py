"""Steps of a network on a machine: what those of all modes have, and layers on the host unit."""

from collections.abc import Mapping as Named
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..models.network import Layer, Network, Quantize, Reshape
from .description import Description

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HostStep:
    """A layer that the host unit computes, or that only renames or converts at the edge.

    Parameters
    ----------
    layer : Layer
    is_real : bool
        Whether its output is one of real numbers, at the network's edge.
    """

    layer: Layer
    is_real: bool = False

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that are read."""
        return self.layer.inputs

    @property
    def output(self) -> str:
        """Tensor that is stored."""
        return self.layer.output

    @property
    def is_alias(self) -> bool:
        """Whether its output is its input in a new shape."""
        return isinstance(self.layer, Reshape)

    @property
    def is_free(self) -> bool:
        """Whether the step takes no cycles: a new shape, or a conversion at the network's edge."""
        return self.is_real or self.is_alias or isinstance(self.layer, Quantize)


class AnyStep(Protocol):
    """What is done for a layer, in either mode, or between two."""

    @property
    def name(self) -> str:
        """The layer's name, or what else a result is told by."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors that are read."""

    @property
    def output(self) -> str:
        """Tensor that is stored."""


class LayerStep(AnyStep, Protocol):
    """What is done for a layer."""

    @property
    def layer(self) -> Layer:
        """The layer."""


class AnyPlan(Protocol):
    """A network on a machine of either mode: what all of a run needs to know of its plan."""

    @property
    def network(self) -> Network:
        """The network."""

    @property
    def machine(self) -> Description:
        """The machine."""

    @property
    def steps(self) -> Sequence[AnyStep]:
        """What is done one after another."""

    @property
    def regions(self) -> Named[str, int]:
        """First byte of each stored tensor."""

    @property
    def storage_bytes(self) -> int:
        """Bytes that the stored tensors need."""

    @property
    def load_cycles(self) -> int:
        """Cycles in which the weights come in before cycle 0."""
