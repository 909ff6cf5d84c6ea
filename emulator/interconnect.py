"""The network of a machine."""

from ..noc.network import Network
from ..noc.topology import mesh
from .description import Noc
from .machine import Machine, MachineError


def interconnect(machine: Machine) -> Network:
    """Return the network of a machine of mode mnf, idle.

    Raises
    ------
    MachineError
        When its router cannot go with the rest.
    """
    return mesh_network(machine.name, machine.noc, machine.sides, machine.storage.ports)


def mesh_network(name: str, noc: Noc, sides: tuple[int, int], ports: int) -> Network:
    """Return a mesh of a machine's routers, idle.

    Parameters
    ----------
    name : str
        The machine's, for messages.
    noc : Noc
    sides : (int, int)
        Width and height.
    ports : int
        Flits that node 0 is delivered per cycle, at most.

    Raises
    ------
    MachineError
        When the router cannot go with the rest.
    """
    try:
        return Network(mesh(*sides), noc.router, noc.routing, noc.vcs, noc.buffer_flits, ports)
    except ValueError as error:
        raise MachineError(f"{name}: noc.{error}") from None
