"""Descriptors: how a layer is cut into rounds, as a frozen value that round-trips to YAML.

Source: "FlexNN", arXiv 2403.09026 (schedule descriptors); `docs/flexnn-cycles.md`, section 2.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from ..description import MachineError, Part, sentence
from .dims import NAMES, OF_DIMS, REDUCTION, Dim, LayerDims, Sizes, sizes

Size = dict[str, int]


class Banks(Part):
    """Register-file sub-banks of a VPE, by tensor."""

    ifmap: int = Field(ge=1, alias="if")
    weights: int = Field(ge=1, alias="fl")
    ofmap: int = Field(ge=1, alias="of")

    @property
    def total(self) -> int:
        """All that are given."""
        return self.ifmap + self.weights + self.ofmap


class Descriptor(Part):
    """A layer's configuration; see `docs/flexnn-cycles.md`, section 2.

    Sizes are mappings from the names of `firemesh.emulator.flexnn.dims.Dim`; those not named are
    1, in ``tile`` the layer's.
    """

    block: Size
    rows: Size = {}
    columns: Size = {}
    tile: Size = {}
    order: tuple[str, ...] = Field((), strict=False)
    tile_order: tuple[str, ...] = Field((), strict=False)
    lanes: Literal["vxv", "mxm"] = "vxv"
    banks: Banks
    sparsity: Literal["dense", "activation", "weight", "both"] = "both"
    reduction: Literal["tree", "chain"] = "tree"
    balance: bool = False
    drain: Literal["yxc", "cyx"] = "yxc"

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field in ("block", "rows", "columns", "tile"):
            for name, value in getattr(self, field).items():
                if name not in NAMES:
                    raise ValueError(f"{field}: must name {', '.join(NAMES)}, got {name!r}")
                if value < 1:
                    raise ValueError(f"{field}.{name}: must be at least 1, got {value}")
        for field in ("order", "tile_order"):
            names = getattr(self, field)
            if not set(names) <= set(NAMES) or len(set(names)) != len(names):
                raise ValueError(
                    f"{field}: must name {', '.join(NAMES)}, each once, got {list(names)}"
                )
        return self

    def to_yaml(self) -> str:
        """Return the descriptor as YAML; `Descriptor.parse` reads it back."""
        tree = self.model_dump(mode="json", by_alias=True)
        return str(yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100))

    @classmethod
    def parse(cls, tree: Any, where: str) -> Self:
        """Return the descriptor that a mapping describes.

        Raises
        ------
        MachineError
            With file, key and remedy.
        """
        if not isinstance(tree, Mapping):
            raise MachineError(
                f"{where}: must be a mapping of a descriptor's fields, got {type(tree).__name__}; "
                "`firemesh schedule show` prints one to start from"
            )
        try:
            return cls.model_validate(dict(tree))
        except ValidationError as error:
            raise MachineError(sentence(error, where, cls)) from None


class Cut:
    """A descriptor on a layer, in numbers.

    Parameters
    ----------
    descriptor : Descriptor
    layer : LayerDims

    Attributes
    ----------
    block, row_parts, column_parts, parts, tile : 8 int
        B_d; P_d on rows, on columns and both; T_d.
    order, tile_order : 8 Dim
        All dimensions, outermost first.
    """

    def __init__(self, descriptor: Descriptor, layer: LayerDims) -> None:
        self.descriptor, self.layer = descriptor, layer
        self.block = sizes(descriptor.block)
        self.row_parts, self.column_parts = sizes(descriptor.rows), sizes(descriptor.columns)
        pairs = zip(self.row_parts, self.column_parts, strict=True)
        self.parts: Sizes = tuple(a * b for a, b in pairs)  # type: ignore[assignment]
        self.tile = sizes(descriptor.tile, layer.sizes)
        self.order = _whole(descriptor.order)
        self.tile_order = _whole(descriptor.tile_order)

    @property
    def untiled(self) -> "Cut":
        """The same without tiles."""
        return Cut(self.descriptor.model_copy(update={"tile": {}}), self.layer)

    @property
    def steps(self) -> Sizes:
        """B_d * P_d: elements that the array takes in a round."""
        pairs = zip(self.block, self.parts, strict=True)
        return tuple(a * b for a, b in pairs)  # type: ignore[return-value]

    @property
    def tiles(self) -> Sizes:
        """Tiles of each dimension."""
        pairs = zip(self.layer.sizes, self.tile, strict=True)
        return tuple(-(-a // b) for a, b in pairs)  # type: ignore[return-value]

    def blocks(self, lengths: Sizes | None = None) -> Sizes:
        """Return the blocks of each dimension in a tile of given lengths; by default whole ones."""
        whole = tuple(min(t, d) for t, d in zip(self.tile, self.layer.sizes, strict=True))
        pairs = zip(lengths or whole, self.steps, strict=True)
        return tuple(-(-a // b) for a, b in pairs)  # type: ignore[return-value]

    @property
    def n_reduced(self) -> int:
        """VPEs whose psums make one point."""
        found = 1
        for dim in REDUCTION:
            found *= self.parts[dim]
        return found

    @property
    def spills(self) -> bool:
        """Whether psums leave the VPEs before they are complete."""
        blocks, tiles = self.blocks(), self.tiles
        inner = [dim for dim in self.order if blocks[dim] > 1]
        is_kept = True
        for dim in reversed(inner):
            if dim in REDUCTION and not is_kept:
                return True
            is_kept = is_kept and dim in REDUCTION
        is_cut = any(tiles[dim] > 1 for dim in REDUCTION)
        return is_cut and any(blocks[dim] > 1 for dim in OF_DIMS)

    def holds_twice(self, dims: tuple[Dim, ...]) -> bool:
        """Return whether a tensor of some dimensions changes within the layer."""
        return any(self.steps[dim] < self.layer.sizes[dim] for dim in dims)

    def ifmap_box(self, lengths: Sizes, is_clipped: bool = False) -> int:
        """Return the most elements of an IF box of ranges of these lengths.

        Those of padding count unless it is clipped to the ifmap.
        """
        (sy, sx), (dy, dx) = self.layer.strides, self.layer.dilations
        height = (lengths[Dim.OY] - 1) * sy + (lengths[Dim.FY] - 1) * dy + 1
        width = (lengths[Dim.OX] - 1) * sx + (lengths[Dim.FX] - 1) * dx + 1
        if is_clipped:
            height, width = min(height, self.layer.ifmap[0]), min(width, self.layer.ifmap[1])
        return height * width * lengths[Dim.IC] * lengths[Dim.G] * lengths[Dim.N]


def _whole(order: tuple[str, ...]) -> tuple[Dim, ...]:
    first = tuple(Dim[name] for name in order)
    return (*first, *(dim for dim in Dim if dim not in first))


def product(lengths: Sizes, dims: tuple[Dim, ...]) -> int:
    """Return the product of the lengths of some dimensions."""
    total = 1
    for dim in dims:
        total *= lengths[dim]
    return total
