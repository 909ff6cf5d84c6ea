"""What a layer came to: cycles, slots, accesses, flits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..noc.iq_state import Stall
from .description import Description
from .energy import Activity
from .host import HostRun
from .kinds import Kind, Memory
from .latency import Latency, added
from .slots import BUSY, Cause


@dataclass(frozen=True)
class LayerResult:
    """A layer, over one frame or several.

    Parameters
    ----------
    name, op : str
    mode : {"mnf", "flexnn", "host", "convert"}
        Or a change of a tensor's form between layers of different modes.
    frames : int
    cycles : int
    waves : int
        Waves of a frame; 1 on the host unit.
    events : int
        Events sent to PEs, or read by the host unit.
    halo, repeated : int
        Those of them that were sent again: for another band, and for other filter groups.
    active : int
        Activations of the input that differ from the zero point.
    inputs : int
        All activations of the input.
    fired : int
        Events written to storage.
    tile : str
        A x B of a layer on PEs, or linear; empty on the host unit.
    slots : int64[n_pes, causes]
    counts, bytes : int64[n_units, memories, 2]
        Reads and writes.
    link_flits : int64[n_nodes, 5]
        Flits sent by each router output; the last one delivers to the node. Nodes are units, but
        on the mesh of mode flexnn, of which `firemesh.emulator.flexnn.mesh` tells.
    sent_flits : int64[n_nodes]
        Flits that each node sent into the network.
    stalls : int64[n_nodes, 4]
        Cycles of packets that wait in routers with virtual channels, by
        `firemesh.noc.iq_state.Stall`.
    latency : int64[kinds, 3]
        Packets by `firemesh.emulator.kinds.Kind` at each of their destinations: how many, cycles
        from creation to the tail's delivery added up, most cycles.
    """

    name: str
    op: str
    mode: str
    frames: int
    cycles: int
    waves: int
    events: int
    halo: int
    repeated: int
    active: int
    inputs: int
    fired: int
    tile: str
    slots: NDArray[np.int64]
    counts: NDArray[np.int64]
    bytes: NDArray[np.int64]
    link_flits: NDArray[np.int64]
    sent_flits: NDArray[np.int64]
    stalls: NDArray[np.int64]
    latency: NDArray[np.int64]

    def __add__(self, other: "LayerResult") -> "LayerResult":
        """Return the same layer over the frames of both."""
        return LayerResult(
            self.name,
            self.op,
            self.mode,
            self.frames + other.frames,
            self.cycles + other.cycles,
            self.waves,
            self.events + other.events,
            self.halo + other.halo,
            self.repeated + other.repeated,
            self.active + other.active,
            self.inputs + other.inputs,
            self.fired + other.fired,
            self.tile,
            self.slots + other.slots,
            self.counts + other.counts,
            self.bytes + other.bytes,
            self.link_flits + other.link_flits,
            self.sent_flits + other.sent_flits,
            self.stalls + other.stalls,
            added(self.latency, other.latency),
        )

    @property
    def density(self) -> float:
        """Part of the input's activations that differ from the zero point."""
        return self.active / self.inputs

    @property
    def utilization(self) -> float:
        """Part of all multiplier slots in which a multiplier worked, zero weights included."""
        total = int(self.slots.sum())
        return int(self.slots[:, list(BUSY)].sum()) / total if total else 0.0

    def cause(self, cause: Cause) -> float:
        """Return the part of all multiplier slots with a cause."""
        total = int(self.slots.sum())
        return int(self.slots[:, cause].sum()) / total if total else 0.0

    @property
    def activity(self) -> Activity:
        """What its energy is computed from."""
        return Activity(self.bytes.sum(axis=0), self.slots.sum(axis=0), int(self.link_flits.sum()))


def of_host(
    run: HostRun,
    machine: Description,
    memory: Memory,
    accesses: tuple[int, int],
    size: tuple[int, int],
) -> LayerResult:
    """Return the result of a layer on the host unit, of one frame.

    Parameters
    ----------
    run : HostRun
    machine : Description
    memory : Memory
        The one that it reads and writes.
    accesses, size : (int, int)
        Reads and writes, and their bytes.
    """
    counts, n_bytes = np.zeros((2, machine.n_units, len(Memory), 2), np.int64)
    counts[0, memory], n_bytes[0, memory] = accesses, size
    names = run.step.name, run.step.layer.op, "host"
    inputs = sum(part.tensor.size for part in run.inputs)
    numbers = run.cycle1 - run.cycle0, run.n_events, inputs, len(run.output.flat)
    return without_pes(machine, names, numbers, counts, n_bytes)


def without_pes(
    machine: Description,
    names: tuple[str, str, str],
    numbers: tuple[int, int, int, int],
    counts: NDArray[np.int64],
    n_bytes: NDArray[np.int64],
) -> LayerResult:
    """Return the result of what is done while no PE works, of one frame.

    Parameters
    ----------
    machine : Description
    names : (str, str, str)
        Name, op, mode.
    numbers : (int, int, int, int)
        Cycles, activations read that differ from the zero point, all that are read, those written
        that differ.
    counts, n_bytes : int64[n_units, memories, 2]
        Reads and writes.
    """
    (name, op, mode), (cycles, active, inputs, fired) = names, numbers
    slots = np.zeros((machine.n_pes, len(Cause)), np.int64)
    slots[:, Cause.UNUSED] = cycles * machine.pe_multipliers
    return LayerResult(
        name=name,
        op=op,
        mode=mode,
        frames=1,
        cycles=cycles,
        waves=1,
        events=active,
        halo=0,
        repeated=0,
        active=active,
        inputs=inputs,
        fired=fired,
        tile="",
        slots=slots,
        counts=counts,
        bytes=n_bytes,
        link_flits=np.zeros((machine.n_nodes, 5), np.int64),
        sent_flits=np.zeros(machine.n_nodes, np.int64),
        stalls=np.zeros((machine.n_nodes, len(Stall)), np.int64),
        latency=np.zeros((len(Kind), len(Latency)), np.int64),
    )
