"""The layers that SCALE-Sim's traces are made of, and the units whose memories are operands."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..selection import Selection, numbers
from .scalesim_operands import DRAM, OFFSETS, SRAM, Ints, Source, check_room, is_wanted


class Part(NamedTuple):
    """A layer of a frame.

    Parameters
    ----------
    frame, layer : int
    mode : str
    folder : str
    begin : int
        The run's cycle that is 0 in the files.
    low, high : int
        Cycles that are written, counted from ``begin``.
    """

    frame: int
    layer: int
    mode: str
    folder: str
    begin: int
    low: int
    high: int

    @property
    def sources(self) -> tuple[Source, ...]:
        """Of its files: three of SRAMs, three of DRAM."""
        return *SRAM[self.mode], *DRAM


class Plan:
    """What is exported.

    Parameters
    ----------
    trace : Trace
    selection : Selection

    Attributes
    ----------
    parts : list of Part
    layers : list of int
        In the order of their folders.
    bases : dict
        Source in an SRAM -> the first element of each unit's memory, int64[n_units], and the
        units that have accesses.

    Raises
    ------
    TraceError
        When nothing is selected, or an operand has too many elements.
    """

    def __init__(self, trace: Trace, selection: Selection) -> None:
        self.trace, self.selection = trace, selection
        self._counted = self._count()
        self.layers, self.parts = self._make()
        modes = {part.mode for part in self.parts}
        self.bases = {one: self._bases(one) for mode in sorted(modes) for one in SRAM[mode]}

    def _count(self) -> NDArray[Any]:
        """Return the rows of table ``counters`` that are selected, whole segments."""
        trace, wanted, counters = self.trace, self.selection, self.trace.table("counters")
        layers = numbers(trace.layers, wanted.layer, "layer")
        segments = trace._segment_numbers(wanted.frame, layers)
        low, high = wanted.cycles or (0, trace.cycles)
        of = trace.segments[segments]
        segments = segments[(of["cycle1"] > low) & (of["cycle0"] < high)]
        keep = np.isin(counters["segment"], segments) & (counters["count"] > 0)
        units = numbers(trace.units, wanted.unit, "unit")
        if units is not None:
            keep &= np.isin(counters["unit"], sorted(units))
        chosen: NDArray[Any] = counters[keep]
        return chosen

    def _of(self, source: Source, counted: NDArray[Any]) -> NDArray[Any]:
        """Return the counters that are of a memory and operation."""
        if not is_wanted(self.trace, self.selection, source):
            return counted[:0]
        memory, op = self.trace.memories.index(source.memory), self.trace.ops.index(source.op)
        mine: NDArray[Any] = counted[(counted["memory"] == memory) & (counted["op"] == op)]
        return mine

    def _make(self) -> tuple[list[int], list[Part]]:
        trace, segments = self.trace, self.trace.segments
        modes = [mode.decode("utf-8", "replace") for mode in trace.table("layers")["mode"]]
        pairs: dict[tuple[int, int], None] = {}
        for number in np.unique(self._counted["segment"]).tolist():
            frame, layer = int(segments["frame"][number]), int(segments["layer"][number])
            mine = self._counted[self._counted["segment"] == number]
            sources = (*SRAM[modes[layer]], *DRAM) if modes[layer] in SRAM else ()
            if any(len(self._of(source, mine)) for source in sources):
                pairs[frame, layer] = None
        if not pairs:
            known = dict.fromkeys(f"{s.memory} {s.op}s" for some in SRAM.values() for s in some)
            raise TraceError(
                f"{trace.path}: the selection has no accesses that are operands, {', '.join(known)}"
                " or of dram, in layers that run on the PEs; see firemesh trace stats"
            )
        layers = sorted({layer for _, layer in pairs})
        has_frames = len({frame for frame, _ in pairs}) > 1
        parts = []
        for frame, layer in pairs:
            folder = f"frame{frame}/" * has_frames + f"layer{layers.index(layer)}"
            parts.append(self._part(frame, layer, modes[layer], folder))
        return layers, parts

    def _part(self, frame: int, layer: int, mode: str, folder: str) -> Part:
        segments = self.trace.segments
        mine = segments[(segments["frame"] == frame) & (segments["layer"] == layer)]
        begin, end = int(mine["cycle0"][0]), int(mine["cycle1"][-1])
        low, high = self.selection.cycles or (begin, end)
        return Part(
            frame, layer, mode, folder, begin, max(low, begin) - begin, min(high, end) - begin
        )

    def _bases(self, source: Source) -> tuple[Ints, list[int]]:
        units = np.unique(self._of(source, self._counted)["unit"]).tolist()
        memory = self.trace.memories.index(source.memory)
        size = int(self.trace.table("memories")["bytes"][memory])
        each = -(-size // source.element_bytes)
        where = f"in {source.memory} of {len(units)} units"
        check_room(self.trace, source, each * len(units), where, "unit")
        base = np.zeros(len(self.trace.units), np.int64)
        base[units] = OFFSETS[source.operand] + each * np.arange(len(units))
        return base, units

    def counted(self, part: Part) -> int:
        """Return how many accesses of a layer are operands, as the engine counted them."""
        segments = self.trace.segments[self._counted["segment"]]
        is_mine = (segments["frame"] == part.frame) & (segments["layer"] == part.layer)
        mine = self._counted[is_mine]
        sources = {(source.memory, source.op): source for source in part.sources}
        return sum(int(self._of(source, mine)["count"].sum()) for source in sources.values())
