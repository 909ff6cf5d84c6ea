"""What a round sends over the mesh: oracle of docs/flexnn-cycles.md, section 8.

Messages and packets in plain Python; how long they take in the network is asked of
`firemesh.noc.simulate.replay`, on a network that is built anew for each question.
"""

from __future__ import annotations

import itertools

import numpy as np
from oracle_flexnn_ranges import TENSORS, has_work, over, points

from firemesh.noc.network import Network
from firemesh.noc.packet_trace import PacketTrace
from firemesh.noc.simulate import replay
from firemesh.noc.topology import mesh, renumbered

STORAGE = 0


def place_of(node: int, machine: dict) -> int:
    """Return where a node lies, as x + columns * y: storage, VPEs row by row, then bare routers."""
    columns, rows = machine["array"]["columns"], machine["array"]["rows"]
    if node > columns * rows:
        return node - columns * rows
    row, column = divmod(node - 1, columns)
    return column + columns * (row + 1) if node else 0


def elements(layer, tensor: str, ranges: dict) -> frozenset:
    """Return the places of a box's elements."""
    spans = {d: range(*ranges[d]) for d in TENSORS["OF" if tensor == "psums" else tensor]}
    if tensor == "IF":
        channels = [
            g * layer.sizes["IC"] + ic for g, ic in itertools.product(spans["G"], spans["IC"])
        ]
        rows = layer.span(0, ranges["OY"], ranges["FY"])
        columns = layer.span(1, ranges["OX"], ranges["FX"])
        return frozenset(itertools.product(spans["N"], channels, rows, columns))
    return frozenset(itertools.product(*spans.values()))


def loads(layer, mapping, this, machine: dict, used) -> list[tuple[int, tuple, int]]:
    """Return (source, nodes, bytes) of the messages of a round's load."""
    found = []
    for tensor in this.loads:
        wanted, size = {}, {}  # in the order of the first VPE
        for v in used:
            ranges = mapping.vpe_ranges(this, v)
            if not has_work(ranges) or (tensor == "psums" and not mapping.holds_results(v)):
                continue
            box = elements(layer, tensor, ranges)
            wanted.setdefault(box, []).append(v + 1)
            size[box] = layer.box_bytes(tensor, ranges)
        found += [(STORAGE, tuple(nodes), size[box]) for box, nodes in wanted.items() if size[box]]
    return found


def drains(mapping, this, machine: dict, used, is_final: bool) -> list[tuple[int, tuple, int]]:
    """Return (source, nodes, bytes) of the messages of a round's drain."""
    found = []
    for v in used:
        m = points(mapping.vpe_ranges(this, v))
        if mapping.holds_results(v) and m:
            found.append((v + 1, (STORAGE,), m if is_final else 4 * m))
    return found


def packets(messages, machine: dict) -> list[tuple[int, tuple, int]]:
    """Return (source, nodes, flits) of the packets of messages."""
    noc = machine["noc"]
    most = machine["sdn"]["packet_flits"]
    if noc["router"] != "simple" and noc["multicast"] == "tree":
        most = min(most, noc["buffer_flits"])
    found = []
    for source, nodes, n_bytes in messages:
        left = over(8 * n_bytes, noc["flit_bits"])
        while left:
            flits = min(left, most)
            left -= flits
            if noc["multicast"] == "tree":
                found.append((source, nodes, flits))
            else:
                found += [(source, (node,), flits) for node in nodes]
    return found


def network(machine: dict) -> Network:
    """Return the network, new."""
    array, noc = machine["array"], machine["noc"]
    grid = mesh(array["columns"], array["rows"] + 1)
    order = sorted(grid, key=[place_of(node, machine) for node in grid].index)
    return Network(
        renumbered(grid, order), noc["router"], "xy", noc["vcs"],
        noc["buffer_flits"], machine["sdn"]["storage_ports"],
    )  # fmt: skip


def deliveries(sent, machine: dict):
    """Return the deliveries of packets, and the network that they went through."""
    net = network(machine)
    sets = [(node,) for node in range(net.n_nodes)]
    sets += sorted({nodes for _, nodes, _ in sent if len(nodes) > 1})
    columns = [
        np.zeros(len(sent), np.int64),
        np.array([source for source, _, _ in sent], np.int32),
        np.array([flits for _, _, flits in sent], np.int32),
        np.array([sets.index(nodes) for _, nodes, _ in sent], np.int32),
    ]
    return replay(net, PacketTrace(*columns, sets=tuple(sets))), net


def cycles(messages, machine: dict, links=None) -> int:
    """Return how long messages take; count their flits by (node, output) in ``links``."""
    if not messages:
        return 0
    rows, net = deliveries(packets(messages, machine), machine)
    if links is not None:
        for node, output in np.argwhere(net.state.link_flits):
            links[int(node), int(output)] += int(net.state.link_flits[node, output])
    return int(rows["t_ej_tail"].max()) + 1
