"""What a run found: totals, layers, energy; for people, JSON and dataframes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ..noc.iq_state import Stall
from ..noc.topology import LOCAL, PORT_NAMES
from .description import Description
from .energy import energy
from .kinds import STORAGE_NODE, Kind, Memory
from .latency import Latency, added, mean_latency
from .layer_result import LayerResult
from .slots import BUSY, Cause

if TYPE_CHECKING:
    from .hybrid.decision import Decision


class LayerTable(Sequence[LayerResult]):
    """The layers of a run, in network order."""

    def __init__(self, layers: Sequence[LayerResult], machine: Description) -> None:
        self._layers = tuple(layers)
        self._machine = machine

    @overload
    def __getitem__(self, index: int) -> LayerResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerResult]: ...
    def __getitem__(self, index: int | slice) -> LayerResult | Sequence[LayerResult]:
        """Return a layer by position."""
        return self._layers[index]

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._layers)

    def __iter__(self) -> Iterator[LayerResult]:
        """Go through the layers in network order."""
        return iter(self._layers)

    def by_name(self, name: str) -> LayerResult:
        """Return a layer by name.

        Raises
        ------
        KeyError
            Naming the known layers.
        """
        for layer in self._layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self._layers)
        raise KeyError(f"no layer {name!r}; known layers: {known}")

    def records(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per layer; slots as parts of all slots, energy in pJ."""
        return [_record(layer, self._machine) for layer in self._layers]

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame of `records`.

        Raises
        ------
        ImportError
            When pandas is missing; it comes with the extra ``tables``.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError(
                "to_dataframe needs pandas; install it with: pip install 'firemesh[tables]'"
            ) from None
        return pd.DataFrame(self.records())


def _record(layer: LayerResult, machine: Description) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": layer.name,
        "op": layer.op,
        "mode": layer.mode,
        "tile": layer.tile,
        "frames": layer.frames,
        "cycles": layer.cycles,
        "waves": layer.waves,
        "events": layer.events,
        "halo": layer.halo,
        "repeated": layer.repeated,
        "density": layer.density,
        "fired": layer.fired,
        "utilization": layer.utilization,
    }
    record |= {f"slots_{cause.name.lower()}": layer.cause(cause) for cause in Cause}
    for component, pj in energy(layer.activity, machine).items():
        record[f"{component.lower().replace(' ', '_')}_pj"] = pj
    for memory in Memory:
        name = memory.name.lower()
        record[f"{name}_reads"] = int(layer.counts[:, memory, 0].sum())
        record[f"{name}_writes"] = int(layer.counts[:, memory, 1].sum())
    record |= mean_latency(layer.latency)
    cycles = max(layer.cycles, 1)
    record["storage_sends"] = int(layer.sent_flits[STORAGE_NODE]) / cycles
    record["storage_takes"] = int(layer.link_flits[STORAGE_NODE, LOCAL]) / cycles
    for stall in Stall:
        record[f"stalls_{stall.name.lower()}"] = int(layer.stalls[:, stall].sum())
    record["link_flits"] = int(layer.link_flits[:, :4].sum())
    record["delivered_flits"] = int(layer.link_flits[:, 4].sum())
    return record


@dataclass(frozen=True)
class Result:
    """A run of one or more frames.

    Parameters
    ----------
    network, digest : str
        Name and digest of the network.
    machine : Machine, FlexMachine or HybridMachine
    mode : str
    frames : int
    all_outputs : dict
        Name of an output of the network -> array [frames, ...].
    layers : LayerTable
    load_cycles : int
        Cycles in which the weights came in, before cycle 0; 0 where they come in during a frame.
    storage_bytes : int
        Storage that the activations need.
    decision : Decision or None
        What modes of layers were chosen by, on a hybrid machine.
    """

    network: str
    digest: str
    machine: Description
    mode: str
    frames: int
    all_outputs: dict[str, NDArray[Any]]
    layers: LayerTable = field(repr=False)
    load_cycles: int
    storage_bytes: int
    decision: "Decision | None" = field(default=None, repr=False)

    @property
    def outputs(self) -> NDArray[Any]:
        """The network's first output, [frames, ...]."""
        return next(iter(self.all_outputs.values()))

    @property
    def cycles(self) -> int:
        """Cycles of all frames."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def fps(self) -> float:
        """Frames per second at the machine's clock."""
        return self.machine.clock_hz * self.frames / self.cycles if self.cycles else 0.0

    @property
    def slots(self) -> dict[str, int]:
        """Multiplier slots of all PEs by cause."""
        total = sum((layer.slots.sum(axis=0) for layer in self.layers), np.zeros(len(Cause), int))
        return {cause.name.lower(): int(total[cause]) for cause in Cause}

    @property
    def utilization(self) -> float:
        """Part of all multiplier slots in which a multiplier worked, zero weights included."""
        slots = self.slots
        total = sum(slots.values())
        return sum(slots[cause.name.lower()] for cause in BUSY) / total if total else 0.0

    @property
    def link_flits(self) -> NDArray[np.int64]:
        """int64[n_nodes, 5]: flits sent by each router output; the last delivers to the node."""
        return sum((layer.link_flits for layer in self.layers), np.zeros((1, 5), np.int64))

    @property
    def noc(self) -> dict[str, Any]:
        """What the network did.

        Packets at each of their destinations and their latency; flits that storage sends and takes
        per cycle, which is bound where it comes near the number of its ports; the busiest link;
        cycles in which packets waited in routers.
        """
        found = np.zeros((len(Kind), len(Latency)), np.int64)
        stalls = np.zeros(len(Stall), np.int64)
        for layer in self.layers:
            found = added(found, layer.latency)
            stalls = stalls + layer.stalls.sum(axis=0)
        flits = self.link_flits[:, :4]
        source, port = divmod(int(flits.argmax()), 4)
        cycles = max(self.cycles, 1)
        sent = sum(int(layer.sent_flits[STORAGE_NODE]) for layer in self.layers)
        return mean_latency(found) | {
            "storage_sends": sent / cycles,
            "storage_takes": int(self.link_flits[STORAGE_NODE, LOCAL]) / cycles,
            "busiest_link": {
                "node": source,
                "port": PORT_NAMES[port],
                "flits_per_cycle": int(flits[source, port]) / cycles,
            },
            "stalls": {stall.name.lower(): int(stalls[stall]) for stall in Stall},
        }

    @property
    def dram_bytes(self) -> int:
        """Bytes read from DRAM during the frames."""
        return sum(int(layer.bytes[:, Memory.DRAM].sum()) for layer in self.layers)

    @property
    def energy(self) -> dict[str, float]:
        """Energy in pJ by component, of all frames; that of loading the weights is not in it."""
        total: dict[str, float] = {}
        for layer in self.layers:
            for component, pj in energy(layer.activity, self.machine).items():
                total[component] = total.get(component, 0.0) + pj
        return total

    @property
    def power_mw(self) -> float:
        """Mean power."""
        seconds = self.cycles / self.machine.clock_hz
        return sum(self.energy.values()) * 1e-9 / seconds if seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "schema": "firemesh-result",
            "schema_version": 1,
            "network": self.network,
            "network_digest": self.digest,
            "mode": self.mode,
            "frames": self.frames,
            "cycles": self.cycles,
            "load_cycles": self.load_cycles,
            "dram_bytes": self.dram_bytes,
            "fps": self.fps,
            "utilization": self.utilization,
            "slots": self.slots,
            "energy_pj": self.energy,
            "power_mw": self.power_mw,
            "noc": self.noc,
            "storage_bytes": self.storage_bytes,
            "layers": self.layers.records(),
            "outputs": self.outputs.tolist(),
            "all_outputs": {name: array.tolist() for name, array in self.all_outputs.items()},
            "machine": self.machine.model_dump(),
        } | ({"decision": self.decision.to_dict()} if self.decision else {})
