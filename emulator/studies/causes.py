"""Causes of lost slots: in words, in one order."""

from ..slots import BUSY, LABELS, Cause

LOST = tuple(cause for cause in Cause if cause not in BUSY)
"""Causes of lost slots, in the order of tables and figures."""

WORDS = {
    Cause.EXECUTED: "multiplied a weight",
    Cause.INEFFECTUAL: "multiplied a zero weight of a row that holds others",
    Cause.BORDER: "a row's position lies outside the ofmap or band",
    Cause.TILE: "the kernel does not fill the row's tile",
    Cause.CHANNEL: "the filters do not fill the row",
    Cause.FIRE: "the fire phase reads psums one after another, multipliers wait",
    Cause.FIRE_PORT: "fired events wait for the one port of the storage PE",
    Cause.HAZARD: "a row waits for a psum in flight",
    Cause.BANK: "a row wants several words of one bank",
    Cause.PEER: "no event, because another PE is still busy with its rows",
    Cause.INJECT: "no event, because the storage PE sends one a cycle at most",
    Cause.DECODE: "an event is decoded and its first row on its way",
    Cause.DRAIN: "before a wave's first event or after its last: events come, PEs end unevenly",
    Cause.WEIGHTS: "weights come in from DRAM",
    Cause.UNUSED: "the PE has no part in the wave or layer",
    Cause.ROUNDING: "a last block is short: fewer channels than lanes, fewer points than VPEs",
    Cause.IMBALANCE: "a lane waits for the slowest of its window",
    Cause.EMPTY: "a window has no pair of non-zeros",
    Cause.BARRIER: "a VPE waits for slower ones before its next round",
    Cause.LOAD: "operands come from SRAM",
    Cause.DRAM: "tiles come from DRAM, or go to it",
    Cause.DRAIN_BOUND: "results of a round before have not left yet",
    Cause.FILL: "the first load, and overheads of rounds",
}
"""What each cause means to a reader of a table."""


def label(cause: Cause) -> str:
    """Return a cause's name."""
    return LABELS[cause]


def largest(parts: dict[Cause, float], n: int, least: float = 0.01) -> list[Cause]:
    """Return the causes that lose most slots, at least a part each, the largest first."""
    order = sorted(LOST, key=lambda cause: (-parts[cause], cause))
    return [cause for cause in order[:n] if parts[cause] >= least]
