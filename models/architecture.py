"""A network's architecture: its layers in order, and what each of them reads."""

from dataclasses import dataclass
from functools import cached_property

from .layers import ModelError
from .specs import IMAGE, ConcatSpec, ConvSpec, LinearSpec, MeanSpec, Spec, WeightedSpec


@dataclass(frozen=True)
class Architecture:
    """A graph of layers.

    Parameters
    ----------
    name : str
    title : str
        For people.
    shape : (int, int, int)
        Channels, height and width of the image.
    layers : tuple of Spec
        In topological order, the convolutions before mean and fully connected layers.
    source : str
    is_part : bool
        Whether it is a part of a larger network: it reads activations of the layers' density, not
        an image, and its last layer has a ReLU and that density too.

    Raises
    ------
    ModelError
        If names repeat, a layer reads one that does not stand before it, or a concatenation joins
        what is no plain convolution with ReLU.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    layers: tuple[Spec, ...]
    source: str
    is_part: bool = False

    def __post_init__(self) -> None:
        """Check names, and what is joined."""
        known: dict[str, Spec | None] = {IMAGE: None}
        for spec in self.layers:
            for name in _sources(spec):
                if name and name not in known:
                    raise ModelError(
                        f"Architecture.layers: {spec.name!r} must read a layer before it, got "
                        f"{name!r} ({self.name})"
                    )
                if isinstance(spec, ConcatSpec) and not _is_plain(known[name]):
                    raise ModelError(
                        f"Architecture.layers: {spec.name!r} must join convolutions with ReLU and "
                        f"without addition or pool, got {name!r} ({self.name})"
                    )
            for name in _names(spec):
                if name in known:
                    raise ModelError(
                        f"Architecture.layers: must have unique names, got {name!r} twice "
                        f"({self.name})"
                    )
                known[name] = spec

    @property
    def convolutions(self) -> tuple[ConvSpec, ...]:
        """The convolutions."""
        return tuple(spec for spec in self.layers if isinstance(spec, ConvSpec))

    @cached_property
    def weighted(self) -> tuple[WeightedSpec, ...]:
        """The layers that have weights."""
        return tuple(spec for spec in self.layers if isinstance(spec, WeightedSpec))

    @property
    def n_convolutional(self) -> int:
        """How many layers stand before the first that is a mean or fully connected."""
        rest = [n for n, x in enumerate(self.layers) if isinstance(x, LinearSpec | MeanSpec)]
        return rest[0] if rest else len(self.layers)

    @cached_property
    def places(self) -> dict[str, int]:
        """Where in ``layers`` each name stands, those of additions included."""
        return {name: n for n, spec in enumerate(self.layers) for name in _names(spec)}

    def concat_of(self, spec: Spec) -> ConcatSpec | None:
        """Return the concatenation that a layer's output goes into, if there is one."""
        joins = (layer for layer in self.layers if isinstance(layer, ConcatSpec))
        return next((layer for layer in joins if spec.name in layer.parts), None)


def _names(spec: Spec) -> tuple[str, ...]:
    """Return the names of a layer and of the addition behind it."""
    if isinstance(spec, ConvSpec) and spec.add:
        return spec.name, spec.add.name
    return (spec.name,)


def _sources(spec: Spec) -> tuple[str, ...]:
    """Return the names of what a layer reads; empty for the layer before."""
    if isinstance(spec, ConcatSpec):
        return spec.parts
    if isinstance(spec, ConvSpec) and spec.add:
        return spec.reads, spec.add.shortcut
    return (spec.reads,)


def _is_plain(spec: Spec | None) -> bool:
    return isinstance(spec, ConvSpec) and spec.has_relu and not spec.add and not spec.pool
