"""Of which machine a synthetic network's weight rows are pruned."""

from functools import cache

from ...models.architecture import Architecture
from ...models.recipe import WeightRows
from ...models.specs import ConcatSpec, ConvSpec
from ..description import MachineError
from ..machine import HybridMachine, machine
from ..studies.crossover import weight_rows


@cache
def rows_of(architecture: Architecture, name: str) -> WeightRows:
    """Return the weight rows of a machine's PEs.

    Parameters
    ----------
    architecture : Architecture
    name : str
        Preset or path of a machine of both modes.

    Raises
    ------
    MachineError
        When it is no such machine, or the network has branches.
    """
    try:
        found = machine(name)
    except MachineError as error:
        raise MachineError(f"rows_of: {error}") from None
    if not isinstance(found, HybridMachine):
        raise MachineError(
            f"rows_of: must be a machine of both modes, such as hybrid-256, got {found.name}"
        )
    if any(not _is_of_a_chain(layer) for layer in architecture.layers):
        raise MachineError(
            f"rows_of: is of networks without branches, got {architecture.name}; leave it out there"
        )
    return weight_rows(architecture, found)


def _is_of_a_chain(layer: object) -> bool:
    if isinstance(layer, ConvSpec):
        return layer.add is None and not layer.reads
    return not isinstance(layer, ConcatSpec)
