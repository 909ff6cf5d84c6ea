"""FlexNN's loads and drains over buses and over the mesh: the same schedules, other networks."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...models.architectures import one_layer
from ...models.recipe import Recipe
from ..flexnn.machine import FlexMachine
from ..machine import machine
from ..slots import Cause
from ..tables import percent
from .job import Job, Run
from .sdn_figure import COMPONENTS, draw, key
from .sheet import Sheet
from .study import Report, Study

MACHINE = "flexnn-edge"
TABLE = "eyeriss"
WEIGHTS, ACTIVATIONS = 0.501, 0.233
"""Densities of VGG-16's S1; depth-wise weights stay dense."""

LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "conv3-2": ("VGG-16 conv3_2", {"channels": 256, "filters": 256, "size": 56}),
    "pointwise": (
        "ResNet-50, 1 x 1",
        {"channels": 256, "filters": 64, "size": 56, "kernel": 1},
    ),
    "depthwise": (
        "MobileNetV2, block 3",
        {"channels": 144, "filters": 144, "size": 56, "groups": 144},
    ),
}
"""What each layer is of, and its sizes."""

NETWORKS: dict[str, dict[str, str]] = {
    "bus": {},
    **{
        f"{router} {multicast}": {
            "sdn__kind": "mesh",
            "noc__router": router,
            "noc__multicast": multicast,
        }
        for router in ("simple", "P3")
        for multicast in ("tree", "unicast")
    },
}
"""What differs from the preset."""


def found_machine(network: str) -> FlexMachine:
    """Return the preset with a network of `NETWORKS`."""
    found = machine(MACHINE).replace(**NETWORKS[network])
    assert isinstance(found, FlexMachine)
    return found


def job(layer: str, network: str) -> Job:
    """Return the run of a layer over a network."""
    own = one_layer(layer, **LAYERS[layer][1])
    recipe = Recipe(layer, weights=f"rows:{WEIGHTS}", activations=ACTIVATIONS, own=own)
    name = f"{layer}-{network.replace(' ', '-')}"
    return Job(name, recipe, found_machine(network), searched_on=found_machine("bus"))


def jobs() -> list[Job]:
    """Return the runs of all layers over all networks, layer by layer."""
    return [job(layer, network) for layer in LAYERS for network in NETWORKS]


def report(runs: dict[str, Run]) -> Report:
    """Tell cycles, energy and flits."""
    rows = [
        _row(layer, network, runs)
        for layer in LAYERS
        for network in NETWORKS
        if job(layer, network).name in runs
    ]
    sheets = [_cycles_sheet(rows), _energy_sheet(rows)]
    titles = {layer: f"{layer}: {title}" for layer, (title, _) in LAYERS.items()}
    about = f"{MACHINE}: the same schedules over buses and over the mesh"
    return Report(rows, sheets, _notes(rows), {"sdn": partial(draw, rows, titles, about)})


def _row(layer: str, network: str, runs: dict[str, Run]) -> dict[str, Any]:
    run, bus = runs[job(layer, network).name], runs.get(job(layer, "bus").name)
    pj = run.energy(found_machine(network), TABLE)
    return {
        "layer": layer,
        "network": network,
        "schedule": run.layers[0]["tile"],
        "rounds": run.total("waves"),
        "cycles": run.cycles,
        "times_bus": run.cycles / bus.cycles if bus else None,
        "storage_flits": run.total("sent"),
        "flits": run.total("flits"),
        **{f"slots_{cause.name.lower()}": run.parts[cause] for cause in Cause},
        **{key(name): pj.get(name, 0.0) * 1e-6 for name in COMPONENTS},
        "energy_uj": sum(pj.values()) * 1e-6,
    }


def _times(row: dict[str, Any]) -> str:
    return "" if row["times_bus"] is None else f"{row['times_bus']:.1f}"


def _cycles_sheet(rows: Sequence[dict[str, Any]]) -> Sheet:
    cells = [
        [
            row["layer"],
            row["network"],
            f"{row['cycles'] / 1e3:,.0f}",
            _times(row),
            percent(row["slots_load"]),
            percent(row["slots_drain_bound"]),
            f"{row['storage_flits'] / 1e3:,.0f}",
            f"{row['storage_flits'] / row['cycles']:.2f}",
            f"{row['flits'] / 1e6:,.1f}",
        ]
        for row in rows
    ]
    right = (
        "thousand\ncycles",
        "times\nbus",
        "slots that\nwait to load",
        "to\ndrain",
        "storage's\nk flits",
        "\na cycle",
        "M flits,\nall links",
    )
    return Sheet(
        f"Loads and drains of {MACHINE} over its networks", ("\nlayer", "\nnetwork"), right, cells
    )


def _energy_sheet(rows: Sequence[dict[str, Any]]) -> Sheet:
    shown = [name for name in COMPONENTS if any(row[key(name)] > 0 for row in rows)]
    cells = [
        [
            row["layer"],
            row["network"],
            *(f"{row[key(name)]:,.1f}" for name in shown),
            f"{row['energy_uj']:,.1f}",
        ]
        for row in rows
    ]
    names = [name.replace(" ", "\n") if " " in name else f"\n{name}" for name in shown]
    return Sheet(
        f"Energy in uJ with table {TABLE}", ("\nlayer", "\nnetwork"), (*names, "\nall"), cells
    )


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    mesh, held = found_machine("simple tree"), found_machine("P3 tree")
    flit, (width, height) = mesh.flit_bits // 8, mesh.sides
    entering = mesh.array.columns * mesh.sdn.column_bytes
    return [
        f"loads: storage sends a flit of {flit} bytes a cycle into the mesh; buses bring up to "
        f"{entering} bytes a cycle to {mesh.array.columns} columns, SRAM reads "
        f"{mesh.sram.read_bytes}",
        "hops: every load and drain begins in an empty mesh and ends with its last flit; the "
        f"farthest VPE is {width + height - 2} links away, each a cycle of simple routers and four "
        "of P3, in every round",
        f"drains: a message has a flit at least, so a VPE's byte takes {flit} bytes of the mesh; "
        "xy brings all drains to storage over one link, a flit a cycle, whatever storage's ports",
        "unicast: storage sends each box once for every VPE that wants it",
        f"P3 holds packets of a tree whole, so they have {held.packet_flits} flits, others "
        f"{mesh.packet_flits}; these go over one VC, {held.noc.buffer_flits} flits in five cycles, "
        "which a credit takes to come back",
        "energy of the NoC: flits over all links and deliveries; on buses a byte counts once for "
        f"each VPE that takes it, however long the bus; waiting costs nothing in table {TABLE}",
        *_layer_notes(rows),
        "chosen: a layer's descriptor is the best estimate for cycles on buses, and the same on "
        "all networks; a search on the mesh finds others (firemesh run --set sdn.kind=mesh)",
        f"chosen: weights {WEIGHTS:g} by rows, depth-wise dense; activations {ACTIVATIONS:g}; one "
        f"image, seed 0; the sizes of {MACHINE} are assumed",
    ]


def _layer_notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say of each layer what it is, and what loads over the mesh come to."""
    notes = []
    for layer, (title, _) in LAYERS.items():
        of_layer = {row["network"]: row for row in rows if row["layer"] == layer}
        if not of_layer:
            continue
        first = next(iter(of_layer.values()))
        text = f"{layer}: {title}; {first['schedule']}, {first['rounds']:,} rounds"
        tree, unicast = of_layer.get("simple tree"), of_layer.get("simple unicast")
        if tree and unicast and tree["storage_flits"]:
            copies = unicast["storage_flits"] / tree["storage_flits"]
            per_round = tree["storage_flits"] / tree["rounds"]
            text += (
                f"; {per_round:,.0f} flits of storage a round, each box for {copies:.1f} VPEs in "
                "the mean of flits"
            )
        notes.append(text)
    return notes


STUDY = Study(
    name="flexnn-sdn",
    title="FlexNN's distribution network: buses against the mesh, on three layers",
    file="sdn",
    jobs=jobs,
    report=report,
    has_figures=True,
    workers=1,
)
