"""What a run on a hybrid machine adds to its trace: what either mode does, and conversions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.lists import Lists, Rule
from ...traces.schema import Walk
from ..flexnn.run import FlexRun
from ..flexnn.segment_patterns import SegmentPatterns
from ..flexnn.trace import FlexTrace
from ..host import HostRun
from ..kinds import Memory
from ..layer_result import LayerResult
from ..mnf.run import WaveRun
from ..mnf.trace import MnfTrace
from ..patterns import READ, Item
from ..run_trace import Records, RunTrace
from ..steps import HostStep
from ..streams import Stream, steps
from ..trace_tables import Ports, flat_sizes, shared_tables
from .convert import ConvertRun, ConvertStep, Side
from .forms import EVENTS, ZVC
from .plan import HybridPlan

AnyRun = WaveRun | FlexRun | HostRun | ConvertRun


def merged(one: dict[Memory, Ports], other: dict[Memory, Ports]) -> dict[Memory, Ports]:
    """Return the memories of both modes; one that both have is as large and wide as either."""
    found = one | other
    for memory in one.keys() & other.keys():
        kind, *mine = one[memory]
        _, *theirs = other[memory]
        size, word, banks, bank, reads, writes = map(max, mine, theirs)
        found[memory] = (kind, size, word, banks, bank, reads, writes)
    return found


class HybridTrace:
    """What a run adds to its trace; see `firemesh.emulator.run_trace.RunTrace`.

    Parameters
    ----------
    plan : HybridPlan
    values : bool
        Whether values of weights and events of mode mnf are recorded.
    """

    def __init__(self, plan: HybridPlan, values: bool) -> None:
        self._plan = plan
        timed = [s for s in plan.steps if not isinstance(s, HostStep) or not s.is_free]
        self.number = {step.name: number for number, step in enumerate(timed)}
        self._conversions = [step for step in timed if isinstance(step, ConvertStep)]
        self._mnf = MnfTrace(plan.mnf, values, self.number)
        self._flexnn = FlexTrace(plan.flexnn, self.number)

    def tables(self, values: bool) -> dict[str, NDArray[Any]]:
        """Return the tables that all segments share; with ``values`` those of weights too."""
        machine = self._plan.machine
        pes = [f"pe{p + 1}" for p in range(machine.n_pes)]
        layers = [*self._mnf.layers(), *self._flexnn.layers(), *self._converted()]
        layers.sort(key=lambda row: int(row["id"]))
        memories = merged(self._mnf.memories(), self._flexnn.memories())
        return shared_tables(machine, pes, layers, memories) | self._mnf.own(values)

    def _converted(self) -> list[dict[str, Any]]:
        """Return the rows of conversions in the table of layers."""
        return [
            {
                "id": self.number[step.name],
                "name": step.name,
                "op": "Convert",
                "mode": "convert",
                "output": step.tensor,
                "output_address": self._base(step),
                **flat_sizes(self._plan.network, step.tensor, step.tensor),
            }
            for step in self._conversions
        ]

    def _base(self, step: ConvertStep) -> int:
        """Return the first byte of what a conversion makes."""
        if step.to == EVENTS:
            return self._plan.regions[step.tensor]
        return self._zvc(step.tensor)

    def _zvc(self, tensor: str) -> int:
        """Return the first byte of DRAM of a ZVC tensor."""
        return self._plan.flexnn.tensor_base + self._plan.flexnn.regions[tensor]

    def _side(self, run: AnyRun) -> RunTrace:
        is_mnf = self._plan.modes.get(run.step.name) == "mnf"
        return self._mnf if is_mnf else self._flexnn

    def add(self, run: AnyRun, lists: Lists, records: Records) -> None:
        """Add what a layer, a wave of it, or a conversion left behind."""
        if not isinstance(run, ConvertRun):
            self._side(run).add(run, lists, records)
            return
        begin = 0
        for side in run.sides:
            self._half(run, side, begin, lists, SegmentPatterns(records))
            begin += side.accesses

    def _half(
        self, run: ConvertRun, side: Side, begin: int, lists: Lists, patterns: SegmentPatterns
    ) -> None:
        """Add what a conversion reads, or what it writes, from cycle ``begin`` of it on."""
        stream = Stream.CONVERT_READ if side.op == READ else Stream.CONVERT_WRITE
        if (side.op == READ) == (run.step.to == ZVC):
            address = run.part.address
            if len(address):
                pattern = patterns.add([Item(side.memory, side.op, side.bytes // side.accesses)])
                columns: dict[str, Any] = {"base": address, "pattern": pattern}
                cycles = steps(begin + np.arange(len(address)))
                lists.add(stream, [0], len(address), Rule(least=1), columns, cycles[None])
            return
        width = self._plan.machine.flexnn.dram.bytes_per_cycle
        pattern = patterns.add([Item(side.memory, side.op, width, a_step=width)])
        base = np.array([self._zvc(run.step.tensor)])
        columns = {"span": np.array([side.bytes]), "base": base, "pattern": pattern}
        lists.add(stream, [0], 1, Rule(walks=Walk.SPAN), columns, np.array([[begin]]))

    def wave_of(self, run: AnyRun) -> int:
        """Return the number of the wave; 0 of what is one segment."""
        return 0 if isinstance(run, ConvertRun) else self._side(run).wave_of(run)

    def doors(self, run: AnyRun, result: LayerResult, counted: NDArray[Any]) -> None:
        """Count what goes through the network's doors into int64[2, units, memories, 2]."""
        if not isinstance(run, ConvertRun):
            self._side(run).doors(run, result, counted)
