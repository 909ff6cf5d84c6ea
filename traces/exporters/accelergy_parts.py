"""The components of a machine as Accelergy knows them, from the tables of a trace."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..reader import Trace
from ..schema import NETWORK_MEMORIES, OPS

CLASSES = {
    "dram": "DRAM",
    "event_fifo": "regfile",
    "rf_if": "regfile",
    "rf_fl": "regfile",
    "rf_of": "regfile",
    "bitmap_if": "regfile",
    "bitmap_fl": "regfile",
    "acc": "regfile",
    "bus": "wire",
}
"""Memory -> Accelergy's class; others are SRAMs."""

CLASSES_WITHOUT_BYTES = ("bus",)

SYSTEM, CHIP, PE = "system", "chip", "PE"
PLACES = {"pe": (PE,), "storage": (CHIP,), "node": (CHIP, PE)}
"""Kind of the units that have a memory -> where there are components."""
PLACES_OF_DRAM = (SYSTEM,)
MAC, LINK = "mac", "link"
COMPUTE, TRANSFER = "compute", "transfer"


class Component(NamedTuple):
    """A component.

    Parameters
    ----------
    name : str
        Within its place.
    place : {"system", "chip", "PE"}
    kind : str
        Accelergy's class.
    attributes : dict
    energies : dict
        Action -> pJ.
    """

    name: str
    place: str
    kind: str
    attributes: dict[str, Any]
    energies: dict[str, float]


def path(place: str, name: str, pes: int | str = "") -> str:
    """Return a component's name from the root on; ``pes`` is its PE, or a range of them."""
    chip = f"{SYSTEM}.{CHIP}"
    return f"{ {SYSTEM: SYSTEM, CHIP: chip, PE: f'{chip}.{PE}[{pes}]'}[place] }.{name}"


def pe_numbers(trace: Trace) -> dict[int, int]:
    """Return unit -> number of the PE, from 0 in the order of units."""
    units = np.flatnonzero(trace.table("units")["kind"] == b"pe").tolist()
    return {unit: number for number, unit in enumerate(units)}


def components(trace: Trace) -> Iterator[Component]:
    """Yield the machine's components: memories, the multipliers of a PE, links."""
    for memory in trace.table("memories"):
        name, kind = (memory[field].decode("utf-8", "replace") for field in ("name", "unit_kind"))
        if name in NETWORK_MEMORIES or not (memory["bytes"] or name in CLASSES_WITHOUT_BYTES):
            continue
        places = PLACES_OF_DRAM if name == "dram" else PLACES.get(kind, ())
        for place in places:
            yield _memory(memory, name, place)
    mac = {"datawidth": 8, "multipliers": int(trace.attribute("multipliers"))}
    yield Component(MAC, PE, "intmac", mac, {COMPUTE: float(trace.attribute("mac_pj"))})
    if len(trace.links):
        name, width = f"{LINK}[0..{len(trace.links) - 1}]", int(trace.attribute("flit_bits"))
        energy = {TRANSFER: float(trace.attribute("flit_pj"))}
        yield Component(name, CHIP, "wire", {"datawidth": width}, energy)


def word_bytes(memory: Any) -> int:
    """Return the bytes of an action of a row of table ``memories``; 1 for a bus."""
    return max(1, int(memory["word_bytes"]))


def _memory(memory: Any, name: str, place: str) -> Component:
    width, kind = word_bytes(memory), CLASSES.get(name, "SRAM")
    attributes: dict[str, Any] = {"width": 8 * width, "datawidth": 8 * width}
    if memory["bytes"]:
        attributes["depth"] = -(-int(memory["bytes"]) // width)
        attributes["n_banks"] = int(memory["banks"])
        attributes["n_rd_ports"] = int(memory["read_ports"])
        attributes["n_wr_ports"] = int(memory["write_ports"])
        attributes["n_rdwr_ports"] = 0
    if kind == "DRAM":
        attributes["type"] = "LPDDR4"
    energies = {op: float(memory[f"{op}_byte_pj"]) * width for op in OPS}
    return Component(name, place, kind, attributes, energies)
