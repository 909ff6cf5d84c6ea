"""What the accesses of the fire phase look like: patterns and chunks of a layer, made once."""

import numpy as np
from numpy.typing import NDArray

from ..kinds import Memory
from ..patterns import READ, WRITE, Item
from .fire import FireOrder
from .machine import Machine, Pe
from .mapping import Mapping
from .patterns import Patterns, Runs
from .pe import BIAS_BYTES, PSUM_BYTES

WRITE_CYCLES = 1

Ints = NDArray[np.int64]


class FirePatterns:
    """Patterns of a wave's scans, and a row for each chunk of filters.

    Attributes
    ----------
    run : int
        The run of a chunk's scan steps.
    pes : int64[n]
        PEs that fire, in ascending order.
    chunks : int64[n]
        Chunks of each.
    base, pattern : int64[n_chunks]
        Psum address and first pattern of each chunk.
    bias_base, bias_pattern : int64[n_chunks]
        Address, from the layer's first bias on, and pattern of its bias read.
    is_first : bool[n_chunks]
        Whether it is the PE's first.
    """

    def __init__(
        self, mapping: Mapping, machine: Machine, order: FireOrder, patterns: Patterns, runs: Runs
    ) -> None:
        pe = machine.pe
        rows = np.diff(order.chunk_first)
        self.pes = np.flatnonzero(rows)
        self.chunks = rows[self.pes]
        self.is_first = np.zeros(len(order.chunk), bool)
        self.is_first[order.chunk_first[self.pes]] = True
        module, word = mapping.place(order.step[:, 0], order.step[:, 1])
        n_steps = len(order.step_first) - 1
        sets: dict[tuple[int, ...], int] = {}
        kind = np.empty(n_steps, np.int64)
        for i in range(n_steps):
            span = slice(order.step_first[i], order.step_first[i + 1])
            kind[i] = sets.setdefault(tuple(module[span].tolist()), len(sets))
        nothing = np.zeros(n_steps, np.int64)
        self.run = runs.add(np.array([0, n_steps]), kind, nothing, word[order.step_first[:-1]])
        slot, size = order.chunk.T
        number, at = np.divmod(slot, mapping.filters)
        word_bytes = PSUM_BYTES * pe.lanes
        self.base = number * mapping.group_words * word_bytes + at // pe.lanes * pe.psum_bank_bytes
        if pe.fire_lanes == 1:
            self.base = self.base + PSUM_BYTES * (at % pe.lanes)
        words = -(-size // pe.lanes)
        first = {
            n: [patterns.add(_scan(pe, modules, n), 1) for modules in sets][0]
            for n in sorted(set(words.tolist()))
        }
        self.pattern = np.array([first[n] for n in words.tolist()], np.int64)
        self.bias_base = BIAS_BYTES * slot
        reads = [Item(Memory.BIAS, READ, BIAS_BYTES * n) for n in size.tolist()]
        self.bias_pattern = np.array([patterns.single(item) for item in reads], np.int64)


def _scan(pe: Pe, modules: tuple[int, ...], words: int) -> list[Item]:
    """Return the items of a scan step: words are read, and cleared in the next cycle."""
    size = PSUM_BYTES * (1 if pe.fire_lanes == 1 else pe.lanes)
    items = []
    for module in modules:
        item = Item(
            Memory.PSUM,
            READ,
            size,
            address=module * pe.psum_bank_bytes,
            b_step=PSUM_BYTES * pe.lanes,
            count=words,
            address_step=pe.psum_bank_bytes,
        )
        items += [item, item._replace(op=WRITE, cycle=WRITE_CYCLES)]
    return items
