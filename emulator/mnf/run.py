"""Mode MNF: runs the waves of a layer of one frame on PEs, network and storage, cycle by cycle."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...noc.network import Network as Interconnect
from ...noc.router import Packets, make_packets
from ..activations import Activations, arrived, volume
from ..engine_error import EngineError
from ..kinds import STORAGE_NODE, Kind, Memory
from ..slots import Cause
from .engine import SENTENCES, EngineStatus, advance
from .fire import FireOrder, fire_order
from .loading import Load, load
from .messages import Messages, declare, make_messages
from .pe import cycle_of_pes
from .plan import Plan
from .rows import Rows
from .state import Clock, Columns, LayerArrays, Params, PeState
from .steps import Block, MnfStep
from .wave_arrays import columns as empty_columns
from .wave_arrays import grown, layer_arrays, longer, params, state
from .waves import Wave

SLICE_CYCLES = 1 << 16
"""Cycles after which the engine comes back to Python, so that a run can be ended."""


@dataclass(frozen=True)
class WaveRun:
    """What a wave left behind.

    Parameters
    ----------
    step : MnfStep
    wave : Wave
    rows : Rows
        Of the wave's block.
    inputs : Activations
        Of the layer.
    cycle0, cycle1 : int
        First cycle, and the one after the last.
    load : Load or None
        The weights that came in first.
    messages : Messages
    fire : FireOrder
    packets : Packets
        Cut to the packets created after the load.
    columns : Columns
    state : PeState
        At the end.
    link_flits : int64[n_nodes, 5]
        Flits sent by each output in this wave.
    stalls : int64[n_nodes, 4]
        Cycles of waiting packets in this wave, by `firemesh.noc.iq_state.Stall`.
    fifo_base : int64[n_pes]
        Messages that each PE had taken before this wave.
    output : Activations
        What the wave fired.
    """

    step: MnfStep
    wave: Wave
    rows: Rows
    inputs: Activations
    cycle0: int
    cycle1: int
    load: Load | None
    messages: Messages
    fire: FireOrder
    packets: Packets
    columns: Columns
    state: PeState
    link_flits: NDArray[np.int64]
    stalls: NDArray[np.int64]
    fifo_base: NDArray[np.int64]
    output: Activations

    @property
    def block(self) -> Block:
        """The wave's weights."""
        return self.step.blocks[self.wave.block]

    @property
    def sent_flits(self) -> NDArray[np.int64]:
        """int64[n_nodes]: flits that each node sent into the network."""
        n_nodes = len(self.link_flits)
        sent = np.bincount(self.packets.source, self.packets.flits, n_nodes).astype(np.int64)
        if self.load:
            sent[STORAGE_NODE] += int(self.load.packets.flits.sum())
        return sent

    @property
    def codes(self) -> NDArray[np.int16]:
        """int16[k, rows, ow]: codes before pooling of the band; 0 for filters of other waves."""
        return self.state.codes

    @property
    def sums(self) -> NDArray[np.int32]:
        """int32[k, rows, ow]: psums of the band without bias; 0 for filters of other waves."""
        mapping = self.wave.mapping
        sums = np.zeros(self.state.codes.shape, np.int32)
        psum = self.state.psum.reshape(len(self.state.psum), *sums.shape[1:], -1)
        for group in mapping.groups:
            slot = group.number * mapping.filters
            part = psum[group.pe, :, :, slot : slot + group.size]
            sums[group.first : group.first + group.size] = part.transpose(2, 0, 1)
        return sums


def add_codes(whole: NDArray[np.int16], run: WaveRun) -> None:
    """Put a wave's codes into the layer's, int16[k, oh, ow]."""
    if run.wave.fires:
        rows = slice(*run.wave.band.rows)
        for group in run.wave.mapping.groups:
            part = slice(group.first, group.first + group.size)
            whole[part, rows] = run.codes[part]


def _run_engine(
    noc: Interconnect,
    q: Params,
    la: LayerArrays,
    s: PeState,
    columns: Columns,
    tick: Callable[[], None],
) -> tuple[Packets, Columns, EngineStatus]:
    packets = make_packets(2 * q.n_messages + 64)
    while True:
        status = EngineStatus(
            advance(
                noc.step,
                noc.state,
                cycle_of_pes,
                q,
                la,
                s,
                noc.ports,
                packets,
                columns,
                int(s.clock[Clock.CYCLE]) + SLICE_CYCLES,
            )
        )
        if status == EngineStatus.GROW:
            packets = Packets(*(longer(column, 0) for column in packets))
            columns = grown(columns)
        elif status == EngineStatus.UNTIL:
            tick()
        else:
            n = int(s.clock[Clock.PACKETS])
            return Packets(*(column[:n] for column in packets)), columns, status


def fired_packets(packets: Packets, columns: Columns) -> NDArray[np.int32]:
    """Return the packets of outputs in their order of arrival at storage."""
    packet = columns.received_packet[0, : columns.received[0]]
    found: NDArray[np.int32] = packet[packets.kind[packet] == Kind.FIRED]
    return found


def _count_load(found: Load, cycles: int, plan: Plan, columns: Columns) -> None:
    """Add a load's slots and accesses to a wave's."""
    width = plan.machine.pe.multipliers
    columns.slots[:, Cause.WEIGHTS] += cycles * width
    rows = np.bincount(found.pe, minlength=plan.machine.n_pes)
    columns.counts[0, Memory.DRAM, 0] += len(found.pe)
    columns.counts[1:, Memory.WEIGHT, 1] += rows
    columns.bytes[0, Memory.DRAM, 0] += len(found.pe) * width
    columns.bytes[1:, Memory.WEIGHT, 1] += rows * width


class Layer:
    """A layer of a frame on its way through the machine.

    Parameters
    ----------
    plan : Plan
    step : MnfStep
    noc : firemesh.noc.network.Network
        Idle; its state goes on from wave to wave.
    activations : Activations
        The layer's input.
    cycle : int
        First cycle of the layer.
    taken : int64[n_pes]
        Messages that each PE took before.

    Attributes
    ----------
    halo : int
        Events so far that were sent again because another band needs them too.
    repeated : int
        Events so far that were sent again because other filter groups need them too.
    """

    def __init__(
        self,
        plan: Plan,
        step: MnfStep,
        noc: Interconnect,
        activations: Activations,
        cycle: int,
        taken: NDArray[np.int64],
    ) -> None:
        self._plan, self._step, self._noc = plan, step, noc
        self._activations, self._cycle, self._taken = activations, cycle, taken
        self._tensor = plan.network.tensors[step.output]
        self._held = np.zeros(max(volume(self._tensor)), np.int64)
        self._sent = np.zeros((2, len(activations.flat)), bool)
        self._channel_wave = 0
        self.halo = self.repeated = 0

    @property
    def cycle(self) -> int:
        """The next cycle."""
        return self._cycle

    @property
    def taken(self) -> NDArray[np.int64]:
        """int64[n_pes]: messages that each PE has taken."""
        return self._taken

    def waves(self, tick: Callable[[], None] = lambda: None) -> Iterator[WaveRun]:
        """Run the waves one after another.

        Parameters
        ----------
        tick : callable
            Called now and then, at least every `SLICE_CYCLES` cycles; may raise to end the run.

        Raises
        ------
        EngineError
            When network and PEs come to a halt.
        """
        psum, rows, block = None, None, -1
        for wave in self._step.waves:
            if rows is None or wave.block != block:
                rows, block = self._step.blocks[wave.block].rows(), wave.block
            run = self._wave(wave, rows, None if wave.begins else psum, tick)
            psum = None if wave.fires else run.state.psum
            self._cycle, self._taken = run.cycle1, self._taken + run.columns.taken
            self._count(wave, run.messages.source)
            yield run
            del run

    def _count(self, wave: Wave, source: NDArray[np.int64]) -> None:
        """Count the wave's events that were sent before."""
        ever, now = self._sent
        channel_wave = self._step.channel_wave(wave.block)
        if channel_wave != self._channel_wave:
            self._channel_wave = channel_wave
            ever |= now
            now[:] = False
        is_halo = now[source]
        self.halo += int(is_halo.sum())
        self.repeated += int((ever[source] & ~is_halo).sum())
        now[source] = True

    def _wave(
        self, wave: Wave, rows: Rows, psum: NDArray[np.int32] | None, tick: Callable[[], None]
    ) -> WaveRun:
        plan, step, noc, cycle = self._plan, self._step, self._noc, self._cycle
        machine, fired = plan.machine, volume(self._tensor)
        flits_before, stalls_before = noc.state.link_flits.copy(), noc.stalls()
        loaded = load(plan, step, wave, rows, self._activations, noc, cycle)
        begin = loaded.cycle1 if loaded else cycle
        messages = make_messages(wave.mapping, self._activations, wave.channels)
        destinations = declare(noc, messages.sets, machine.noc.multicast)
        outputs = wave.band.outputs
        pooled = (outputs[1] - outputs[0], fired[2])
        fire = fire_order(wave.mapping, machine.pe.fire_lanes, wave.pool, pooled, wave.fires)
        q = params(step, wave, rows, machine, plan.network, messages, fired, cycle)
        la = layer_arrays(step, wave, rows, machine, messages, destinations, fire)
        s = state(wave, rows, machine, fire, begin, psum)
        columns = empty_columns(machine.n_pes, q.n_messages, q.n_messages + q.most_rows + 64)
        noc.ports.tx[:] = noc.ports.rx[:] = -1
        noc.ports.ready[:] = 0
        noc.ports.ready[: machine.n_units] = np.concatenate([[1], la.is_active])
        packets, columns, status = _run_engine(noc, q, la, s, columns, tick)
        if status != EngineStatus.DONE:
            at = int(s.clock[Clock.CYCLE])
            raise EngineError(f"layer {step.name}, cycle {at}: {SENTENCES[status]}")
        if loaded:
            _count_load(loaded, begin - cycle, plan, columns)
        if machine.tensor_memory != Memory.STORAGE:
            for counted in (columns.counts, columns.bytes):
                counted[0, machine.tensor_memory] += counted[0, Memory.STORAGE]
                counted[0, Memory.STORAGE] = 0
        return WaveRun(
            step,
            wave,
            rows,
            self._activations,
            cycle,
            int(s.clock[Clock.CYCLE]),
            loaded,
            messages,
            fire,
            packets,
            columns,
            s,
            noc.state.link_flits - flits_before,
            noc.stalls() - stalls_before,
            self._taken,
            self._output(wave, packets, columns),
        )

    def _output(self, wave: Wave, packets: Packets, columns: Columns) -> Activations:
        """Return what a wave fired, and remember how many there are in each of storage's lists."""
        columns.fired_output[:, 1] += wave.band.outputs[0]
        which = packets.item[fired_packets(packets, columns)]
        channel, y, x, code = columns.fired_output[which].astype(np.int64).T
        order, base = self._plan.machine.storage.event_order, self._plan.regions[self._step.output]
        return arrived(self._tensor, channel, y, x, code, order, base, self._held)
