"""What a layer on the PEs did, as lists of a trace."""

from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..traces.decode import ranks
from ..traces.lists import STALLS, Lists
from ..traces.schema import PACKET_SHIFT
from .activations import volume
from .bursts import arrivals, chunk_starts, event_rows
from .machine import Machine
from .mnf import LayerRun, fired_packets
from .mnf_patterns import READ, WRITE, Item, Patterns, StepPatterns, bias_item
from .pe import MESSAGE_BYTES, POINTER_BYTES
from .state import Burst, Event, Kind, Memory, Multicast

NOC_INJECT, NOC_EJECT = len(Memory), len(Memory) + 1
"""Numbers in the trace of the nodes' doors to the network, after the memories."""

LOAD_LAG = 2
"""Cycles from a message's arrival in the event FIFO to the first row read that it can cause."""
MOST_AHEAD = 64

Ints = NDArray[np.int64]


class Stream(IntEnum):
    """What a list stands for; numbers as in the trace."""

    INJECT = 0
    STORAGE_READ = 1
    EJECT = 2
    PUSH = 3
    LOAD = 4
    POP = 5
    POINTER = 6
    PSUM = 7
    FIRE = 8
    BIAS = 9
    SEND = 10
    COLLECT = 11
    STORAGE_WRITE = 12
    HOST_READ = 13
    HOST_WRITE = 14


STREAMS = {
    Stream.INJECT: "packets of storage: a layer's events, then its end-of-data messages",
    Stream.STORAGE_READ: "storage reads an event as it is injected",
    Stream.EJECT: "packets from storage or from the PE before in a chain arrive at PEs",
    Stream.PUSH: "a message that arrived is written to the event FIFO",
    Stream.LOAD: "an event's weight rows and their indices are read",
    Stream.POP: "a message is taken from the event FIFO",
    Stream.POINTER: "an event's pointer is read when it is taken",
    Stream.PSUM: "an event's rows are multiplied: psum words are read, and written two cycles later",
    Stream.FIRE: "psums of a chunk of filters are read, and cleared in the next cycle",
    Stream.BIAS: "a chunk's biases are read with its first psums",
    Stream.SEND: "packets of a PE: forwarded messages, outputs, end-of-data",
    Stream.COLLECT: "packets of a PE arrive at storage",
    Stream.STORAGE_WRITE: "storage writes an output that arrived",
    Stream.HOST_READ: "the host unit reads its inputs' events from storage",
    Stream.HOST_WRITE: "the host unit writes its output's events to storage",
}


def steps(cycles: Ints) -> Ints:
    """Return the slack of rows of one cycle each, from their cycles since the segment began."""
    slack = cycles.copy()
    slack[1:] -= cycles[:-1] + 1
    return slack


def constant(values: NDArray[Any]) -> NDArray[Any] | int:
    """Return a column, as one number where all its rows are equal and not negative."""
    if len(values) and values[0] >= 0 and (values == values[0]).all():
        return int(values[0])
    return values


class MnfLists:
    """Makes the lists of one layer of one frame.

    Parameters
    ----------
    run : LayerRun
    tables : StepPatterns
        Of the layer.
    patterns : Patterns
        Of the trace; those that are needed must be in it, see `packet_patterns`.
    periods : int64[n_patterns]
    machine : Machine
    lists : Lists
        To fill.
    """

    def __init__(
        self,
        run: LayerRun,
        tables: StepPatterns,
        patterns: Patterns,
        periods: Ints,
        machine: Machine,
        lists: Lists,
    ) -> None:
        self._run, self._tables, self._patterns = run, tables, patterns
        self._periods, self._machine, self._lists = periods, machine, lists
        self._multicast = Multicast[machine.noc.multicast.upper()]
        self._zero = run.cycle0

    def _single(self, memory: int, op: int, size: int) -> int:
        return self._patterns.single(Item(memory, op, size))

    def _flit_patterns(self, memory: int, packets: NDArray[Any]) -> NDArray[Any] | int:
        """Return the pattern of each packet at a node's door; sizes are flits."""
        flits = self._run.packets.flits[packets]
        op = WRITE if memory == NOC_INJECT else READ
        if len(flits) and (flits == flits[0]).all():
            return self._single(memory, op, int(flits[0]))
        sizes = np.unique(flits)
        numbers = np.array([self._single(memory, op, int(size)) for size in sizes], np.int64)
        return constant(numbers[np.searchsorted(sizes, flits)])

    @cached_property
    def _by_source(self) -> Ints:
        """Packets sorted by source, in order of creation."""
        return np.argsort(self._run.packets.source.astype(np.int16), kind="stable")

    @cached_property
    def _n_of_source(self) -> Ints:
        return np.bincount(self._run.packets.source, minlength=self._machine.mesh.n_nodes)

    @cached_property
    def _serial(self) -> Ints:
        """Number of each packet among those of its source."""
        first = np.cumsum(self._n_of_source) - self._n_of_source
        serial = np.empty(len(self._by_source), np.int64)
        rank = np.arange(len(serial)) - np.repeat(first, self._n_of_source)
        serial[self._by_source] = rank
        return serial

    def make(self, with_values: bool) -> None:
        """Fill the lists."""
        self._inject(with_values)
        for pes, packets in self._classes():
            self._class(pes, packets)
        fire = self._fire()
        self._bias(fire)
        self._collect(self._send(with_values))
        self._write()

    # ---- storage sends

    @cached_property
    def _is_plain(self) -> bool:
        """Whether every PE's run of an event is that of its channel and phase."""
        return self._run.step.shape.groups == 1

    @cached_property
    def _pointer_of(self) -> Ints:
        """Run of each event, as a PE that holds all channels numbers them."""
        event = self._run.messages.event
        strides = self._run.step.shape.window.strides
        n_phases = strides[0] * strides[1]
        return event[:, Event.CHANNEL].astype(np.int64) * n_phases + event[:, Event.PHASE]

    def _inject(self, with_values: bool) -> None:
        run, lists = self._run, self._lists
        packets = self._by_source[: self._n_of_source[0]]
        message = run.packets.item[packets]
        self._injected = run.packets.created[packets]
        n_events = len(run.messages.event)
        is_event = message < n_events
        of_event = message[is_event]
        columns: dict[str, Any] = {
            "kind": constant(run.packets.kind[packets]),
            "pattern": self._flit_patterns(NOC_INJECT, packets),
            "base": 0,
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
            Stream.INJECT, [0], len(packets), steps(self._injected - self._zero)[None], columns=columns,
            least=1, step=1,
        )  # fmt: skip
        address, run_step = run.messages.address[of_event], 0
        if self._is_plain:
            rest = address - MESSAGE_BYTES * self._pointer_of[of_event]
            if np.count_nonzero(np.diff(rest)) < len(rest) // 2:
                address, run_step = rest, MESSAGE_BYTES
        columns = {"base": address, "pattern": self._single(Memory.STORAGE, READ, MESSAGE_BYTES)}
        if not is_event[: len(address)].all():
            columns["of"] = np.flatnonzero(is_event)
        lists.add(
            Stream.STORAGE_READ, [0], len(address), leader=self._inject_list, columns=columns,
            run_step=run_step,
        )  # fmt: skip

    # ---- PEs multiply

    def _classes(self) -> list[tuple[list[int], NDArray[Any]]]:
        """Return PEs that are sent the same messages in the same order, and their packets.

        Only a packet to several PEs can be the same; forwarded messages and copies are not.
        """
        run, columns = self._run, self._run.columns
        rank = run.step.rows.group_rank
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
        serial = self._serial[packets]
        columns: dict[str, Any] = {"pattern": self._flit_patterns(NOC_EJECT, packets), "base": 0}
        of, step = serial, 1
        if self._multicast == Multicast.CHAIN:
            of, step = self._serial[self._by_source[: self._n_of_source[0]]][message], 0
            source = self._run.packets.source[packets]
            columns["base"] = (source << PACKET_SHIFT) + serial
        if not np.array_equal(of, np.arange(n)):
            columns["of"] = of
        ahead, slack = np.zeros(len(pes), np.int64), np.empty((len(pes), n), np.int32)
        received = self._run.columns.received_cycle
        arrivals(self._injected, of, nodes, received, MOST_AHEAD, ahead, slack)
        eject = lists.add(
            Stream.EJECT, nodes, n, slack, self._inject_list, {"ahead": ahead}, columns=columns,
            step=step,
        )  # fmt: skip
        pattern = self._single(Memory.EVENT_FIFO, WRITE, MESSAGE_BYTES)
        return lists.add(
            Stream.PUSH, nodes, n, leader=eject, member=self._fifo_places(pes),
            columns={"base": 0, "pattern": pattern}, **self._fifo,
        )  # fmt: skip

    @property
    def _fifo(self) -> dict[str, int]:
        """How the event FIFO's addresses go on from message to message."""
        return {"step": MESSAGE_BYTES, "modulo": MESSAGE_BYTES * self._machine.pe.event_fifo}

    def _fifo_places(self, pes: list[int]) -> dict[str, Ints]:
        return {
            "base_offset": MESSAGE_BYTES * (self._run.fifo_base[pes] % self._machine.pe.event_fifo)
        }

    def _pointers(self, p: int, event: NDArray[Any]) -> Ints:
        """Return the PE's pointer, counted from its layer's first, of each event."""
        step = self._run.step
        channels = step.shape.group_channels
        strides = step.shape.window.strides
        rank = step.rows.group_rank[p, event[:, Event.CHANNEL] // channels]
        channel = rank * channels + event[:, Event.CHANNEL] % channels
        result: Ints = channel * strides[0] * strides[1] + event[:, Event.PHASE]
        return result

    def _multiply(self, pes: list[int], message: Ints, push: int) -> None:
        """Add the lists of events that PEs take, load and multiply."""
        step, tables, n, lists = self._run.step, self._tables, len(message), self._lists
        nodes = np.array(pes) + 1
        is_event = message < len(self._run.messages.event)
        event = self._run.messages.event[message[is_event]]
        run, pattern, base = np.zeros((3, n), np.int64)
        run[~is_event] = -1
        run[is_event] = self._pointers(pes[0], event)
        pattern[is_event], base[is_event] = tables.of_events(event), tables.bases(event)
        runs = {"run_offset": tables.run + step.rows.pointer_first[pes]}
        mac_lag = self._machine.pe.weight_latency_cycles + 2
        slack, n_stalls, stalls = self._stages(pes, message, run, pattern, mac_lag)
        columns: dict[str, Any] = {"pattern": constant(pattern), "base": 0}
        if not self._is_plain:
            columns["run"] = run
        load = lists.add(
            Stream.LOAD, nodes, n, slack[0], push, runs | {"stalls": n_stalls[0]}, stalls[0],
            columns, walks=1, queues=1, least=1, lag=LOAD_LAG, pattern_offset=tables.load,
        )  # fmt: skip
        pop = self._single(Memory.EVENT_FIFO, READ, MESSAGE_BYTES)
        lists.add(
            Stream.POP, nodes, n, leader=load, member=self._fifo_places(pes),
            columns={"pattern": pop, "base": 0}, lag=-1, **self._fifo,
        )  # fmt: skip
        of = None if is_event[: len(event)].all() else np.flatnonzero(is_event)
        pointer = self._single(Memory.POINTER, READ, POINTER_BYTES)
        lists.add(
            Stream.POINTER, nodes, len(event), leader=load,
            member={"base_offset": POINTER_BYTES * step.pointer_base[pes]},
            columns={"pattern": pointer, "base": 0, "of": of}, lag=-1, run_step=POINTER_BYTES,
        )  # fmt: skip
        lists.add(
            Stream.PSUM, nodes, n, slack[1], load, runs | {"stalls": n_stalls[1]}, stalls[1],
            {"base": constant(base)}, walks=1, lag=mac_lag, pattern_offset=tables.psum,
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
            np.array(pes), message, run, self._run.step.rows.pointer_first[pes],
            pattern + tables.psum, int(self._run.step.mapping.is_linear), LOAD_LAG, mac_lag,
            self._zero, columns.received_cycle, columns.taken_cycle, columns.bursts,
            columns.burst_cycle, columns.burst_first, columns.burst_count, columns.burst_message,
            tables.entry_of_row, tables.first_entry, tables.entries.kind, self._periods,
            slack[0], slack[1], n_stalls, stall,
        )  # fmt: skip
        of_load, of_mac = stall[:n_load], stall[n_load : int(n_stalls.sum())]
        return slack, n_stalls, (self._stall_rows(of_load), self._stall_rows(of_mac))

    @staticmethod
    def _stall_rows(stall: NDArray[Any]) -> NDArray[Any]:
        rows = np.empty(len(stall), STALLS)
        rows["row"], rows["entry"], rows["cycles"] = stall.T
        return rows

    # ---- PEs fire

    def _fire(self) -> Ints:
        """Add the lists of scans; return their numbers."""
        run, tables, columns = self._run, self._tables, self._run.columns
        order, mapping, pe = run.fire, run.step.mapping, self._machine.pe
        n_steps, n_chunks = len(order.step_first) - 1, len(order.chunk)
        start = np.zeros(n_chunks, np.int64)
        stall = np.empty((int(columns.bursts[Burst.FIRE].sum()), 3), np.uint32)
        n_stalls = np.zeros(self._machine.n_pes, np.int64)
        n = chunk_starts(
            n_steps, columns.bursts[Burst.FIRE], columns.burst_cycle[Burst.FIRE],
            columns.burst_first[Burst.FIRE], columns.burst_count[Burst.FIRE],
            start, n_stalls, stall,
        )  # fmt: skip
        stalls = self._stall_rows(stall[:n])
        rows = np.diff(order.chunk_first)
        self._firing = np.flatnonzero(rows)
        self._chunks = rows[self._firing]
        of_chunk = np.repeat(np.arange(len(rows)), rows)
        length = np.full(n_chunks, n_steps, np.int64)
        np.add.at(length, stalls["row"], stalls["cycles"])
        of_stall = np.repeat(np.arange(len(rows)), n_stalls)
        stalls["row"] -= order.chunk_first[of_stall].astype(np.uint32)
        start -= self._zero
        slack = start.copy()
        is_next = np.ones(n_chunks, bool)
        is_next[order.chunk_first[:-1][rows > 0]] = False
        slack[1:][is_next[1:]] -= (start + length)[:-1][is_next[1:]]
        slot, size = order.chunk.T
        number, at = np.divmod(slot, mapping.filters)
        base = number * mapping.group_words * 4 * pe.lanes + at // pe.lanes * pe.psum_bank_bytes
        if pe.fire_lanes == 1:
            base = base + 4 * (at % pe.lanes)
        words = -(-size // pe.lanes)
        self._biases = 4 * slot, size, of_chunk
        blocks = np.zeros(max(tables.fire) + 1, np.int64)
        blocks[list(tables.fire)] = list(tables.fire.values())
        return self._lists.add_each(
            Stream.FIRE, self._firing + 1, self._chunks, slack,
            member={"stalls": n_stalls[self._firing]}, stalls=stalls,
            columns={"base": base, "pattern": constant(blocks[words]), "run": tables.fire_run},
            walks=1,
        )  # fmt: skip

    def _bias(self, fire: Ints) -> None:
        base, size, _ = self._biases
        sizes = np.unique(size)
        numbers = np.array([self._patterns.single(bias_item(int(s))) for s in sizes], np.int64)
        self._lists.add_each(
            Stream.BIAS, self._firing + 1, self._chunks, leaders=fire,
            member={"base_offset": 4 * self._run.step.bias_base[self._firing]},
            columns={
                "base": base,
                "pattern": constant(numbers[np.searchsorted(sizes, size)]),
            },
        )  # fmt: skip

    # ---- PEs send, storage collects

    def _send(self, with_values: bool) -> Ints:
        """Add the lists of packets that PEs send; return a list by node, -1 for none."""
        run = self._run
        packets = self._by_source[self._n_of_source[0] :]
        rows = self._n_of_source[1:]
        senders = np.flatnonzero(rows) + 1
        created = run.packets.created[packets] - self._zero
        slack = steps(created)
        first = (np.cumsum(rows) - rows)[rows > 0]
        slack[first] = created[first]
        columns: dict[str, Any] = {
            "kind": run.packets.kind[packets],
            "pattern": self._flit_patterns(NOC_INJECT, packets),
            "base": 0,
        }
        if with_values:
            value = np.zeros(len(packets), np.int64)
            is_output = run.packets.kind[packets] == Kind.FIRED
            output = run.packets.item[packets[is_output]]
            value[is_output] = run.columns.fired_output[output, 3] - run.output.tensor.zero_point
            columns["value"] = value
        numbers = self._lists.add_each(
            Stream.SEND, senders, rows[rows > 0], slack, columns=columns,
            member={"base_offset": senders << PACKET_SHIFT}, least=1, step=1,
        )  # fmt: skip
        of_node = np.full(self._machine.mesh.n_nodes, -1, np.int64)
        of_node[senders] = numbers
        return of_node

    def _collect(self, sent: Ints) -> None:
        run, columns = self._run, self._run.columns
        packets = columns.received_packet[0, : columns.received[0]]
        cycle = columns.received_cycle[0, : columns.received[0]]
        source = run.packets.source[packets]
        order = np.argsort(source.astype(np.int16), kind="stable")
        packets, cycle = packets[order], cycle[order]
        rows = np.bincount(source, minlength=len(sent))
        senders = np.flatnonzero(rows)
        of = self._serial[packets]
        first = np.cumsum(rows) - rows
        is_identity = (of == np.arange(len(of)) - np.repeat(first, rows)).all()
        self._lists.add_each(
            Stream.COLLECT, np.zeros(len(senders), np.int64), rows[senders],
            cycle - run.packets.created[packets], sent[senders],
            {"base_offset": senders << PACKET_SHIFT}, step=1,
            columns={
                "of": None if is_identity else of,
                "base": 0,
                "pattern": self._flit_patterns(NOC_EJECT, packets),
            },
        )  # fmt: skip

    def _write(self) -> None:
        run, columns = self._run, self._run.columns
        packets = columns.received_packet[0, : columns.received[0]]
        is_output = run.packets.kind[packets] == Kind.FIRED
        cycle = columns.received_cycle[0, : columns.received[0]][is_output]
        output = run.packets.item[fired_packets(run.packets, columns)]
        k, y, x = columns.fired_output[output, :3].astype(np.int64).T
        channels, height, width = volume(run.output.tensor)
        address = np.empty(run.output.tensor.size, np.int64)
        address[run.output.flat] = run.output.address
        base = address[(k * height + y) * width + x]
        fields, where = self._appended(base, k if self._order == "channel" else y)
        self._lists.add(
            Stream.STORAGE_WRITE, [0], len(cycle), steps(cycle - self._zero)[None],
            columns={"pattern": self._single(Memory.STORAGE, WRITE, MESSAGE_BYTES), **where},
            least=1, **fields,
        )  # fmt: skip

    @property
    def _order(self) -> str:
        return self._machine.storage.event_order

    def _appended(
        self, address: Ints, queue: Ints
    ) -> tuple[dict[str, int], dict[str, NDArray[Any] | int]]:
        """Return fields and columns of writes: to queues by row or channel, or as they are."""
        channels, height, width = volume(self._run.output.tensor)
        length = MESSAGE_BYTES * (height if self._order == "channel" else channels) * width
        entry = address - queue * length - MESSAGE_BYTES * ranks(queue)
        if self._order == "raster" or not len(entry) or (entry != entry[0]).any():
            return {}, {"base": address}
        return {"step": MESSAGE_BYTES, "queue_step": length}, {
            "base": int(entry[0]),
            "queue": queue,
        }
