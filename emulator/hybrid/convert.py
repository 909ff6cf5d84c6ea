"""Changing a tensor's form in the storage PE: an event list becomes bitmap and non-zeros, or back.

What is read comes first, then what is written (chosen), from and to DRAM: events one per cycle, 8
bytes each; bitmap and non-zeros (ZVC; the plain values where that does not pay) at DRAM's width. No
PE works meanwhile.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..activations import EVENT_BYTES, Activations
from ..flexnn.tensor_bytes import tensor_bytes
from ..kinds import Memory
from ..layer_result import LayerResult, without_pes
from ..patterns import READ, WRITE
from .forms import ZVC
from .machine import HybridMachine


@dataclass(frozen=True)
class ConvertStep:
    """A change of a tensor's form.

    Parameters
    ----------
    tensor : str
    to : {"events", "zvc"}
    """

    tensor: str
    to: str

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.tensor} to {self.to}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensor."""
        return (self.tensor,)

    @property
    def output(self) -> str:
        """The tensor."""
        return self.tensor


@dataclass(frozen=True)
class Side:
    """One end of a conversion: accesses one after another, one per cycle.

    Parameters
    ----------
    memory : Memory
    op : int
        Read or write.
    accesses, bytes : int
    """

    memory: Memory
    op: int
    accesses: int
    bytes: int


@dataclass(frozen=True)
class ConvertRun:
    """What a conversion left behind.

    Parameters
    ----------
    step : ConvertStep
    part : Activations
        The tensor, as the event list that it was or is now.
    sides : (Side, Side)
        What is read, and what is written.
    cycle0 : int
        First cycle.
    """

    step: ConvertStep
    part: Activations
    sides: tuple[Side, Side]
    cycle0: int

    @property
    def cycle1(self) -> int:
        """The cycle after the last."""
        return self.cycle0 + sum(side.accesses for side in self.sides)


def convert(step: ConvertStep, part: Activations, machine: HybridMachine, cycle: int) -> ConvertRun:
    """Change a tensor's form, from cycle ``cycle`` on."""
    n_events, size = len(part.flat), tensor_bytes(part, machine.of_flexnn)
    words = -(-size // machine.flexnn.dram.bytes_per_cycle)
    order = (READ, WRITE) if step.to == ZVC else (WRITE, READ)
    events = Side(Memory.DRAM, order[0], n_events, n_events * EVENT_BYTES)
    zvc = Side(Memory.DRAM, order[1], words, size)
    return ConvertRun(step, part, (events, zvc) if step.to == ZVC else (zvc, events), cycle)


def of_conversion(run: ConvertRun, machine: HybridMachine) -> LayerResult:
    """Return the result of a conversion, of one frame."""
    counts: NDArray[np.int64]
    counts, n_bytes = np.zeros((2, machine.n_units, len(Memory), 2), np.int64)
    for side in run.sides:
        counts[0, side.memory, side.op] += side.accesses
        n_bytes[0, side.memory, side.op] += side.bytes
    n = len(run.part.flat)
    numbers = run.cycle1 - run.cycle0, n, run.part.tensor.size, n
    return without_pes(machine, (run.step.name, "Convert", "convert"), numbers, counts, n_bytes)
