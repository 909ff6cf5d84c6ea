"""What the rounds of a layer send over the mesh, packet by packet: for traces, computed again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ...noc.packet_trace import PacketTrace
from .mesh import Mesh
from .moves import Layer, Moves, moves


@dataclass(frozen=True)
class Exchange:
    """What a round sends over the mesh; cycles count from when the network's work begins.

    That is ``begin[r]`` for a load, ``leave[r] + tree(r)`` for a drain.

    Parameters
    ----------
    load, drain : PacketTrace
        Packets, all created in cycle 0.
    loaded, drained : structured array
        Their deliveries, of dtype `firemesh.noc.simulate.DELIVERY`: packets in order, a multicast
        once per destination.
    """

    load: PacketTrace
    loaded: NDArray[Any]
    drain: PacketTrace
    drained: NDArray[Any]


def exchanges(layer: Layer) -> Iterator[Exchange]:
    """Yield what each round sends over the mesh; it costs as much as the simulation did.

    Parameters
    ----------
    layer : Layer
        On a machine with ``sdn.kind: mesh``.
    """
    mesh = Mesh(layer)
    for what in moves(layer):
        for at in range(len(what.rounds)):
            yield exchange(mesh, what.part(at, at + 1))


def packets_of(layer: Layer, number: int) -> Exchange:
    """Return what a round sends over the mesh; see `exchanges` for all of them.

    Parameters
    ----------
    layer : Layer
    number : int

    Raises
    ------
    ValueError
        When there is no such round.
    """
    for what in moves(layer):
        at = number - what.rounds.first
        if 0 <= at < len(what.rounds):
            return exchange(Mesh(layer), what.part(at, at + 1))
    raise ValueError(f"number: must be in 0..{layer.loops.n_rounds - 1}, got {number}")


def exchange(mesh: Mesh, what: Moves) -> Exchange:
    """Return what one round sends over the mesh; ``what`` is that round's."""
    load, drain = (mesh.packets(messages) for messages in mesh.messages(what)[0])
    return Exchange(load, mesh.replay(load), drain, mesh.replay(drain))
