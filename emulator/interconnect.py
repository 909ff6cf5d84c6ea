"""The network of a machine."""

from ..noc.network import Network
from ..noc.topology import Graph, mesh, renumbered
from .description import Description, MachineError


def places(machine: Description) -> list[int]:
    """Return where each node lies, as ``x + width*y``: storage, PE by PE, then bare routers."""
    width, height = machine.sides
    if not machine.has_storage_row:
        return list(range(width * height))
    return [0, *range(width, width * height), *range(1, width)]


def topology(machine: Description) -> Graph:
    """Return a machine's mesh: storage is node 0, PE ``p`` is node ``p + 1``, bare routers last."""
    grid = mesh(*machine.sides)
    return renumbered(grid, places(machine)) if machine.has_storage_row else grid


def interconnect(machine: Description) -> Network:
    """Return the network of a machine, idle.

    Raises
    ------
    MachineError
        When its router cannot go with the rest.
    """
    noc = machine.noc
    try:
        return Network(
            topology(machine), noc.router, noc.routing, noc.vcs, noc.buffer_flits,
            machine.storage_ports,
        )  # fmt: skip
    except ValueError as error:
        raise MachineError(f"{machine.name}: noc.{error}") from None
