"""Where each tensor lies in storage."""

from collections.abc import Collection, Sequence

from ..models.network import Network, Quantize, Reshape
from .activations import EVENT_BYTES
from .steps import HostStep, LayerStep


def lifetimes(network: Network, steps: Sequence[LayerStep]) -> dict[str, tuple[int, int]]:
    """Return the steps from which to which each stored tensor lies in storage.

    Inputs lie there before the first step, outputs until after the last; a tensor and its new
    shapes are one.
    """
    alias = {s.output: s.layer.inputs[0] for s in steps if isinstance(s.layer, Reshape)}

    def root(name: str) -> str:
        return root(alias[name]) if name in alias else name

    written = {name: -1 for name in network.inputs}
    last: dict[str, int] = {}
    for i, step in enumerate(steps):
        written[step.output] = -1 if isinstance(step.layer, Quantize) else i
        for name in step.layer.inputs:
            end = len(steps) if isinstance(step, HostStep) and step.is_real else i
            last[root(name)] = max(end, last.get(root(name), i))
    for name in network.outputs:
        last[root(name)] = len(steps)
    return {name: (i, last.get(root(name), i)) for name, i in written.items() if name == root(name)}


def place(
    network: Network, steps: Sequence[LayerStep], wanted: Collection[str] | None = None
) -> tuple[dict[str, int], int]:
    """Place tensors, first fit, each for its lifetime.

    Parameters
    ----------
    network : Network
    steps : sequence of LayerStep
    wanted : collection of str, optional
        Only these, and new shapes of them.

    Returns
    -------
    dict, int
        First byte of each tensor, and the end of the last.
    """
    regions: dict[str, int] = {}
    held: list[tuple[int, int, int]] = []
    top = 0
    alive = lifetimes(network, steps)
    for name, (first, last) in sorted(alive.items(), key=lambda item: item[1]):
        if not network.tensors[name].is_code or (wanted is not None and name not in wanted):
            continue
        size = EVENT_BYTES * network.tensors[name].size
        at = 0
        for low, high, until in sorted(held):
            if until >= first and low - at < size:
                at = max(at, high)
        regions[name] = at
        held.append((at, at + size, last))
        top = max(top, at + size)
    for step in steps:
        if isinstance(step.layer, Reshape) and step.layer.inputs[0] in regions:
            regions[step.output] = regions[step.layer.inputs[0]]
    return regions, top
