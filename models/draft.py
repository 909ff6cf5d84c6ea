"""A synthetic network in the making: what is there so far, and its values on the first image."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .layers import Layer
from .network import Network, Tensor
from .recipe import Recipe
from .specs import IMAGE

Array = NDArray[Any]


@dataclass
class Draft:
    """Layers, tensors and codes so far.

    Parameters
    ----------
    recipe : Recipe
    image : Tensor
        The network's input.
    values : uint8[1, ...]
        The input that the network is calibrated on.
    """

    recipe: Recipe
    image: Tensor
    values: Array
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with the input."""
        self.tensors = {self.image.name: self.image}
        self.codes = {self.image.name: self.values}
        self._behind = {IMAGE: self.image.name}
        self._last = self.image.name

    def add(self, layer: Layer, y: Tensor, codes: Array) -> None:
        """Append a layer, its output and the output's codes [1, ...] of ``y``'s type."""
        self.layers.append(layer)
        self.tensors[y.name] = y
        self.codes[y.name] = codes.astype(y.dtype, copy=False)
        self._last = y.name

    def finish(self, names: Iterable[str]) -> None:
        """Let others read the last output under the names of an architecture's layer."""
        self._behind.update(dict.fromkeys(names, self._last))

    def read(self, name: str) -> tuple[Tensor, Array]:
        """Return what a layer reads that names another, or none: tensor and codes."""
        tensor = self.tensors[self._behind[name] if name else self._last]
        return tensor, self.codes[tensor.name]

    def network(self) -> Network:
        """Return the network that ends with the last layer."""
        return Network(
            self.recipe.name,
            tuple(self.layers),
            self.tensors,
            (self.image.name,),
            (self._last,),
        )
