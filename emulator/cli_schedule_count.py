"""Counts of candidates by the engine, for ``firemesh schedule search --count``."""

from typing import TYPE_CHECKING, Any

from .console import progress

if TYPE_CHECKING:
    from .flexnn.choice import Counted
    from .flexnn.machine import FlexMachine
    from .flexnn.plan import Search

COLUMNS = ("layer", "candidate", "estimated", "counted", "estimated_pj", "counted_pj", "origin")


def count(
    context: Any, model: str, machine: "FlexMachine", wanted: "Search", layer: str | None
) -> "dict[str, list[Counted]]":
    """Return, by layer, the candidates with the engine's counts on the zoo's first image.

    Parameters
    ----------
    context : typer.Context
    model : str
        A network that brings images.
    machine : FlexMachine
    wanted : Search
    layer : str or None
        Only this layer's are returned; those before it run too.
    """
    from ..models.zoo import load
    from .flexnn.emulation import FlexEmulation
    from .inputs import find_frames

    network = load(model)
    frames, _ = find_frames(network, None, "1", model)
    emulation = FlexEmulation(network, machine, search=wanted)
    with progress("layer") as bar, context.obj.patience(True):
        task = bar.add_task("", total=len(network.layers))
        seen: set[str] = set()

        def begin(number: int, name: str) -> None:
            context.obj.check()
            seen.add(name)
            bar.update(task, description=name, completed=len(seen) - 1)

        for _ in emulation.frames(frames, begin, keep_runs=False):
            pass
    return {name: found for name, found in emulation.options.items() if layer in (None, name)}


def rows(options: "dict[str, list[Counted]]", objective: str) -> list[dict[str, Any]]:
    """Return a row for each candidate; the one that a run takes is marked."""
    from .flexnn.choice import least

    found = []
    for name, counted in options.items():
        taken = least(counted, objective)
        for number, one in enumerate(counted, 1):
            estimate = one.candidate.estimate
            found.append(
                {
                    "layer": name,
                    "candidate": f"*{number}" if one is taken else str(number),
                    "estimated": f"{estimate.cycles:,.0f}",
                    "counted": f"{one.cycles:,}",
                    "estimated_pj": estimate.energy_pj,
                    "counted_pj": one.energy_pj,
                    "origin": one.candidate.origin,
                }
            )
    return found
