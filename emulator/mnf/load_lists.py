"""Weights that came in before a wave, as lists of a trace."""

import numpy as np
from numpy.typing import NDArray

from ...traces.lists import Lists, Rule
from ..kinds import Kind, Memory
from ..patterns import READ, WRITE, Item
from ..streams import NOC_EJECT, NOC_INJECT, Stream, steps
from .loading import Load
from .patterns import Patterns
from .sources import constant, door_patterns

Ints = NDArray[np.int64]


class LoadLists:
    """Makes the lists of a load, from DRAM to the weight SRAMs.

    Parameters
    ----------
    load : Load
    cycle0 : int
        The wave's first cycle.
    width : int
        Bytes of a weight row.
    patterns : Patterns
    lists : Lists
        To fill.
    """

    def __init__(
        self, load: Load, cycle0: int, width: int, patterns: Patterns, lists: Lists
    ) -> None:
        self._load, self._cycle0, self._width = load, cycle0, width
        self._patterns, self._lists = patterns, lists

    def make(self) -> None:
        """Fill the lists."""
        load, lists = self._load, self._lists
        read = self._patterns.single(Item(Memory.DRAM, READ, self._width))
        lists.add(
            Stream.WEIGHT_READ, [0], len(load.pe), Rule(least=1),
            {"base": load.dram_address, "pattern": read},
            steps(load.read_cycle - self._cycle0)[None],
        )  # fmt: skip
        pattern = door_patterns(self._patterns, NOC_INJECT, load.packets.flits)
        send = lists.add(
            Stream.WEIGHT_SEND, [0], len(load.arrived), Rule(least=1, step=1),
            {"kind": int(Kind.WEIGHTS), "pattern": pattern, "base": 0},
            steps(load.packets.created - self._cycle0)[None],
        )  # fmt: skip
        self._arrive(send)
        self._write()

    def _arrive(self, send: int) -> None:
        load = self._load
        pe = load.pe[load.packets.item]
        # Here and below: packets may overtake each other, and a list's rows are in order of cycles.
        packet = np.lexsort((load.arrived, pe))
        pattern = door_patterns(self._patterns, NOC_EJECT, load.packets.flits[packet])
        held = np.bincount(pe)
        pes = np.flatnonzero(held)
        self._lists.add_each(
            Stream.WEIGHT_ARRIVE, pes + 1, held[pes], Rule(step=1),
            {"of": packet, "base": 0, "pattern": pattern},
            (load.arrived - load.packets.created)[packet], np.full(len(pes), send),
        )  # fmt: skip

    def _write(self) -> None:
        load = self._load
        held = np.bincount(load.pe)
        pes = np.flatnonzero(held)
        row = np.lexsort((load.write_cycle, load.pe))
        cycles = load.write_cycle[row] - self._cycle0
        slack = steps(cycles)
        first = (np.cumsum(held) - held)[pes]
        slack[first] = cycles[first]
        write = self._patterns.single(Item(Memory.WEIGHT, WRITE, self._width))
        self._lists.add_each(
            Stream.WEIGHT_WRITE, pes + 1, held[pes], Rule(least=1),
            {"base": load.address[row], "pattern": constant(np.array([write]))}, slack,
        )  # fmt: skip
