"""A trace that holds given accesses in given blocks, for tests of what is made of them."""

from pathlib import Path

import numpy as np

from firemesh.traces.schema import ACCESS, NETWORK_MEMORIES, OPS, table

MEMORIES = ("dram", "storage", "weight", *NETWORK_MEMORIES)
UNITS = ("storage", "pe1", "pe2")
BYTES = {"dram": 1 << 30, "storage": 5000, "weight": 300}


class GivenTrace:
    """Accesses as a reader tells them: one segment, all of a layer.

    Parameters
    ----------
    accesses : structured array
        Of dtype ACCESS, in order.
    clock_hz : int
    cuts : sequence of int
        Where blocks end.
    """

    path, complete = Path("given.h5"), True
    layers, units, memories, ops = ["conv"], list(UNITS), list(MEMORIES), list(OPS)

    def __init__(self, accesses, clock_hz=100, cuts=()):
        self.given, self.cuts = accesses, sorted(cuts)
        self.attributes = {"clock_hz": clock_hz, "network": "given", "command": "none"}
        self.cycles = int(accesses["cycle"].max(initial=0)) + 1
        self.segments = table("segments", frame=0, layer=0, wave=0, cycle0=0, cycle1=self.cycles)

    def attribute(self, name):
        return self.attributes[name]

    def table(self, name):
        if name == "memories":
            kinds = [("bytes", "<u8")]
            return np.array([(BYTES.get(one, 0),) for one in MEMORIES], kinds)
        keys = [self.given[field] for field in ("unit", "memory", "op")]
        rows = np.unique(np.stack(keys, 1), axis=0)
        found = [
            (
                unit,
                memory,
                op,
                *self._sum((keys[0] == unit) & (keys[1] == memory) & (keys[2] == op)),
            )
            for unit, memory, op in rows
        ]
        unit, memory, op, count, size = np.array(found, np.uint64).reshape(-1, 5).T
        return table(
            "counters", segment=np.zeros(len(found), int), unit=unit, memory=memory, op=op,
            count=count, bytes=size,
        )  # fmt: skip

    def _sum(self, mine):
        return mine.sum(), self.given["size"][mine].sum(dtype=np.int64)

    def _segment_numbers(self, frame, layers):
        return np.arange(1)

    def accesses(self, layer=None, unit=None, memory=None, op=None, frame=None, cycles=None):
        mine = np.ones(len(self.given), bool)
        if memory is not None:
            mine &= np.isin(self.given["memory"], [MEMORIES.index(name) for name in memory])
        if cycles is not None:
            mine &= (self.given["cycle"] >= cycles[0]) & (self.given["cycle"] < cycles[1])
        for part in np.split(np.flatnonzero(mine), [c for c in self.cuts if c < mine.sum()]):
            if len(part):
                yield self.given[part]


def rows(*accesses):
    """Return accesses (cycle, address, unit, size, memory, op) as an array."""
    found = np.zeros(len(accesses), ACCESS)
    for name, column in zip(
        ("cycle", "address", "unit", "size", "memory", "op"), zip(*accesses, strict=True),
        strict=False,
    ):  # fmt: skip
        found[name] = column
    return found
