"""Waves: which filters, input channels and ofmap rows of a layer the PEs work on at a time.

A layer whose psums do not fit the accumulate SRAMs runs in several waves. A wave holds some filter
groups of each PE (a channel wave) and one band of ofmap rows, the same in all PEs. Where the weight
SRAMs do not hold the rows of a channel wave, it takes one wave for each chunk of input channels.
Source: "Multiply-and-Fire (MNF)", section 5.3, which names the limits but no rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...encoders.events import axis_reach
from ..shape import ConvShape, Pool
from .machine import Machine
from .mapping import Mapping

Range = tuple[int, int]


@dataclass(frozen=True)
class Band:
    """A band of ofmap rows.

    Parameters
    ----------
    rows : (int, int)
        Half-open range of psum rows that the PEs hold.
    outputs : (int, int)
        Half-open range of output rows, after the fused pool, that the wave fires.
    """

    rows: Range
    outputs: Range


@dataclass(frozen=True)
class Wave:
    """What the PEs work on at a time.

    Parameters
    ----------
    number : int
        Of the layer's waves.
    block : int
        Of the layer's blocks of weights.
    band : Band
    channels : (int, int)
        Half-open range of input channels of each convolution group.
    mapping : Mapping
        Of the wave's filter groups; its ofmap is the band.
    pool : Pool
        As seen from the band's first row.
    begins, fires : bool
        Whether psums begin with 0, and whether the wave ends with the fire phase.
    """

    number: int
    block: int
    band: Band
    channels: Range
    mapping: Mapping
    pool: Pool
    begins: bool
    fires: bool


def bands(shape: ConvShape, pool: Pool, n_outputs: int, height: int) -> list[Band]:
    """Cut a layer into bands of ``height`` output rows.

    Rows that two bands need lie in both; every row lies in one.
    """
    n_rows = shape.window.ofmap[0]
    outputs = [(y, min(y + height, n_outputs)) for y in range(0, n_outputs, height)]
    needed = [[row for y in range(*of) for row in pool.covered(0, y, n_rows)] for of in outputs]
    begins = [0, *(min(rows) for rows in needed[1:]), n_rows]
    ends = [max(begins[i + 1], max(rows) + 1) for i, rows in enumerate(needed)]
    rows = zip(begins, ends, strict=False)
    return [Band(of, output) for of, output in zip(rows, outputs, strict=True)]


def of_band(shape: ConvShape, band: Band) -> ConvShape:
    """Return the layer as seen from a band: its ofmap is the band, its rows count from it."""
    window = shape.window
    top = window.pads[0] - window.strides[0] * band.rows[0]
    ofmap = (band.rows[1] - band.rows[0], window.ofmap[1])
    return replace(shape, window=window._replace(pads=(top, window.pads[1]), ofmap=ofmap))


def pool_of_band(pool: Pool, band: Band) -> Pool:
    """Return the pooling window as seen from a band."""
    top = pool.pads[0] + band.rows[0] - pool.strides[0] * band.outputs[0]
    return replace(pool, pads=(top, pool.pads[1]))


def of_groups(mapping: Mapping, first: int, end: int) -> Mapping:
    """Return the mapping of each PE's filter groups ``first`` to ``end``, numbered from 0."""
    groups = tuple(
        replace(group, number=group.number - first)
        for group in mapping.groups
        if first <= group.number < end
    )
    return replace(mapping, groups=groups)


def scan_blocks(mapping: Mapping) -> int:
    """Return the words of a filter group's first bank that hold a psum."""
    if mapping.is_linear:
        return mapping.group_words
    found = 1
    for axis, n in enumerate(mapping.shape.window.ofmap):
        e = mapping.shape.window.ofmap_step(axis)
        whole, rest = divmod(n, e * mapping.tile[axis])
        found *= whole * e + min(rest, e)
    return found


def group_words(mapping: Mapping, bands: Sequence[Band]) -> int:
    """Return the words that a filter group takes in a bank, in the highest of some bands."""
    return max(mapping.on(of_band(mapping.shape, band)).group_words for band in bands)


@dataclass(frozen=True)
class Cut:
    """How a layer is cut into waves.

    Parameters
    ----------
    groups : int
        Filter groups of a PE in a wave, at most.
    height : int
        Output rows of a band, at most.
    cycles : Fraction
        Estimated.
    n_waves : int
        Channel waves times bands.
    """

    groups: int
    height: int
    cycles: Fraction
    n_waves: int


class Cutter:
    """Tells what the ways to cut a layer cost, from its shape and its weight rows.

    The estimate of a wave is the larger of its events and of the rows that the busiest PE reads for
    them, for a dense ifmap and the mean over phases, and the steps of its fire phase; weights that
    come in add their flits. All chunks of input channels are one wave here.

    Parameters
    ----------
    mapping : Mapping
        The layer's, whole.
    pool : Pool
    n_outputs : int
        Output rows, after the fused pool.
    machine : Machine
    counts : int64[filter groups, channels]
        Weight rows.
    is_streamed : bool
        Whether the rows come in wave by wave; else they cost nothing and fit.
    """

    def __init__(
        self,
        mapping: Mapping,
        pool: Pool,
        n_outputs: int,
        machine: Machine,
        counts: NDArray[np.int64],
        is_streamed: bool = False,
    ) -> None:
        self._mapping, self._pool, self._machine = mapping, pool, machine
        self._n_outputs, self._counts, self._is_streamed = n_outputs, counts, is_streamed

    @cached_property
    def heights(self) -> list[int]:
        """Heights of bands, one for each number of bands that there can be."""
        return sorted({-(-self._n_outputs // n) for n in range(1, self._n_outputs + 1)})

    def cuts(self) -> Iterator[Cut]:
        """Yield every cut that fits the psum banks and the weight SRAMs."""
        limit, most = self._machine.pe.bank_words, self._mapping.most_groups
        loads = {groups: self._loads(groups) for groups in range(1, most + 1)}
        of_groups = {
            groups: [self._wave(first, first + groups) for first in range(0, most, groups)]
            for groups, load in loads.items()
            if load is not None
        }
        for height in self.heights:
            found = self._bands(height)
            reached = [self._reached(band) for band in found]
            scans = [self._scan(band) for band in found]
            words = group_words(self._mapping, found)
            for groups, waves in of_groups.items():
                if groups * words > limit:
                    break
                once, often = loads[groups] or (0, 0)
                cycles = Fraction(once + often * len(found))
                for of_place, scanned in waves:
                    for places, scan in zip(reached, scans, strict=True):
                        cycles += places * of_place + scanned * scan
                yield Cut(groups, height, cycles, len(waves) * len(found))

    def _bands(self, height: int) -> list[Band]:
        return bands(self._mapping.shape, self._pool, self._n_outputs, height)

    def _wave(self, first: int, end: int) -> tuple[Fraction, int]:
        """Return what a channel wave costs.

        Returns
        -------
        Fraction
            Cycles of an ifmap place: its events, or the rows of the busiest PE.
        int
            Chunks of filters that a PE scans, at most.
        """
        shape = self._mapping.shape
        part = of_groups(self._mapping, first, end)
        holders = sum(1 for pes in part.holders if pes)
        held = held_rows(self._mapping, self._counts, first, end).sum(axis=1)
        n_phases = shape.window.strides[0] * shape.window.strides[1]
        scans = [0] * self._machine.n_pes
        for group in part.groups:
            scans[group.pe] += -(-group.size // self._machine.pe.fire_lanes)
        events = Fraction(holders * shape.group_channels)
        return max(events, Fraction(int(held.max()), n_phases)), max(scans)

    def _reached(self, band: Band) -> int:
        """Return the ifmap places whose events reach a band."""
        shape = self._mapping.shape
        size = (shape.height, shape.width)
        reached = [
            int(axis_reach(np.arange(size[axis]), shape.window, axis, limits).is_event.sum())
            for axis, limits in ((0, band.rows), (1, None))
        ]
        return reached[0] * reached[1]

    def _scan(self, band: Band) -> int:
        """Return the scan steps of a chunk of filters."""
        mapping, pe = self._mapping, self._machine.pe
        if pe.fire_lanes == pe.multipliers:
            return scan_blocks(mapping.on(of_band(mapping.shape, band)))
        return (band.rows[1] - band.rows[0]) * mapping.shape.window.ofmap[1]

    def _loads(self, groups: int) -> tuple[int, int] | None:
        """Return the flits of weights that come in once, and those that come for every band.

        None when a PE does not hold one channel's rows of so many filter groups.
        """
        if not self._is_streamed:
            return 0, 0
        pe, noc = self._machine.pe, self._machine.noc
        flits = [0, 0]
        for first in range(0, self._mapping.most_groups, groups):
            held = held_rows(self._mapping, self._counts, first, first + groups)
            if held.max(initial=0) > pe.weight_rows:
                return None
            rows = int(held.sum())
            size = max(-(-rows * pe.multipliers * 8 // noc.flit_bits), rows)
            flits[int(held.sum(axis=1).max() > pe.weight_rows)] += size
        return flits[0], flits[1]


def held_rows(
    mapping: Mapping, counts: NDArray[np.int64], first: int, end: int
) -> NDArray[np.int64]:
    """Return int64[n_pes, channels]: rows of each PE's filter groups ``first`` to ``end``."""
    held = np.zeros((mapping.n_pes, counts.shape[1]), np.int64)
    for group, rows in zip(mapping.groups, counts, strict=True):
        if first <= group.number < end:
            held[group.pe] += rows
    return held


def best_cut(cutter: Cutter) -> Cut | None:
    """Return the cut with the fewest estimated cycles; None when nothing fits.

    Of equal ones that with the fewest waves, then with the most filter groups.
    """
    return min(cutter.cuts(), key=lambda cut: (cut.cycles, cut.n_waves, -cut.groups), default=None)


def chunks(counts: NDArray[np.int64], limit: int) -> list[Range]:
    """Cut input channels into chunks whose rows fit every PE.

    Parameters
    ----------
    counts : int64[n_pes, channels]
        Rows.
    limit : int
        Rows that a PE holds; no channel has more.
    """
    total = np.concatenate([np.zeros((len(counts), 1), np.int64), counts.cumsum(axis=1)], axis=1)
    found, first, n = [], 0, counts.shape[1]
    while first < n:
        fits = [np.searchsorted(row, row[first] + limit, side="right") - 1 for row in total]
        end = max(first + 1, min(int(np.min(fits)), n))
        found.append((first, end))
        first = end
    return found
