"""Weights that come in during a frame: from DRAM through the storage PE, unicast to each PE."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noc.kernel import outer_kernel
from ...noc.network import Network, NetworkError
from ...noc.router import SENTENCES, Packets, Ports, StepStatus, make_packets
from ..activations import Activations
from ..kinds import STORAGE_NODE, Kind
from .machine import Machine
from .plan import Plan
from .rows import Rows
from .steps import Block, MnfStep
from .waves import Wave

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Load:
    """The weight rows that came in before a wave.

    Parameters
    ----------
    cycle1 : int
        The cycle after the last row's write.
    pe : int64[n_rows]
        PE of each row, ascending.
    address : int64[n_rows]
        Byte in the PE's weight SRAM.
    dram_address : int64[n_rows]
    read_cycle, write_cycle : int64[n_rows]
        Cycles of the read from DRAM and of the write in the PE.
    packets : Packets
        Of storage, in order of creation; an item is the packet's first row.
    arrived : int64[n_packets]
        Cycle in which a packet's last flit arrived.
    """

    cycle1: int
    pe: Ints
    address: Ints
    dram_address: Ints
    read_cycle: Ints
    write_cycle: Ints
    packets: Packets
    arrived: Ints


@outer_kernel
def carry(
    step: Any,
    net: Any,
    ports: Ports,
    packets: Packets,
    rows: Ints,
    got: Ints,
    written: Ints,
    arrived: Ints,
    cycle: int,
) -> int:
    """Send packets from storage one after another until all have arrived.

    Parameters
    ----------
    step, net, ports
        The network, idle; every node is ready.
    packets : Packets
        ``created`` is a result.
    rows : int64[n]
        Weight rows of each packet, not more than its flits; the first is the packet's item.
    got : int64[2, n]
        Flits that arrived and rows that are whole, 0 at first.
    written : int64[n_rows]
        Result: the cycle in which a row's last flit arrived.
    arrived : int64[n]
        Result.
    cycle : int
        The first one.

    Returns
    -------
    int
        The next cycle, or less the step's status when it fails.
    """
    n, sent, done = len(packets.source), 0, 0
    while done < n:
        status = step(net, ports, packets, cycle)
        if status != 0:
            return -int(status)
        for node in range(len(ports.tx)):
            number = ports.rx[node]
            if number >= 0:
                got[0, number] += 1
                flits, whole = np.int64(packets.flits[number]), got[1, number]
                if got[0, number] * rows[number] >= (whole + 1) * flits:
                    written[packets.item[number] + whole] = cycle
                    got[1, number] += 1
                if got[0, number] == flits:
                    arrived[number] = cycle
                    done += 1
        if ports.tx[0] < 0 and sent < n:
            packets.created[sent] = cycle
            ports.tx[0] = sent
            sent += 1
        cycle += 1
    return cycle


def _wanted(block: Block, rows: Rows, channels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool[n_rows]: whether the row's input channel is among some channels.

    Parameters
    ----------
    block : Block
    rows : Rows
    channels : bool[channels]
        Of the layer.
    """
    shape = block.mapping.shape
    strides = shape.window.strides
    wanted = np.zeros(len(rows.pointer) - 1, bool)
    per_group = channels.reshape(shape.groups, -1).repeat(strides[0] * strides[1], axis=1)
    for p, ranks in enumerate(rows.group_rank):
        groups = np.flatnonzero(ranks >= 0)
        of_pe = per_group[groups[np.argsort(ranks[groups])]].ravel()
        wanted[rows.pointer_first[p] : rows.pointer_first[p + 1]] = of_pe
    return np.repeat(wanted, np.diff(rows.pointer))


def _rows_of(block: Block, rows: Rows, channels: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """Return PE, weight address and DRAM address of the block's rows that come in."""
    kept = np.flatnonzero(_wanted(block, rows, channels))
    pe = np.searchsorted(rows.first, kept, side="right") - 1
    serial = kept - rows.first[pe]
    width = block.machine.pe.multipliers
    return pe, (block.row_base[pe] + serial) * width, block.dram_base[pe] + serial * width


def packet_flits(machine: Machine, rows: int) -> int:
    """Return the flits of a packet of weight rows; a flit brings one row to its end at most."""
    return max(-(-rows * machine.pe.multipliers * 8 // machine.noc.flit_bits), rows)


def _packets(plan: Plan, noc: Network, pe: Ints) -> tuple[Packets, Ints]:
    """Return packets of rows for one PE after another, and rows [n_packets] of each."""
    machine = plan.machine
    most = machine.storage.weight_packet_rows
    held = np.bincount(pe, minlength=machine.n_pes)
    starts = np.cumsum(held) - held
    rows: list[int] = []
    packets = make_packets(int((-(-held // most)).sum()))
    for p in np.flatnonzero(held).tolist():
        destination = noc.destinations(STORAGE_NODE, (p + 1,))
        for first in range(0, int(held[p]), most):
            packets.destinations[len(rows)] = destination
            packets.item[len(rows)] = starts[p] + first
            rows.append(min(most, int(held[p]) - first))
    n = np.array(rows, np.int64)
    packets.flits[:] = [packet_flits(machine, size) for size in rows]
    packets.kind[:] = Kind.WEIGHTS
    return packets, n


def load(
    plan: Plan,
    step: MnfStep,
    wave: Wave,
    rows: Rows,
    activations: Activations,
    noc: Network,
    cycle: int,
) -> Load | None:
    """Bring in the weights that a wave lacks; None where they are there.

    Parameters
    ----------
    plan : Plan
    step : MnfStep
    wave : Wave
    rows : Rows
        Of the wave's block.
    activations : Activations
        The layer's input: only rows of its channels come in.
    noc : Network
        Idle.
    cycle : int
        First cycle.
    """
    parts = []
    fired = np.zeros(step.shape.channels, bool)
    fired[activations.coordinates[0]] = True
    for number in step.loads(wave):
        block = step.blocks[number]
        parts.append(_rows_of(block, rows if number == wave.block else block.rows(), fired))
    if not sum(len(part[0]) for part in parts):
        return None
    pe, address, dram = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((address, pe))
    packets, n_rows = _packets(plan, noc, pe)
    arrived, written = np.zeros(len(n_rows), np.int64), np.zeros(len(pe), np.int64)
    got = np.zeros((2, len(n_rows)), np.int64)
    noc.ports.tx[:] = noc.ports.rx[:] = -1
    noc.ports.ready[:] = 1
    end = carry(noc.step, noc.state, noc.ports, packets, n_rows, got, written, arrived, cycle)
    if end < 0:
        raise NetworkError(f"layer {step.name}, weights: {SENTENCES[StepStatus(-end)]}")
    of_packet = np.repeat(np.arange(len(n_rows)), n_rows)
    at = np.arange(len(pe)) - packets.item[of_packet]
    flits, n = packets.flits[of_packet].astype(np.int64), n_rows[of_packet]
    return Load(
        cycle1=end,
        pe=pe[order],
        address=address[order],
        dram_address=dram[order],
        read_cycle=packets.created[of_packet] + at * flits // n,
        write_cycle=written,
        packets=packets,
        arrived=arrived,
    )
