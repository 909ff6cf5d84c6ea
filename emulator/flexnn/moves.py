"""A layer on the array, ready to be worked on, and what its rounds load and give back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .descriptor import Cut
from .dims import FL_DIMS, IF_DIMS, OF_DIMS, Dim
from .machine import FlexMachine
from .operands import Operands, operands
from .rounds import Loops, Places, Rounds, places
from .wires import Wires, wires

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Layer:
    """A layer on the array, ready to be worked on.

    Parameters
    ----------
    cut : Cut
    machine : FlexMachine
    x : Operands
    loops : Loops
    places : Places
    wires : Wires
    """

    cut: Cut
    machine: FlexMachine
    x: Operands
    loops: Loops
    places: Places
    wires: Wires


class Moves(NamedTuple):
    """What is loaded before, and leaves after, some rounds."""

    rounds: Rounds
    what: NDArray[np.uint8]
    """uint8[n, 3]: whether IF, FL, psums are loaded."""
    leaves: NDArray[np.uint8]
    """uint8[n]: bytes of a point that leaves, 0 where none does."""

    def part(self, begin: int, end: int) -> "Moves":
        """Return those of a half-open range."""
        at = slice(begin, end)
        return Moves(self.rounds.part(begin, end), self.what[at], self.leaves[at])


def prepare(cut: Cut, machine: FlexMachine, x: NDArray[Any], weight: NDArray[Any]) -> Layer:
    """Return a layer, ready to be worked on; parameters as for `run_layer`."""
    found = places(cut, machine.array.rows, machine.array.columns)
    return Layer(
        cut,
        machine,
        operands(cut, machine, x, weight),
        Loops(cut),
        found,
        wires(cut, machine, found),
    )


def moves(layer: Layer) -> Iterator[Moves]:
    """Yield what is loaded and leaves, for all rounds, some at a time."""
    before: Rounds | None = None
    held: Moves | None = None
    for now in layer.loops.rounds():
        changed = [_changed(before, now, dims) for dims in (IF_DIMS, FL_DIMS, OF_DIMS)]
        what = np.stack([*changed[:2], changed[2] & ~now.is_first_reduced], axis=1)
        if held is not None:
            yield _with_leaves(held, bool(changed[2][0]))
        leaves = np.zeros(len(now), np.uint8)
        leaves[:-1] = changed[2][1:]
        held = Moves(now, what.astype(np.uint8), leaves)
        before = now
    if held is not None:
        yield _with_leaves(held, True)


def _changed(before: Rounds | None, now: Rounds, dims: tuple[Dim, ...]) -> Bools:
    """Return bool[n]: whether ranges of some dimensions differ from those of the round before."""
    at = list(dims)
    part = np.concatenate([now.low[:, at], now.high[:, at]], axis=1)
    changed = np.ones(len(now), bool)
    changed[1:] = (part[1:] != part[:-1]).any(axis=1)
    if before is not None:
        last = np.concatenate([before.low[-1, at], before.high[-1, at]])
        changed[0] = bool((part[0] != last).any())
    return changed


def _with_leaves(held: Moves, is_last_leaving: bool) -> Moves:
    leaves = held.leaves.copy()
    leaves[-1] = is_last_leaving
    leaves *= np.where(held.rounds.is_last_reduced, 1, 4).astype(np.uint8)
    return held._replace(leaves=leaves)
