"""When rounds begin and end; `docs/flexnn-cycles.md`, sections 6 and 7."""

from enum import IntEnum
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ...noc.kernel import kernel, outer_kernel
from ..slots import Cause

Array = NDArray[Any]


class Mark(IntEnum):
    """Cycles of a round that are kept, counted from the layer's first cycle."""

    BEGIN = 0
    """Its load begins."""
    LOADED = 1
    BEGUN = 2
    """Every domain has begun."""
    FINISHED = 3
    """Every domain is done."""
    LEAVE = 4
    """Its results begin to leave."""
    DRAINED = 5


class Course(NamedTuple):
    """What decides when rounds begin; n rounds, t tiles."""

    taken: Array
    """int32[n, domains]: cycles of each domain."""
    load: Array
    """int64[n]: cycles of the load, of the drain."""
    drain: Array
    tile: Array
    reloads: Array
    """uint8[n]: whether psums come back."""
    spills: Array
    """uint8[n]: whether psums leave and come back later."""
    of_block: Array
    """int64[n]: number of the OF block."""
    first_round: Array
    """int64[t + 1]."""
    job: Array
    """int64[t + 1]: cycles of DRAM jobs."""
    overhead: int
    is_shared: int


@kernel
def _wait(waits: Array, domain: int, cause: int, begin: int, end: int) -> int:
    """Count a wait, maybe an empty one; return where it ends."""
    if end > begin:
        waits[domain, cause] += end - begin
        return end
    return begin


@kernel
def _filled(c: Course, marks: Array, filled: Array, t: int) -> None:
    """Tell when a tile is in SRAM."""
    begin = filled[t - 1] if t > 0 else 0
    if t >= 1:
        begin = max(begin, marks[c.first_round[t - 1], Mark.LOADED])
    if t >= 2:
        begin = max(begin, marks[c.first_round[t - 1] - 1, Mark.DRAINED])
    filled[t] = begin + c.job[t]


@kernel
def _load(c: Course, marks: Array, filled: Array, spilled: Array, r: int) -> None:
    """Tell when a round's load begins and ends."""
    t = c.tile[r]
    is_first = r == c.first_round[t]
    before = marks[r - 1, Mark.LOADED] if r > 0 else 0
    marks[r, Mark.BEGIN] = marks[r, Mark.LOADED] = before
    if is_first:
        _filled(c, marks, filled, t)
        marks[r, Mark.BEGIN] = marks[r, Mark.LOADED] = max(before, filled[t])
    if c.load[r] == 0:
        return
    begin = marks[r, Mark.BEGIN]
    if r > 0:
        begin = max(begin, marks[r - 1, Mark.BEGUN])
    if r > 1 and c.is_shared != 0:
        begin = max(begin, marks[r - 2, Mark.DRAINED])
    if c.reloads[r] != 0:
        begin = max(begin, spilled[c.of_block[r]])
    marks[r, Mark.BEGIN] = begin
    marks[r, Mark.LOADED] = begin + c.load[r]


@kernel
def _drain(c: Course, marks: Array, spilled: Array, r: int) -> None:
    """Tell when a round's results have left."""
    before = marks[r - 1, Mark.DRAINED] if r > 0 else 0
    leave = max(marks[r, Mark.FINISHED], before)
    if c.is_shared != 0 and r + 1 < len(c.load) and c.load[r + 1] > 0:
        leave = max(leave, marks[r + 1, Mark.LOADED])
    marks[r, Mark.LEAVE] = leave
    marks[r, Mark.DRAINED] = leave + c.drain[r] if c.drain[r] > 0 else before
    if c.spills[r] != 0:
        spilled[c.of_block[r]] = marks[r, Mark.DRAINED]


@kernel
def _start(c: Course, marks: Array, filled: Array, end: Array, waits: Array, d: int, r: int) -> int:
    """Return when a domain begins a round; count what it waited for."""
    at: int = end[d]
    loaded = marks[r, Mark.LOADED]
    if loaded > at:
        if r > 0:
            at = _wait(waits, d, Cause.BARRIER, at, min(loaded, marks[r - 1, Mark.BEGUN]))
        t = c.tile[r]
        if r == c.first_round[t]:
            at = _wait(waits, d, Cause.DRAM, at, min(loaded, filled[t]))
        at = _wait(waits, d, Cause.LOAD if r > 0 else Cause.FILL, at, loaded)
    if r > 1:
        at = _wait(waits, d, Cause.DRAIN_BOUND, at, marks[r - 2, Mark.DRAINED])
    return at


@outer_kernel
def run_rounds(
    c: Course, marks: Array, filled: Array, spilled: Array, end: Array, waits: Array, start: Array
) -> int:
    """Tell when everything happens; return the layer's cycles.

    Parameters
    ----------
    c : Course
    marks : int64[n, len(Mark)]
        Result.
    filled : int64[t + 1]
        Result: when each tile is in SRAM, and when the last job ends.
    spilled : int64[OF blocks]
        Room to work in.
    end : int64[domains]
        The same, zeros.
    waits : int64[domains, causes]
        Result: cycles that each domain waits, by cause.
    start : int64[n, domains] or [0, 0]
        Result: when each domain begins each round.
    """
    n, domains = c.taken.shape
    _load(c, marks, filled, spilled, 0)
    for r in range(n):
        begun = finished = 0
        for d in range(domains):
            at = _start(c, marks, filled, end, waits, d, r)
            if len(start) > 0:
                start[r, d] = at
            begun = max(begun, at)
            end[d] = at + c.taken[r, d] + c.overhead
            waits[d, Cause.FILL] += c.overhead
            finished = max(finished, end[d])
        marks[r, Mark.BEGUN] = begun
        marks[r, Mark.FINISHED] = finished
        if r > 0:
            _drain(c, marks, spilled, r - 1)
        if r + 1 < n:
            _load(c, marks, filled, spilled, r + 1)
    _drain(c, marks, spilled, n - 1)
    finished, drained = marks[n - 1, Mark.FINISHED], marks[n - 1, Mark.DRAINED]
    last = len(c.job) - 1
    cycles: int = max(filled[last - 1], drained, finished) + c.job[last]
    filled[last] = cycles
    for d in range(domains):
        at = _wait(waits, d, Cause.BARRIER, end[d], finished)
        at = _wait(waits, d, Cause.DRAIN_BOUND, at, drained)
        _wait(waits, d, Cause.DRAM, at, cycles)
    return cycles
