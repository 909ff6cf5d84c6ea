"""The network of a machine."""

from ..noc.network import Network
from ..noc.topology import mesh
from .machine import Machine, MachineError


def interconnect(machine: Machine) -> Network:
    """Return the network of a machine, idle.

    Raises
    ------
    MachineError
        When its router cannot go with the rest.
    """
    noc = machine.noc
    try:
        return Network(
            mesh(machine.mesh.width, machine.mesh.height),
            noc.router,
            noc.routing,
            noc.vcs,
            noc.buffer_flits,
            machine.storage.ports,
        )
    except ValueError as error:
        raise MachineError(f"{machine.name}: noc.{error}") from None
