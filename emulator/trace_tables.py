"""What all segments of a trace share: units, memories, layers, patterns and runs, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.network import Network
from ..noc.iq_state import Stall
from ..noc.topology import neighbours
from ..traces.schema import NETWORK_MEMORIES, table
from . import energy
from .description import BUS, Description
from .interconnect import places, topology
from .kinds import Kind, Memory
from .slots import BUSY, IDLE, Cause
from .streams import STREAMS

Ports = tuple[str, int, int, int, int, int, int]
"""Of a memory: kind of its units, bytes, bytes of a word, banks, bytes of a bank, ports."""

MEMORIES = [memory.name.lower() for memory in Memory] + list(NETWORK_MEMORIES)


def named_tables() -> dict[str, NDArray[Any]]:
    """Return the tables that name causes, waits, kinds of packets and streams, of every mode."""
    return {
        "causes": table(
            "causes",
            id=np.arange(len(Cause)),
            name=[cause.name.lower() for cause in Cause],
            is_busy=[cause in BUSY for cause in Cause],
            is_idle=[cause in IDLE for cause in Cause],
        ),
        "waits": table(
            "waits", id=np.arange(len(Stall)), name=[stall.name.lower() for stall in Stall]
        ),
        "kinds": table("kinds", id=np.arange(len(Kind)), name=[kind.name.lower() for kind in Kind]),
        "streams": table(
            "streams",
            id=np.arange(len(STREAMS)),
            name=[stream.name.lower() for stream in STREAMS],
            doc=list(STREAMS.values()),
        ),
    }


DOOR: Ports = ("node", 0, 0, 1, 0, 1, 1)


def shared_tables(
    machine: Description,
    pes: Sequence[str],
    layers: Sequence[Mapping[str, Any]],
    memories: Mapping[Memory, Ports],
) -> dict[str, NDArray[Any]]:
    """Return the tables that every mode has.

    Parameters
    ----------
    machine : Description
    pes : sequence of str
        Names of the PEs.
    layers : sequence of dict
        Rows of the table of layers.
    memories : dict
        Those that the machine has.
    """
    links = mesh_links(machine)
    return {
        "units": units(machine, pes),
        "memories": memory_table(machine, memories),
        "links": table("links", id=np.arange(len(links)), source=links[:, 0], target=links[:, 2]),
        **named_tables(),
        "layers": table("layers", **{name: [row[name] for row in layers] for name in layers[0]}),
    }


def memory_table(machine: Description, memories: Mapping[Memory, Ports]) -> NDArray[Any]:
    """Return the table of memories; those that the machine does not have have no bytes."""
    doors = DOOR, (*DOOR[:5], machine.storage_ports, DOOR[6])
    access = energy.table(machine.energy).access_pj
    bus = 8 * energy.table(machine.energy).hop_bit_pj
    prices = [bus if m == Memory.BUS else access[m.name.lower()].byte_pj for m in Memory]
    none: Ports = ("none", 0, 0, 1, 0, 1, 1)
    columns = list(zip(*[memories.get(memory, none) for memory in Memory], strict=True))
    names = ("unit_kind", "bytes", "word_bytes", "banks", "bank_bytes", "read_ports", "write_ports")
    both = [(*column, *(door[i] for door in doors)) for i, column in enumerate(columns)]
    return table(
        "memories",
        id=np.arange(len(Memory) + 2),
        name=MEMORIES,
        read_byte_pj=[*prices, 0.0, 0.0],
        write_byte_pj=[*prices, 0.0, 0.0],
        **dict(zip(names, both, strict=True)),
    )


def flat_sizes(network: Network, before: str, after: str) -> dict[str, Any]:
    """Return the sizes of two tensors as fields of a layer without a window."""
    names = ("kernel_y", "kernel_x", "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y",
             "dilation_x", "groups")  # fmt: skip
    sizes = [(*network.tensors[name].shape, 1, 1)[:3] for name in (before, after)]
    (c, h, w), (k, p, q) = sizes
    return {
        "channels": c,
        "height": h,
        "width": w,
        "filters": k,
        "ofmap_height": p,
        "ofmap_width": q,
        **dict.fromkeys(names, 0),
        "tile": "",
    }


def units(machine: Description, pes: Sequence[str]) -> NDArray[Any]:
    """Return the table of units: storage, the PEs by name and, on the mesh, bare routers."""
    routers = range(machine.n_nodes - machine.n_units)
    n = machine.n_units + len(routers)
    y, x = np.divmod(places(machine)[:n], machine.sides[0])
    return table(
        "units",
        id=np.arange(n),
        name=["storage", *pes, *(f"router{i + 1}" for i in routers)],
        kind=["storage", *["pe"] * len(pes), *["router"] * len(routers)],
        x=x,
        y=y,
    )


def mesh_links(machine: Description) -> NDArray[np.int64]:
    """Return int64[n, 3]: node, output port and node behind it; the local port delivers.

    None on buses.
    """
    if machine.router_name == BUS:
        return np.zeros((0, 3), np.int64)
    behind = neighbours(topology(machine))
    nodes = np.arange(len(behind))
    behind = np.concatenate([behind, nodes[:, None]], axis=1)
    node, port = np.nonzero(behind >= 0)
    return np.stack([node, port, behind[node, port]], axis=1)
