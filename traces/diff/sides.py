"""The two traces of a comparison: what they have in common by names, and the selected part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..reader import Trace
from ..schema import NETWORK_MEMORIES, OPS
from ..selection import Selection, Wanted, numbers

Ints = NDArray[np.int64]
SPAN_SHIFT = 40
"""A relative cycle is ``span << 40 | cycles since the layer began``; spans count layers."""
CYCLE_MASK = (1 << SPAN_SHIFT) - 1


@dataclass(frozen=True)
class Common:
    """Names that both traces have, and the selection leaves, in the order of A.

    Parameters
    ----------
    layers, units, memories, kinds, ops : list of str
        Memories without the network's doors; kinds of packets.
    relative : bool
        Whether cycles count from the begin of the layer in its frame.
    """

    layers: list[str]
    units: list[str]
    memories: list[str]
    kinds: list[str]
    ops: list[str]
    relative: bool

    @property
    def doors(self) -> list[str]:
        """Memories and the network's doors: the numbers in rows are places in it."""
        return [*self.memories, *NETWORK_MEMORIES]


@dataclass(frozen=True)
class Side:
    """One trace of the two.

    Parameters
    ----------
    trace : Trace
    segments : int64[n]
        Numbers of the segments that are compared, in order of time.
    shift : int64[n]
        What makes each segment's cycles those that are compared, added to them.
    layers, units, memories, kinds : int64[...]
        Own number -> place among the common names; -1 for what is not compared.
    low, high : int
        Cycles of the run.
    """

    trace: Trace
    segments: Ints
    shift: Ints
    layers: Ints
    units: Ints
    memories: Ints
    kinds: Ints
    low: int
    high: int

    @property
    def is_plain(self) -> bool:
        """Whether own numbers of units, memories and layers are those of the common names."""
        return all(
            np.array_equal(numbers, np.arange(len(numbers)))
            for numbers in (self.layers, self.units, self.memories)
        )


def sides_of(a: Trace, b: Trace, selection: Selection, relative: bool) -> tuple[Common, Side, Side]:
    """Return what of two traces is compared.

    Raises
    ------
    TraceError
        When the selection names what one of them has not, or a trace has nothing in it.
    """
    if relative and selection.cycles is not None:
        raise TraceError("relative: cycles of the run cannot be selected with it; leave one out")
    if selection.cycles is not None and selection.cycles[0] >= selection.cycles[1]:
        raise TraceError(f"cycles: must be from one to a later one, got {selection.cycles}")
    kinds = [[name.decode("utf-8", "replace") for name in t.table("kinds")["name"]] for t in (a, b)]
    memories = [[name for name in t.memories if name not in NETWORK_MEMORIES] for t in (a, b)]
    common = Common(
        _both(a, b, a.layers, b.layers, selection.layer, "layer"),
        _both(a, b, a.units, b.units, selection.unit, "unit"),
        _both(a, b, memories[0], memories[1], selection.memory, "memory"),
        [name for name in kinds[0] if name in kinds[1]],
        _both(a, b, list(OPS), list(OPS), selection.op, "op"),
        relative,
    )
    spans: dict[tuple[int, str], int] = {}
    sides = [_side(t, k, common, selection, spans) for t, k in zip((a, b), kinds, strict=True)]
    if not any(len(side.segments) for side in sides) and common.layers:
        raise TraceError(
            f"{a.path}, {b.path}: nothing runs in the selection in either; see firemesh trace info"
        )
    return common, sides[0], sides[1]


def _both(
    a: Trace, b: Trace, of_a: list[str], of_b: list[str], wanted: Wanted, what: str
) -> list[str]:
    """Return the wanted names that both have; a name that is asked for must be in both."""
    if wanted is None:
        return [name for name in of_a if name in of_b]
    asked = [wanted] if isinstance(wanted, str | int | np.integer) else wanted
    names = [one if isinstance(one, str) else _name(a, of_a, one, what) for one in asked]
    for trace, known in ((a, of_a), (b, of_b)):
        for name in names:
            if name not in known:
                told = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
                raise TraceError(f"{trace.path}: {what} must be one of {told}, got {name}")
    return [name for name in of_a if name in names]


def _name(trace: Trace, names: list[str], number: Any, what: str) -> str:
    found = numbers(names, number, f"{trace.path}: {what}") or {0}
    return names[found.pop()]


def places(names: Sequence[str], common: Sequence[str]) -> Ints:
    """Return int64[names]: the place of each name among the common ones, -1 without one."""
    place = {name: number for number, name in enumerate(common)}
    return np.array([place.get(name, -1) for name in names], np.int64)


def _side(
    trace: Trace,
    kinds: list[str],
    common: Common,
    selection: Selection,
    spans: dict[tuple[int, str], int],
) -> Side:
    layers = {trace.layers.index(name) for name in common.layers}
    low, high = selection.cycles or (0, max(1, trace.cycles))
    found = _segments(trace, selection.frame, layers)
    of = trace.segments[found]
    inside = (of["cycle1"] > low) & (of["cycle0"] < high)
    found, of = found[inside], of[inside]
    shift = np.zeros(len(found), np.int64)
    begins: dict[tuple[int, str], int] = {}
    for i, (frame, layer, _, begin, _) in enumerate(of.tolist() if common.relative else ()):
        key = frame, trace.layers[layer]
        span = spans.setdefault(key, len(spans))
        shift[i] = (span << SPAN_SHIFT) - begins.setdefault(key, begin)
    return Side(
        trace, found, shift, places(trace.layers, common.layers),
        places(trace.units, common.units), places(trace.memories, common.doors),
        places(kinds, common.kinds), low, high,
    )  # fmt: skip


def _segments(trace: Trace, frame: int | None, layers: set[int]) -> Ints:
    """Return the segments of layers; none where the trace has not come to the frame."""
    frames = trace.attribute("frames")
    if frame is not None and not 0 <= frame < frames:
        raise TraceError(f"{trace.path}: frame must be one of 0..{frames - 1}, got {frame}")
    of = trace.segments
    wanted = np.isin(of["layer"], sorted(layers))
    if frame is not None:
        wanted &= of["frame"] == frame
    return np.flatnonzero(wanted)
