"""Fixed dataflows, as restrictions of descriptors; `docs/flexnn-cycles.md`, section 2.

Source: V. Sze, Y.-H. Chen, T.-J. Yang, J. Emer, "Efficient Processing of Deep Neural Networks",
Proceedings of the IEEE 105 (2017): weight, input, output, row stationary, no local reuse.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .dims import FL_DIMS, REDUCTION, Dim

if TYPE_CHECKING:
    from .descriptor import Cut

Rule = Callable[["Cut", int], str | None]
"""``rule(cut, lanes)`` returns what a descriptor breaks, or None."""


def _innermost(cut: "Cut", dims: tuple[Dim, ...], among: tuple[Dim, ...]) -> Dim | None:
    """Return a dimension of ``dims`` that stands outside one of ``among``, of those with blocks."""
    blocks = cut.blocks()
    looped = [dim for dim in cut.order if blocks[dim] > 1]
    for place, dim in enumerate(looped):
        if dim in dims and any(other in among for other in looped[place + 1 :]):
            return dim
    return None


def _weight(cut: "Cut", lanes: int) -> str | None:
    found = _innermost(cut, (Dim.OX, Dim.OY, Dim.N), FL_DIMS)
    return f"OX, OY and N must be innermost in order, {found.name} is not" if found else None


def _input(cut: "Cut", lanes: int) -> str | None:
    found = _innermost(cut, (Dim.OC,), tuple(dim for dim in Dim if dim != Dim.OC))
    return "OC must be innermost in order" if found else None


def _output(cut: "Cut", lanes: int) -> str | None:
    found = _innermost(cut, REDUCTION, tuple(dim for dim in Dim if dim not in REDUCTION))
    return f"IC, FX and FY must be innermost in order, {found.name} is not" if found else None


def _none(cut: "Cut", lanes: int) -> str | None:
    lane = Dim.IC if cut.descriptor.lanes == "vxv" else Dim.OC
    for dim, size in zip(Dim, cut.block, strict=True):
        wanted = lanes if dim == lane else 1
        if size != wanted:
            return f"block.{dim.name} must be {wanted}, got {size}"
    return None


def _row(cut: "Cut", lanes: int) -> str | None:
    blocks, layer = cut.blocks(), cut.layer.sizes
    if cut.descriptor.reduction != "chain":
        return "reduction must be chain"
    for dim, good, bad in ((Dim.FY, "rows", cut.column_parts), (Dim.OY, "columns", cut.row_parts)):
        if bad[dim] > 1:
            return f"{dim.name} must be partitioned over {good} only"
        if cut.block[dim] > 1:
            return f"block.{dim.name} must be 1, got {cut.block[dim]}"
    for dim in (Dim.OX, Dim.FX):
        if cut.parts[dim] > 1:
            return f"{dim.name} must not be partitioned"
    if cut.block[Dim.FX] != layer[Dim.FX]:
        return f"block.FX must be {layer[Dim.FX]}, got {cut.block[Dim.FX]}"
    looped = [dim for dim in cut.order if blocks[dim] > 1]
    if Dim.OX in looped and looped[-1] != Dim.OX:
        return "OX must be innermost in order"
    return None


DATAFLOWS: dict[str, Rule] = {
    "weight": _weight,
    "output": _output,
    "input": _input,
    "none": _none,
    "row": _row,
}
"""Weight, output and input stationary, no local reuse, row stationary."""
