"""When the rounds of a layer happen, and what VPEs wait for: oracle of docs/flexnn-cycles.md 6, 7.

It knows nothing of tensors: a round says how long its load, its drain and its VPEs take.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Round:
    """A round; times are cycles of the layer, ranges half-open."""

    number: int
    tile: int
    is_first: bool  # of its tile
    bounds: dict  # dimension -> range of the tile
    block: dict  # dimension -> number of its block in the tile
    ranges: dict  # dimension -> range of the array
    begins: bool  # every reduction dimension's block and tile is its first one
    ends: bool  # ... its last one
    compute: list = field(default_factory=list)  # C(v, r) of each VPE, None without work
    is_short: list = field(default_factory=list)  # of each VPE
    loads: tuple = ()  # of "IF", "FL", "psums"
    reloads: int | None = None  # the round that spilled the psums that this one reloads
    load: int = 0
    tree: int = 0
    drain: int = 0
    drained_bytes: int = 0
    begin: int | None = None  # None: loads nothing
    loaded: int = 0
    start: list = field(default_factory=list)  # of each domain
    end: list = field(default_factory=list)
    begun: int = 0
    finished: int = 0
    leave: int | None = None  # None: drains nothing
    drained: int = 0


def domains_of(used: list[int], columns: int, barrier: str) -> list[list[int]]:
    """Return the used VPEs of each domain."""
    if barrier == "vpe":
        return [[v] for v in used]
    if barrier == "column":
        found = sorted({v % columns for v in used})
        return [[v for v in used if v % columns == column] for column in found]
    assert barrier == "array", barrier
    return [used]


def set_drained(this: Round, previous: Round, port_is_free: int | None):
    """Set when the results of `this` leave, after those of `previous`."""
    if this.drain == 0:
        this.drained = previous.drained
    else:
        this.leave = max(this.finished, previous.drained, port_is_free or 0)
        this.drained = this.leave + this.drain


def set_times(rounds: list[Round], jobs, domains, overhead: int, has_shared_port: bool):
    """Set the times of `rounds`; return filled[t], and the cycle in which the last job begins.

    `jobs` are the lengths of those of the tiles, without the last.
    """
    first = {t: min(r.number for r in rounds if r.tile == t) for t in range(len(jobs))}
    last = {t: max(r.number for r in rounds if r.tile == t) for t in range(len(jobs))}
    before = Round(-1, -1, False, {}, {}, {}, True, False)  # all times 0
    before.end = [0] * len(domains)
    filled = []
    for r, this in enumerate(rounds):
        previous = rounds[r - 1] if r >= 1 else before
        second = rounds[r - 2] if r >= 2 else before
        t = this.tile
        if this.is_first:
            waits = [filled[t - 1] if t >= 1 else 0]
            if t >= 1:
                waits.append(rounds[first[t - 1]].loaded)
            if t >= 2:
                waits.append(rounds[last[t - 2]].drained)
            filled.append(max(waits) + jobs[t])
        waits = [previous.loaded]
        if this.is_first:
            waits.append(filled[t])
        if this.load == 0:
            this.loaded = max(waits)
        else:
            waits.append(previous.begun)
            if has_shared_port:
                waits.append(second.drained)
            if this.reloads is not None:
                waits.append(rounds[this.reloads].drained)
            this.begin = max(waits)
            this.loaded = this.begin + this.load
        if r >= 1:
            port_is_free = this.loaded if has_shared_port and this.load > 0 else None
            set_drained(previous, second, port_is_free)
        for number, vpes in enumerate(domains):
            start = max(previous.end[number], this.loaded, second.drained)
            slowest = max(this.compute[v] or 0 for v in vpes)
            this.start.append(start)
            this.end.append(start + slowest + overhead)
        this.begun, this.finished = max(this.start), max(this.end)
    set_drained(this, previous, None)
    return filled, max(filled[-1], this.drained, this.finished)


def count_waiting(slots, rounds: list[Round], filled, cycles, domains, overhead, lanes) -> None:
    """Add to `slots` (cause -> list per VPE) all that are not in a window."""
    for number, vpes in enumerate(domains):
        now = 0
        for r, this in enumerate(rounds):
            parts = []
            if this.loaded > now:
                parts.append(("barrier", rounds[r - 1].begun if r >= 1 else 0))
            if this.is_first:
                parts.append(("dram", filled[this.tile]))
            parts.append(("fill" if r == 0 else "load", this.loaded))
            parts.append(("drain_bound", rounds[r - 2].drained if r >= 2 else 0))
            now = _split(slots, vpes, lanes, now, this.start[number], parts)
            for v in vpes:
                is_whole = this.compute[v] is not None and not this.is_short[v]
                left = this.end[number] - overhead - now - (this.compute[v] or 0)
                slots["barrier" if is_whole else "rounding"][v] += lanes * left
                slots["fill"][v] += lanes * overhead
            now = this.end[number]
        parts = [("barrier", this.finished), ("drain_bound", this.drained), ("dram", cycles)]
        _split(slots, vpes, lanes, now, cycles, parts)


def _split(slots, vpes, lanes: int, now: int, until: int, parts) -> int:
    """Give the cycles of `now` to `until` to the causes, each up to its cycle; return `until`."""
    for cause, mark in parts:
        upto = min(max(mark, now), until)
        for v in vpes:
            slots[cause][v] += lanes * (upto - now)
        now = upto
    assert now == until, (now, until, parts)
    return now
