"""Which PE holds which filters, psums and weight rows.

Source: "Multiply-and-Fire (MNF)", section 5.3, with Eq. 1 corrected: as printed it gives one PE for
the paper's own example, whose text says two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from ..shape import ConvShape
from .machine import Machine, Pe


class MappingError(ValueError):
    """A layer that does not fit the machine; one sentence with the numbers and the way out."""


def conv_pes(
    ofmap: tuple[int, int],
    kernel: tuple[int, int],
    c_in: int,
    c_out: int,
    psums: int,
    weights: int,
) -> int:
    """Return the fewest PEs for a convolution (Eq. 1, corrected).

    Parameters
    ----------
    ofmap, kernel : (int, int)
        Sides.
    c_in, c_out : int
        Channels of a convolution group, and filters.
    psums, weights : int
        Psums and weights that a PE holds (N and W).

    Returns
    -------
    int
        ``max(ceil(c_out / floor(N / (w*h))), ceil(k*k*c_in*c_out / W))``; 0 when a PE cannot hold
        one channel of the ofmap, so that bands of rows are needed.
    """
    maps = psums // (ofmap[0] * ofmap[1])
    if maps == 0:
        return 0
    return max(-(-c_out // maps), -(-kernel[0] * kernel[1] * c_in * c_out // weights))


def fully_connected_pes(inputs: int, outputs: int, psums: int, weights: int) -> int:
    """Return the fewest PEs for a fully connected layer (Eq. 2).

    A neuron's weights may be split between PEs.
    """
    return max(-(-outputs // psums), -(-inputs * outputs // weights))


def least_pes(shape: ConvShape, pe: Pe) -> int:
    """Return the fewest PEs that hold a layer by capacity alone (Eq. 1, or 2 for 1 x 1 ifmaps)."""
    psums = pe.bank_words * pe.modules * pe.lanes
    window = shape.window
    if (shape.height, shape.width, *window.kernel) == (1, 1, 1, 1):
        return fully_connected_pes(shape.group_channels, shape.filters, psums, pe.weight_bytes)
    return conv_pes(
        window.ofmap, window.kernel, shape.group_channels, shape.filters, psums, pe.weight_bytes
    )


@dataclass(frozen=True)
class FilterGroup:
    """Filters that are computed side by side in one PE.

    Parameters
    ----------
    pe : int
    number : int
        Of the PE's filter groups.
    conv_group : int
    first, size : int
        Filters of the layer.
    """

    pe: int
    number: int
    conv_group: int
    first: int
    size: int


@dataclass(frozen=True)
class Mapping:
    """A layer on the machine.

    Parameters
    ----------
    shape : ConvShape
    tile : (int, int)
        A x B kernel positions per row.
    filters : int
        F, filters of a filter group.
    groups : tuple of FilterGroup
        In the order in which they were dealt.
    n_pes : int
    modules, lanes : int
    is_linear : bool
        Whether rows hold runs of kernel positions in raster order, and psums lie in raster order.
    """

    shape: ConvShape
    tile: tuple[int, int]
    filters: int
    groups: tuple[FilterGroup, ...]
    n_pes: int
    modules: int
    lanes: int
    is_linear: bool = False

    @property
    def row_positions(self) -> int:
        """Kernel positions of a weight row."""
        return self.modules * self.lanes // self.filters

    @property
    def group_words(self) -> int:
        """Words that one filter group takes in a bank."""
        if self.is_linear:
            return -(-self.shape.window.ofmap[0] * self.shape.window.ofmap[1] // self.modules)
        return self._bank(0) * self._bank(1)

    def _bank(self, axis: int) -> int:
        """Return NY or NX: rows or columns of words that one filter group takes in a bank."""
        e = self.shape.window.ofmap_step(axis)
        return e * -(-self.shape.window.ofmap[axis] // (e * self.tile[axis]))

    def on(self, shape: ConvShape) -> "Mapping":
        """Return the same mapping of another shape of the layer, such as a band of it."""
        return replace(self, shape=shape)

    def groups_of(self, pe: int) -> list[FilterGroup]:
        """Return a PE's filter groups."""
        return [group for group in self.groups if group.pe == pe]

    @cached_property
    def holders(self) -> tuple[tuple[int, ...], ...]:
        """PEs that hold filters of each convolution group, ascending."""
        found: list[set[int]] = [set() for _ in range(self.shape.groups)]
        for group in self.groups:
            found[group.conv_group].add(group.pe)
        return tuple(tuple(sorted(pes)) for pes in found)

    @property
    def most_groups(self) -> int:
        """Filter groups of the busiest PE."""
        return max(group.number for group in self.groups) + 1

    @property
    def bank_words(self) -> int:
        """Words that the busiest PE's fullest bank holds."""
        return self.most_groups * self.group_words

    def place(self, y: Any, x: Any) -> tuple[Any, Any]:
        """Return module and word of a filter group's first filters at (y, x), numbers or arrays."""
        if self.is_linear:
            number = y * self.shape.window.ofmap[1] + x
            return number % self.modules, number // self.modules
        e_y, e_x = self.shape.window.ofmap_step(0), self.shape.window.ofmap_step(1)
        a, b = self.tile
        module = ((y // e_y) % a * b + (x // e_x) % b) * (self.modules // (a * b))
        row = y // (e_y * a) * e_y + y % e_y
        column = x // (e_x * b) * e_x + x % e_x
        return module, row * self._bank(1) + column

    def word(self, number: int, position: int, y: int, x: int) -> tuple[int, int]:
        """Return module and word of a filter's psum at (y, x).

        Parameters
        ----------
        number : int
            Filter group of the PE.
        position : int
            Filter inside the group, 0 .. F-1.
        y, x : int
            Position in the ofmap.
        """
        module, word = self.place(y, x)
        return module + position // self.lanes, number * self.group_words + word


def _deal(shape: ConvShape, filters: int, n_pes: int) -> Iterator[FilterGroup]:
    held = [0] * n_pes
    pe = 0
    for conv_group in range(shape.groups):
        start = conv_group * shape.group_filters
        for first in range(start, start + shape.group_filters, filters):
            size = min(filters, start + shape.group_filters - first)
            yield FilterGroup(pe, held[pe], conv_group, first, size)
            held[pe] += 1
            pe = (pe + 1) % n_pes


def _mean_runs(shape: ConvShape, tile: tuple[int, int]) -> Fraction:
    mean = Fraction(1)
    for axis in (0, 1):
        taps = shape.taps(axis)
        mean *= Fraction(sum(-(-n // tile[axis]) for n in taps), len(taps))
    return mean


def with_tile(shape: ConvShape, tile: tuple[int, int], pe: Pe, n_pes: int) -> Mapping:
    """Return the mapping of a layer with a given tile."""
    filters = pe.multipliers // (tile[0] * tile[1])
    groups = tuple(_deal(shape, filters, n_pes))
    return Mapping(shape, tile, filters, groups, n_pes, pe.modules, pe.lanes)


def linear(shape: ConvShape, pe: Pe, n_pes: int) -> Mapping:
    """Return the mapping of a layer whose rows hold runs of positions in raster order."""
    groups = tuple(_deal(shape, pe.lanes, n_pes))
    return Mapping(shape, (1, pe.modules), pe.lanes, groups, n_pes, pe.modules, pe.lanes, True)


def row_cycles(mapping: Mapping) -> Fraction:
    """Return the busiest PE's cycles per activation from shapes alone, meant over phases."""
    groups = Fraction(mapping.most_groups, mapping.shape.groups)
    return groups * _mean_runs(mapping.shape, mapping.tile)


def candidates(shape: ConvShape, machine: Machine) -> list[Mapping]:
    """Return the layer's mapping with each tile that the machine allows, the best one first.

    With ``tile: auto`` the tile with the fewest `row_cycles`; among equals the larger, then the
    first of `firemesh.emulator.mnf.machine.TILES`.
    """
    pe = machine.pe
    if pe.row_layout == "linear":
        return [linear(shape, pe, machine.n_pes)]
    tiles = [t for t in pe.tiles if pe.tile in ("auto", f"{t[0]}x{t[1]}")]
    options = [with_tile(shape, tile, pe, machine.n_pes) for tile in tiles]
    return sorted(options, key=lambda m: (row_cycles(m), -m.tile[0] * m.tile[1]))
