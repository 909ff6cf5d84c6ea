"""What PEs fired and storage collected in a wave, as lists of a trace."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.decode import ranks
from ...traces.lists import Lists, Rule
from ...traces.schema import PACKET_SHIFT
from ..activations import volume
from ..kinds import Kind
from ..patterns import WRITE, Item
from ..streams import NOC_EJECT, NOC_INJECT, Stream, steps
from .bursts import chunk_starts
from .fire_patterns import FirePatterns
from .machine import Machine
from .patterns import Patterns
from .pe import BIAS_BYTES, MESSAGE_BYTES
from .run import WaveRun, fired_packets
from .sources import Sources, constant, stall_rows
from .state import Burst

Ints = NDArray[np.int64]


class FireLists:
    """Makes the lists of a wave's fire phase, from the psums to storage.

    Parameters
    ----------
    run : WaveRun
    tables : FirePatterns
        Of the wave.
    patterns : Patterns
    sources : Sources
    machine : Machine
    lists : Lists
        To fill.
    """

    def __init__(
        self,
        run: WaveRun,
        tables: FirePatterns,
        patterns: Patterns,
        sources: Sources,
        machine: Machine,
        lists: Lists,
    ) -> None:
        self._run, self._tables, self._patterns = run, tables, patterns
        self._sources, self._machine, self._lists = sources, machine, lists

    def make(self, with_values: bool) -> None:
        """Fill the lists."""
        if self._run.wave.fires:
            self._scan()
        self._collect(self._send(with_values))
        self._write()

    def _scan(self) -> None:
        """Add the lists of psums and biases that PEs read."""
        run, tables, bursts = self._run, self._tables, self._run.columns.bursts[Burst.FIRE]
        columns, n_steps = run.columns, len(run.fire.step_first) - 1
        start = np.zeros(len(tables.base), np.int64)
        stall = np.empty((int(bursts.sum()), 3), np.uint32)
        n_stalls = np.zeros(self._machine.n_pes, np.int64)
        n = chunk_starts(
            n_steps, bursts, columns.burst_cycle[Burst.FIRE], columns.burst_first[Burst.FIRE],
            columns.burst_count[Burst.FIRE], start, n_stalls, stall,
        )  # fmt: skip
        stalls = stall_rows(stall[:n])
        slack = start
        end = slack + n_steps
        np.add.at(end, stalls["row"], stalls["cycles"])
        follows = np.flatnonzero(~tables.is_first)
        slack[follows] -= end[follows - 1]
        of_stall = np.repeat(np.arange(len(n_stalls)), n_stalls)
        stalls["row"] -= run.fire.chunk_first[of_stall].astype(np.uint32)
        scans = self._lists.add_each(
            Stream.FIRE, tables.pes + 1, tables.chunks, Rule(walks=1),
            {"base": tables.base, "pattern": constant(tables.pattern), "run": tables.run},
            slack, member={"stalls": n_stalls[tables.pes]}, stalls=stalls,
        )  # fmt: skip
        self._lists.add_each(
            Stream.BIAS, tables.pes + 1, tables.chunks, Rule(),
            {"base": tables.bias_base, "pattern": constant(tables.bias_pattern)}, leaders=scans,
            member={"base_offset": BIAS_BYTES * run.block.bias_base[tables.pes]},
        )  # fmt: skip

    def _send(self, with_values: bool) -> Ints:
        """Add the lists of packets that PEs send; return a list by node, -1 for none."""
        run = self._run
        packets = self._sources.of_pes
        rows = self._sources.count[1:]
        senders = np.flatnonzero(rows) + 1
        created = run.packets.created[packets] - run.cycle0
        slack = steps(created)
        first = (np.cumsum(rows) - rows)[rows > 0]
        slack[first] = created[first]
        columns: dict[str, Any] = {
            "kind": run.packets.kind[packets],
            "pattern": self._sources.patterns(NOC_INJECT, packets),
            "base": 0,
        }
        if with_values:
            value = np.zeros(len(packets), np.int64)
            is_output = run.packets.kind[packets] == Kind.FIRED
            output = run.packets.item[packets[is_output]]
            value[is_output] = run.columns.fired_output[output, 3] - run.output.tensor.zero_point
            columns["value"] = value
        numbers = self._lists.add_each(
            Stream.SEND, senders, rows[rows > 0], Rule(least=1, step=1), columns, slack,
            member={"base_offset": senders << PACKET_SHIFT},
        )  # fmt: skip
        of_node = np.full(self._machine.mesh.n_nodes, -1, np.int64)
        of_node[senders] = numbers
        return of_node

    def _collect(self, sent: Ints) -> None:
        run, columns = self._run, self._run.columns
        packets = columns.received_packet[0, : columns.received[0]]
        cycle = columns.received_cycle[0, : columns.received[0]].astype(np.int64)
        source = run.packets.source[packets]
        order = np.argsort(source.astype(np.int16), kind="stable")
        packets, cycle = packets[order], cycle[order]
        rows = np.bincount(source, minlength=len(sent))
        senders = np.flatnonzero(rows)
        of = self._sources.serial[packets]
        first = np.cumsum(rows) - rows
        is_identity = (of == np.arange(len(of)) - np.repeat(first, rows)).all()
        door = self._sources.patterns(NOC_EJECT, packets)
        self._lists.add_each(
            Stream.COLLECT, np.zeros(len(senders), np.int64), rows[senders], Rule(step=1),
            {"of": None if is_identity else of, "base": 0, "pattern": door},
            cycle - (run.packets.created[packets] - run.cycle0), sent[senders],
            {"base_offset": senders << PACKET_SHIFT},
        )  # fmt: skip

    def _write(self) -> None:
        run, columns = self._run, self._run.columns
        packets = columns.received_packet[0, : columns.received[0]]
        is_output = run.packets.kind[packets] == Kind.FIRED
        cycle = columns.received_cycle[0, : columns.received[0]][is_output].astype(np.int64)
        output = run.packets.item[fired_packets(run.packets, columns)]
        k, y, x = columns.fired_output[output, :3].astype(np.int64).T
        channels, height, width = volume(run.output.tensor)
        address = np.empty(run.output.tensor.size, np.int64)
        address[run.output.flat] = run.output.address
        base = address[(k * height + y) * width + x]
        pattern = self._patterns.single(Item(self._machine.tensor_memory, WRITE, MESSAGE_BYTES))
        port = np.arange(len(cycle)) - np.searchsorted(cycle, cycle)
        if not port.any():
            rule, where = self._appended(base, k if self._order == "channel" else y)
            self._lists.add(
                Stream.STORAGE_WRITE, [0], len(cycle), rule, {"pattern": pattern, **where},
                steps(cycle)[None],
            )  # fmt: skip
            return
        for number in range(int(port.max()) + 1):
            mine = port == number
            self._lists.add(
                Stream.STORAGE_WRITE, [0], int(mine.sum()), Rule(least=1),
                {"pattern": pattern, "base": base[mine]}, steps(cycle[mine])[None],
            )  # fmt: skip

    @property
    def _order(self) -> str:
        return self._machine.storage.event_order

    def _appended(self, address: Ints, queue: Ints) -> tuple[Rule, dict[str, NDArray[Any] | int]]:
        """Return rule and columns of writes: to queues by row or channel, or as they are."""
        channels, height, width = volume(self._run.output.tensor)
        length = MESSAGE_BYTES * (height if self._order == "channel" else channels) * width
        entry = address - queue * length - MESSAGE_BYTES * ranks(queue)
        if self._order == "raster" or not len(entry) or (entry != entry[0]).any():
            return Rule(least=1), {"base": address}
        rule = Rule(least=1, step=MESSAGE_BYTES, queue_step=length)
        return rule, {"base": int(entry[0]), "queue": queue}
