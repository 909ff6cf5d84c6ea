"""What skipping zeros saves of a network's cycles, and what takes the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..slots import BUSY, Cause
from ..tables import percent
from .causes import label, largest
from .flexnn_runs import NETWORKS, VARIANTS, job
from .job import Run
from .published import published
from .sheet import Sheet

DENSE = "dense"
TITLES = {
    "dense": "dense",
    "activation": "activation",
    "weight": "weight",
    "both": "both, array",
    "both-column": "both, column",
    "both-vpe": "both, vpe",
}
"""Variants in tables: what may be skipped, and the barrier's domain where it is both."""


@dataclass(frozen=True)
class Speed:
    """A network on a variant.

    Parameters
    ----------
    network, variant : str
    run : Run
    dense : Run or None
        On the variant that skips nothing; None where it has not run.
    """

    network: str
    variant: str
    run: Run
    dense: Run | None

    @property
    def times(self) -> float | None:
        """Dense cycles over these."""
        return None if self.dense is None else self.dense.total("cycles") / self.cycles

    @property
    def cycles(self) -> int:
        """Of all layers with weights."""
        return self.run.total("cycles")

    @property
    def ideal(self) -> float:
        """Speed-up if every multiplier had a pair of non-zeros in every cycle, over dense pairs."""
        slots = self.run.slots
        dense = self.dense.slots if self.dense else slots
        return sum(dense[c] for c in BUSY) / max(1, slots[Cause.EXECUTED])

    @property
    def best(self) -> tuple[str, float] | None:
        """The layer with the largest speed-up, and this."""
        if self.dense is None:
            return None
        pairs = zip(self.dense.layers, self.run.layers, strict=True)
        found = [(a["name"], a["cycles"] / b["cycles"]) for a, b in pairs]
        return max(found, key=lambda one: one[1])


def speeds(runs: Mapping[str, Run]) -> list[Speed]:
    """Return all networks on all variants that have run."""
    return [
        Speed(network, name, runs[job(network, name).name], runs.get(job(network, DENSE).name))
        for network in NETWORKS
        for name in VARIANTS
        if job(network, name).name in runs
    ]


def row(one: Speed) -> dict[str, Any]:
    """Return what a line of the CSV file says of a variant."""
    best = one.best
    return {
        "network": one.network,
        "variant": one.variant,
        "layers": len(one.run.layers),
        "cycles": one.cycles,
        "speedup": one.times,
        "ideal_speedup": one.ideal,
        "best_layer": best[0] if best else None,
        "best_layer_speedup": best[1] if best else None,
        **{f"slots_{cause.name.lower()}": part for cause, part in one.run.parts.items()},
    }


def speed_sheet(found: Sequence[Speed]) -> Sheet:
    """Return speed-ups of all networks over dense."""
    cells = []
    for network in NETWORKS:
        of_network = {one.variant: one for one in found if one.network == network}
        if not of_network:
            continue
        times = [of_network[name].times if name in of_network else None for name in VARIANTS]
        both = of_network.get("both-vpe") or of_network.get("both")
        dense = of_network.get(DENSE)
        cells.append(
            [
                network,
                f"{dense.cycles / 1e6:.2f}" if dense else "",
                *("" if value is None else f"{value:.2f}" for value in times[1:]),
                f"{both.ideal:.1f}" if both else "",
                f"{published('flexnn.sparsity_speedup').value:g}",
            ]
        )
    skips = ("activa-\ntion", "\nweight", "both,\narray", "both,\ncolumn", "both,\nvpe")
    right = ("dense\nM cycles", *skips, "no slot\nlost", "published\nup to")
    return Sheet("Speed-up over dense, layers with weights", ("\nnetwork",), right, cells)


def barrier_notes(found: Sequence[Speed]) -> list[str]:
    """Tell where a barrier of fewer VPEs takes more cycles, and why."""
    of = {(one.network, one.variant): one.cycles for one in found}
    worse = [
        f"{network} ({TITLES[name]}: {100 * (of[network, name] / of[network, 'both'] - 1):.1f} %)"
        for network in NETWORKS
        for name in ("both-column", "both-vpe")
        if (network, "both") in of and of.get((network, name), 0) > of[network, "both"]
    ]
    if not worse:
        return []
    return [
        f"more cycles with a barrier of fewer VPEs than with the array's: {', '.join(worse)}. Each "
        "variant has the best descriptors by its own estimates, and these expect more of the "
        "looser barrier than the bitmaps give"
    ]


def lost_sheet(found: Sequence[Speed]) -> Sheet:
    """Return what multiplier slots were lost to."""
    cells = []
    for one in found:
        parts = one.run.parts
        most = ", ".join(f"{label(c)} {percent(parts[c])}" for c in largest(parts, 2))
        best = one.best
        top = f"{best[0]} {best[1]:.2f}" if best and one.variant != DENSE else ""
        cells.append([one.network, TITLES[one.variant], most, percent(one.run.utilization), top])
    left = ("network", "skips", "slots lost most to")
    return Sheet("Multiplier slots, of all slots", left, ("multiplied", "best layer"), cells)
