"""What storage sent and PEs multiplied in a wave, as lists of a trace."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.lists import Lists, Rule
from ...traces.schema import PACKET_SHIFT
from ..kinds import Memory
from ..patterns import READ, WRITE, Item
from ..streams import NOC_EJECT, NOC_INJECT, Stream, steps
from .bursts import arrivals, event_rows
from .event_patterns import EventPatterns
from .machine import Machine
from .patterns import Patterns
from .pe import MESSAGE_BYTES, POINTER_BYTES
from .run import WaveRun
from .sources import Sources, constant, stall_rows
from .state import Event, Multicast

LOAD_LAG = 2
"""Cycles from a message's arrival in the event FIFO to the first row read that it can cause."""
MOST_AHEAD = 64

Ints = NDArray[np.int64]


class EventLists:
    """Makes the lists of a wave's events, from storage to the psums.

    Parameters
    ----------
    run : WaveRun
    tables : EventPatterns
        Of the wave.
    patterns : Patterns
    periods : int64[n_patterns]
    sources : Sources
    machine : Machine
    lists : Lists
        To fill.
    """

    def __init__(
        self,
        run: WaveRun,
        tables: EventPatterns,
        patterns: Patterns,
        periods: Ints,
        sources: Sources,
        machine: Machine,
        lists: Lists,
    ) -> None:
        self._run, self._tables, self._patterns = run, tables, patterns
        self._periods, self._sources, self._machine = periods, sources, machine
        self._lists = lists
        self._multicast = Multicast[machine.noc.multicast.upper()]

    def _single(self, memory: int, op: int, size: int) -> int:
        return self._patterns.single(Item(memory, op, size))

    def make(self, with_values: bool) -> None:
        """Fill the lists."""
        self._inject(with_values)
        for pes, packets in self._classes():
            self._class(pes, packets)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether every PE's run of an event is that of its channel and phase."""
        return self._run.wave.mapping.shape.groups == 1

    @cached_property
    def _pointer_of(self) -> Ints:
        """Run of each event, as a PE that holds all channels numbers them."""
        event = self._run.messages.event
        strides = self._run.wave.mapping.shape.window.strides
        n_phases = strides[0] * strides[1]
        return event[:, Event.CHANNEL].astype(np.int64) * n_phases + event[:, Event.PHASE]

    def _inject(self, with_values: bool) -> None:
        run, lists = self._run, self._lists
        packets = self._sources.of_storage
        message = run.packets.item[packets]
        self._injected = run.packets.created[packets] - run.cycle0
        n_events = len(run.messages.event)
        is_event = message < n_events
        of_event = message[is_event]
        columns: dict[str, Any] = {
            "kind": constant(run.packets.kind[packets]),
            "pattern": self._sources.patterns(NOC_INJECT, packets),
            "base": self._sources.n_weights,
        }
        if self._is_plain:
            runs = np.full(len(packets), -1, np.int64)
            runs[is_event] = self._pointer_of[of_event]
            columns["run"] = runs
        if with_values:
            value = np.zeros(len(packets), np.int64)
            value[is_event] = (
                run.messages.event[of_event, Event.CODE] - run.inputs.tensor.zero_point
            )
            columns["value"] = value
        self._inject_list = lists.add(
            Stream.INJECT, [0], len(packets), Rule(least=1, step=1), columns,
            steps(self._injected)[None],
        )  # fmt: skip
        address, run_step = run.messages.address[of_event], 0
        if self._is_plain:
            rest = address - MESSAGE_BYTES * self._pointer_of[of_event]
            if np.count_nonzero(np.diff(rest)) < len(rest) // 2:
                address, run_step = rest, MESSAGE_BYTES
        columns = {
            "base": address,
            "pattern": self._single(self._machine.tensor_memory, READ, MESSAGE_BYTES),
        }
        if not is_event[: len(address)].all():
            columns["of"] = np.flatnonzero(is_event)
        lists.add(
            Stream.STORAGE_READ, [0], len(address), Rule(run_step=run_step), columns,
            leader=self._inject_list,
        )  # fmt: skip

    def _classes(self) -> list[tuple[list[int], NDArray[Any]]]:
        """Return PEs that are sent the same messages in the same order, and their packets.

        Only a packet to several PEs can be the same; forwarded messages and copies are not.
        """
        run, columns = self._run, self._run.columns
        rank, received = run.rows.group_rank, columns.received[1:]
        active = np.flatnonzero(received)
        packets = columns.received_packet[active + 1, : received.max()]
        if self._is_plain and (received[active] == received.max()).all():
            if (packets == packets[0]).all():
                return [(active.tolist(), packets[0])]
        found: list[tuple[list[int], NDArray[Any]]] = []
        for p in range(self._machine.n_pes):
            packets = columns.received_packet[p + 1, : columns.received[p + 1]]
            if not len(packets):
                continue
            for pes, known in found:
                if np.array_equal(known, packets) and (rank[pes[0]] == rank[p]).all():
                    pes.append(p)
                    break
            else:
                found.append(([p], packets))
        return found

    def _class(self, pes: list[int], packets: NDArray[Any]) -> None:
        message = self._run.packets.item[packets].astype(np.int64)
        self._multiply(pes, message, self._arrive(pes, packets, message))

    def _arrive(self, pes: list[int], packets: NDArray[Any], message: Ints) -> int:
        """Add the lists of messages that arrive at PEs; return that of the event FIFOs' writes."""
        lists, n, nodes = self._lists, len(packets), np.array(pes) + 1
        serial = self._sources.serial[packets]
        columns: dict[str, Any] = {
            "pattern": self._sources.patterns(NOC_EJECT, packets),
            "base": self._sources.n_weights,
        }
        of, step = serial, 1
        if self._multicast == Multicast.CHAIN:
            of, step = self._sources.serial[self._sources.of_storage][message], 0
            source = self._run.packets.source[packets].astype(np.int64)
            number = serial + self._sources.n_weights * (source == 0)
            columns["base"] = (source << PACKET_SHIFT) + number
        if not np.array_equal(of, np.arange(n)):
            columns["of"] = of
        ahead, slack = np.zeros(len(pes), np.int64), np.empty((len(pes), n), np.int32)
        received = self._run.columns.received_cycle
        arrivals(self._injected, of, nodes, received, MOST_AHEAD, ahead, slack)
        eject = lists.add(
            Stream.EJECT, nodes, n, Rule(step=step), columns, slack, self._inject_list,
            {"ahead": ahead},
        )  # fmt: skip
        pattern = self._single(Memory.EVENT_FIFO, WRITE, MESSAGE_BYTES)
        return lists.add(
            Stream.PUSH, nodes, n, self._fifo, {"base": 0, "pattern": pattern}, leader=eject,
            member=self._fifo_places(pes),
        )  # fmt: skip

    @property
    def _fifo(self) -> Rule:
        """How the event FIFO's addresses go on from message to message."""
        return Rule(step=MESSAGE_BYTES, modulo=MESSAGE_BYTES * self._machine.pe.event_fifo)

    def _fifo_places(self, pes: list[int]) -> dict[str, Ints]:
        return {
            "base_offset": MESSAGE_BYTES * (self._run.fifo_base[pes] % self._machine.pe.event_fifo)
        }

    def _pointers(self, p: int, event: NDArray[Any]) -> Ints:
        """Return the PE's pointer, counted from its layer's first, of each event."""
        shape = self._run.wave.mapping.shape
        channels, strides = shape.group_channels, shape.window.strides
        rank = self._run.rows.group_rank[p, event[:, Event.CHANNEL] // channels]
        channel = rank * channels + event[:, Event.CHANNEL] % channels
        result: Ints = channel * strides[0] * strides[1] + event[:, Event.PHASE]
        return result

    def _multiply(self, pes: list[int], message: Ints, push: int) -> None:
        """Add the lists of events that PEs take, load and multiply."""
        rows, tables, n, lists = self._run.rows, self._tables, len(message), self._lists
        nodes = np.array(pes) + 1
        is_event = message < len(self._run.messages.event)
        event = self._run.messages.event[message[is_event]]
        run, pattern, base = np.zeros((3, n), np.int64)
        run[~is_event] = -1
        run[is_event] = self._pointers(pes[0], event)
        pattern[is_event], base[is_event] = tables.of_events(event), tables.bases(event)
        runs = {"run_offset": tables.runs.run + rows.pointer_first[pes]}
        mac_lag = self._machine.pe.weight_latency_cycles + 2
        slack, n_stalls, stalls = self._stages(pes, message, run, pattern, mac_lag)
        columns: dict[str, Any] = {"pattern": constant(pattern), "base": 0}
        if not self._is_plain:
            columns["run"] = run
        load = lists.add(
            Stream.LOAD, nodes, n,
            Rule(walks=1, queues=1, least=1, lag=LOAD_LAG, pattern_offset=tables.load),
            columns, slack[0], push, runs | {"stalls": n_stalls[0]}, stalls[0],
        )  # fmt: skip
        pop = self._single(Memory.EVENT_FIFO, READ, MESSAGE_BYTES)
        lists.add(
            Stream.POP, nodes, n, self._fifo._replace(lag=-1), {"pattern": pop, "base": 0},
            leader=load, member=self._fifo_places(pes),
        )  # fmt: skip
        of = None if is_event[: len(event)].all() else np.flatnonzero(is_event)
        pointer = self._single(Memory.POINTER, READ, POINTER_BYTES)
        lists.add(
            Stream.POINTER, nodes, len(event), Rule(lag=-1, run_step=POINTER_BYTES),
            {"pattern": pointer, "base": 0, "of": of}, leader=load,
            member={"base_offset": POINTER_BYTES * self._run.block.pointer_base[pes]},
        )  # fmt: skip
        lists.add(
            Stream.PSUM, nodes, n, Rule(walks=1, lag=mac_lag, pattern_offset=tables.psum),
            {"base": constant(base)}, slack[1], load, runs | {"stalls": n_stalls[1]}, stalls[1],
        )  # fmt: skip

    def _stages(
        self, pes: list[int], message: Ints, run: Ints, pattern: Ints, mac_lag: int
    ) -> tuple[NDArray[np.int32], Ints, tuple[NDArray[Any], NDArray[Any]]]:
        """Return slack and number of stalls by stage (load, MAC) and PE, and the stalls."""
        tables, columns = self._tables, self._run.columns
        slack = np.empty((2, len(pes), len(message)), np.int32)
        n_stalls = np.zeros((2, len(pes)), np.int64)
        stall = np.empty((int(columns.bursts[:2, pes].sum()), 3), np.uint32)
        n_load = event_rows(
            np.array(pes), message, run, self._run.rows.pointer_first[pes],
            pattern + tables.psum, int(self._run.wave.mapping.is_linear), LOAD_LAG, mac_lag,
            columns.received_cycle, columns.taken_cycle, columns.bursts,
            columns.burst_cycle, columns.burst_first, columns.burst_count, columns.burst_message,
            tables.runs.entry_of_row, tables.runs.first_entry, tables.runs.entries.kind,
            self._periods, slack[0], slack[1], n_stalls, stall,
        )  # fmt: skip
        of_load, of_mac = stall[:n_load], stall[n_load : int(n_stalls.sum())]
        return slack, n_stalls, (stall_rows(of_load), stall_rows(of_mac))
