"""What decides a synthetic network: architecture, densities, seed and layers."""

import re
from dataclasses import dataclass
from functools import cached_property

from .architecture import Architecture
from .architectures import ARCHITECTURES
from .densities import PRESETS, Densities
from .layer import is_integer
from .layers import ModelError
from .specs import ConvSpec

RULES = {"rows": "balanced", "random": "random"}
DEFAULT_LAYERS = {"lenet5": "all", "alexnet": "conv", "vgg16": "conv"}


@dataclass(frozen=True)
class WeightRows:
    """The machine whose weight rows are pruned.

    Parameters
    ----------
    pes, multipliers : int
        PEs, and weights in a row; by default of the MNF paper's machine.
    tiles : tuple of (str, (int, int))
        Layers whose rows hold other tiles of kernel positions than the architecture says.
    """

    pes: int = 11
    multipliers: int = 27
    tiles: tuple[tuple[str, tuple[int, int]], ...] = ()

    def tile(self, layer: str, default: tuple[int, int]) -> tuple[int, int]:
        """Return a layer's tile."""
        return dict(self.tiles).get(layer, default)


@dataclass(frozen=True)
class Recipe:
    """Everything that a synthetic network follows from.

    Parameters
    ----------
    name : str
        A name in ``ARCHITECTURES``.
    preset : str
        A name in ``PRESETS[name]``.
    seed : int
        Of weights, pruning and images, at least 0.
    weights : str, optional
        Instead of the preset's: ``rows:D`` keeps the share D of every layer's weight rows,
        balanced over PEs and channels, ``random:D`` rows wherever they lie, ``dense`` all.
        Depth-wise layers stay dense in any case.
    activations : float, optional
        Instead of the preset's: target density of every layer's input but the first's, where the
        layer before has a ReLU.
    layers : str, optional
        ``conv``, ``all`` or layer names with commas between; by default ``DEFAULT_LAYERS``.
    own : Architecture, optional
        An architecture of one's own, of the same name; it has no presets, so that weights and
        activations must be given.
    rows : WeightRows
        Of which machine weight rows are pruned.

    Raises
    ------
    ModelError
        If a field is not one of these.
    """

    name: str
    preset: str = "S1"
    seed: int = 0
    weights: str | None = None
    activations: float | None = None
    layers: str | None = None
    own: Architecture | None = None
    rows: WeightRows = WeightRows()

    def __post_init__(self) -> None:
        """Check every field."""
        self._check_name()
        if not is_integer(self.seed) or not 0 <= self.seed < 2**63:
            raise ModelError(f"seed: must be an integer in 0..2^63 - 1, got {self.seed!r}")
        share = self.activations
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if share is not None and not (is_number and 0 < share <= 1):
            raise ModelError(f"activations: must be a density above 0, at most 1, got {share!r}")
        self.pruning(0)

    def _check_name(self) -> None:
        """Check name and preset."""
        if self.own is not None:
            if self.own.name != self.name:
                raise ModelError(f"Recipe.name: must be {self.own.name!r}, got {self.name!r}")
            if self.weights is None or self.activations is None:
                raise ModelError(
                    f"Recipe.own: {self.name} has no presets; give weights and activations"
                )
            return
        if self.name not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ModelError(f"Recipe.name: must be one of {known}, got {self.name!r}")
        presets = PRESETS[self.name]
        if self.preset not in presets:
            known = ", ".join(presets)
            raise ModelError(f"preset: must be one of {known} for {self.name}, got {self.preset!r}")

    @property
    def architecture(self) -> Architecture:
        """The network's architecture."""
        return ARCHITECTURES[self.name] if self.own is None else self.own

    @property
    def chosen_layers(self) -> str:
        """``layers``, or the network's default."""
        return DEFAULT_LAYERS.get(self.name, "all") if self.layers is None else self.layers

    @cached_property
    def densities(self) -> Densities:
        """The preset's densities."""
        return PRESETS[self.name][self.preset]

    def pruning(self, index: int) -> tuple[str, float]:
        """Return the rule of `prune_rows` and the share of rows that a weighted layer keeps."""
        if self.weights is None:
            return "balanced", self.densities.weights[index]
        if self.weights == "dense":
            return "balanced", 1.0
        kind, _, text = str(self.weights).partition(":")
        is_number = re.fullmatch(r"[0-9]*\.?[0-9]+", text) is not None
        if kind not in RULES or not is_number or not 0 < float(text) <= 1:
            raise ModelError(
                f"weights: must be rows:D or random:D with a density D above 0, at most 1, "
                f"or dense, got {self.weights!r}"
            )
        is_depthwise = self.architecture.weighted[index].is_depthwise
        return RULES[kind], 1.0 if is_depthwise else float(text)

    def is_last(self, index: int) -> bool:
        """Return whether a weighted layer gives the network's result, without ReLU."""
        is_at_end = index + 1 == len(self.architecture.weighted)
        return is_at_end and not self.architecture.is_part

    def output_density(self, index: int) -> float | None:
        """Return the target density behind a weighted layer; None where there is no ReLU.

        It is that of the codes behind addition and pool.
        """
        spec = self.architecture.weighted[index]
        if self.is_last(index) or (isinstance(spec, ConvSpec) and not spec.has_relu):
            return None
        return self.densities.inputs[index] if self.activations is None else self.activations

    @property
    def input_density(self) -> float | None:
        """The density of what a part of a network reads; None for an image."""
        return self.activations if self.architecture.is_part else None

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        parts = [f"preset {self.preset}"] if self.own is None else []
        parts += [f"seed {self.seed}", f"layers {self.chosen_layers}"]
        if self.weights is not None:
            parts.append(f"weights {self.weights}")
        if self.activations is not None:
            parts.append(f"activations {self.activations:g}")
        if self.rows != WeightRows():
            parts.append(f"rows of {self.rows.pes} PEs of {self.rows.multipliers}")
        return f"{self.architecture.title} with synthetic weights ({', '.join(parts)})"
