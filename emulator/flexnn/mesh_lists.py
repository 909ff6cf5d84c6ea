"""The packets of loads and drains over the mesh, as lists of a trace.

A round's packets are sent over the network again, from empty, to tell when each was offered and
delivered; the engine kept how long they took.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...noc.packet_trace import PacketTrace
from ...traces.lists import Lists, Rule
from ...traces.schema import PACKET_SHIFT
from ..kinds import Kind
from ..patterns import READ, WRITE, Item
from ..streams import NOC_EJECT, NOC_INJECT, Stream, steps
from .engine import LayerRun
from .exchanges import exchange
from .mesh import PART, Mesh
from .moves import Moves
from .segment_patterns import SegmentPatterns
from .timeline import Mark
from .wires import Load

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Sent:
    """Packets of some rounds, in order, and their deliveries.

    Parameters
    ----------
    source, flits, created : int64[n]
        Node; flits; cycle in which the packet was offered.
    packet, target, cycle : int64[m]
        Of deliveries: number of the packet among these, node, cycle of the tail.
    """

    source: Ints
    flits: Ints
    created: Ints
    packet: Ints
    target: Ints
    cycle: Ints


class MeshLists:
    """Adds the packets of a layer.

    Parameters
    ----------
    run : LayerRun
    lists : Lists
    patterns : SegmentPatterns

    Attributes
    ----------
    counted : int64[n_nodes, 2]
        Packets that each node sent, and that it was given.
    """

    def __init__(self, run: LayerRun, lists: Lists, patterns: SegmentPatterns) -> None:
        self._run, self._lists, self._patterns = run, lists, patterns
        self._mesh = Mesh(run.layer)
        self.counted = np.zeros((run.layer.machine.n_nodes, 2), np.int64)

    def add(self, what: Moves) -> None:
        """Add the packets of some rounds."""
        for begin in range(0, len(what.rounds), PART):
            part = what.part(begin, begin + PART)
            at = slice(part.rounds.first, part.rounds.first + len(part.rounds))
            marks, tree = self._run.marks[at], self._run.loads[at, Load.TREE]
            each = range(len(part.rounds))
            sent = [exchange(self._mesh, part.part(i, i + 1)) for i in each]
            loads, drains = (
                [(e.load, e.loaded) for e in sent],
                [(e.drain, e.drained) for e in sent],
            )
            self._loads(_joined(loads, marks[:, Mark.BEGIN]))
            self._drains(_joined(drains, marks[:, Mark.LEAVE] + tree))

    def _doors(self, door: int, flits: Ints) -> Ints:
        """Return the pattern of each packet at a door."""
        op = WRITE if door == NOC_INJECT else READ
        sizes, which = np.unique(flits, return_inverse=True)
        numbers = [self._patterns.add([Item(door, op, int(size))]) for size in sizes]
        return np.array(numbers, np.int64)[which]

    def _numbered(self, sent: _Sent) -> None:
        self.counted[:, 0] += np.bincount(sent.source, minlength=len(self.counted))
        self.counted[:, 1] += np.bincount(sent.target, minlength=len(self.counted))

    def _loads(self, sent: _Sent) -> None:
        """Add what storage sends, and what arrives at each VPE."""
        if not len(sent.source):
            return
        base = int(self.counted[0, 0])
        leader = self._lists.add(
            Stream.DISTRIBUTE, [0], len(sent.source), Rule(least=1, step=1),
            {"kind": int(Kind.OPERANDS), "pattern": self._doors(NOC_INJECT, sent.flits),
             "base": base},
            steps(sent.created)[None],
        )  # fmt: skip
        order = np.lexsort((sent.cycle, sent.target))
        packet, cycle = sent.packet[order], sent.cycle[order]
        nodes, held = np.unique(sent.target, return_counts=True)
        self._lists.add_each(
            Stream.ARRIVE, nodes, held, Rule(step=1),
            {"of": packet, "base": base, "pattern": self._doors(NOC_EJECT, sent.flits[packet])},
            cycle - sent.created[packet], np.full(len(nodes), leader),
        )  # fmt: skip
        self._numbered(sent)

    def _drains(self, sent: _Sent) -> None:
        """Add what each VPE sends, and when storage takes it."""
        if not len(sent.source):
            return
        order = np.lexsort((sent.created, sent.source))
        nodes, held = np.unique(sent.source, return_counts=True)
        first = np.cumsum(held) - held
        created = sent.created[order]
        slack = steps(created)
        slack[first] = created[first]
        base = np.repeat(nodes << PACKET_SHIFT | self.counted[nodes, 0], held)
        leaders = self._lists.add_each(
            Stream.GATHER, nodes, held, Rule(least=1, step=1),
            {"kind": int(Kind.RESULTS), "pattern": self._doors(NOC_INJECT, sent.flits[order]),
             "base": base},
            slack,
        )  # fmt: skip
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order)) - np.repeat(first, held)
        taken = np.lexsort((sent.cycle, sent.source[sent.packet]))
        packet = sent.packet[taken]
        self._lists.add_each(
            Stream.GATHERED, np.zeros(len(nodes), np.int64), held, Rule(step=1),
            {"of": place[packet], "base": base,
             "pattern": self._doors(NOC_EJECT, sent.flits[packet])},
            sent.cycle[taken] - sent.created[packet], leaders,
        )  # fmt: skip
        self._numbered(sent)


def _joined(rounds: list[tuple[PacketTrace, NDArray[Any]]], begin: Ints) -> _Sent:
    """Return the packets of rounds, each from its own cycle on."""
    columns: list[list[Ints]] = [[] for _ in range(6)]
    n = 0
    for (packets, rows), cycle in zip(rounds, begin, strict=True):
        first = np.flatnonzero(np.diff(rows["idx"], prepend=-1))
        found = (
            packets.source, packets.flits, cycle + rows["t_inj_head"][first],
            n + rows["idx"], rows["dst"], cycle + rows["t_ej_tail"],
        )  # fmt: skip
        for column, values in zip(columns, found, strict=True):
            column.append(np.asarray(values, np.int64))
        n += len(packets.source)
    return _Sent(*(np.concatenate([*column, np.zeros(0, np.int64)]) for column in columns))
