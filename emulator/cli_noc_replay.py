"""The command line's ``firemesh noc replay``."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from .cli_noc_options import (
    COMPILING,
    INTERRUPTED,
    MOST_CYCLES,
    AsJson,
    Buffer,
    K,
    Out,
    Router,
    Routing,
    Side,
    Topology,
    Vcs,
    setup,
)
from .console import waiting

if TYPE_CHECKING:
    from ..noc.packet_trace import PacketTrace
    from ..noc.simulate import Simulation
    from .noc_setup import NocSetup

Piece: TypeAlias = "tuple[PacketTrace | None, int]"
"""Packets, and the cycle before which the run is to stop for the next piece."""
FORMATS: dict[str, dict[str, int]] = {
    "packets": {},
    "noxim-table": {"size": 2, "cycles": 10000, "seed": 1},
    "noxim-hardcoded": {"size": 2},
}
"""What a format's files do not hold, by option."""


def replay(
    trace: Annotated[
        Path, typer.Argument(metavar="TRACE", help="Lines `cycle src dst size`; dst may be 1,2,5.")
    ],
    k: K = 8,
    width: Side = None,
    height: Side = None,
    topology: Topology = "mesh",
    routing: Routing = "",
    router: Router = "P4",
    vcs: Vcs = None,
    buffer: Buffer = None,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="packets, noxim-table or noxim-hardcoded.")
    ] = "packets",
    size: Annotated[
        int | None,
        typer.Option(metavar="FLITS", help="Of a packet of Noxim's files, which hold none; or 2."),
    ] = None,
    cycles: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_CYCLES,
            help="In which a Noxim table makes packets; or 10000.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of a Noxim table's packets; or 1.")
    ] = None,
    out: Out = None,
    links: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where a map of the links' load goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run packets through a network; tell when each left its source and arrived."""
    given = {"size": size, "cycles": cycles, "seed": seed}
    noxim = _noxim(format, {name: value for name, value in given.items() if value is not None})
    described = setup(k, width, height, topology, routing, router, vcs, buffer)
    _check_files(described, {"--out": out, "--links": links}, (trace, topology, router))
    with waiting(COMPILING):
        from ..noc.simulate import Simulation

        simulation = Simulation(described.network())
        pieces = _read(trace, format, simulation.network.n_nodes, noxim)
    rows, end = _run(simulation, pieces)
    if out and (end is None or len(rows)):
        _write_rows(out, rows)
    if end and not isinstance(end, KeyboardInterrupt):
        kept = f"; the {len(rows):,} deliveries before are in {out}" if out and len(rows) else ""
        raise type(end)(f"{end}{kept}")
    if links:
        _draw_links(links, described, simulation, trace.name)
    _tell(_summary(simulation, rows), as_json)
    if end:
        arrived = simulation.n_created - simulation.n_alive
        told = f"interrupted: {arrived:,} of {simulation.n_created:,} packets created have arrived"
        typer.echo(told, err=True)
        raise typer.Exit(INTERRUPTED)


def _noxim(form: str, given: dict[str, int]) -> dict[str, int]:
    """Return what Noxim's files do not hold; a value that the format has no use for is refused."""
    from .machine import MachineError

    if form not in FORMATS:
        raise MachineError(f"--format: must be one of {', '.join(FORMATS)}, got {form}")
    for name in given:
        if name not in FORMATS[form]:
            raise MachineError(f"--{name}: is not of --format {form}; leave it out")
    return FORMATS[form] | given


def _check_files(
    described: "NocSetup", outputs: dict[str, Path | None], inputs: tuple[str | Path, ...]
) -> None:
    """Raise when a file cannot be written, before anything runs."""
    from .machine import MachineError
    from .outputs import check_figure, check_outputs

    check_outputs(outputs, inputs)
    check_figure("--links", outputs["--links"])
    if outputs["--links"] and not described.is_grid:
        raise MachineError(f"--links: needs a mesh or torus, got the graph {described.topology}")


def _read(path: Path, form: str, n_nodes: int, noxim: dict[str, int]) -> Iterator[Piece]:
    """Return pieces of a trace; what is wrong with it is told before the first."""
    from ..noc.noxim import read_noxim_hardcoded, read_noxim_table
    from ..noc.packet_trace import read_trace
    from ..noc.simulate import END_OF_TIME
    from ..noc.traffic import CHUNK_CYCLES, table_packets
    from .noc_setup import as_option

    try:
        if form == "packets":
            return iter([(read_trace(path, n_nodes), END_OF_TIME)])
        if form == "noxim-hardcoded":
            return iter([(read_noxim_hardcoded(path, n_nodes, noxim["size"]), END_OF_TIME)])
        table = read_noxim_table(path, n_nodes)
        chunks = table_packets(table, noxim["size"], noxim["cycles"], noxim["seed"])
    except ValueError as error:
        raise as_option(error) from None
    ends = count(CHUNK_CYCLES, CHUNK_CYCLES)
    return chain(zip(chunks, ends, strict=False), [(None, END_OF_TIME)])


def _run(simulation: "Simulation", pieces: Iterable[Piece]) -> tuple[Any, BaseException | None]:
    """Return all deliveries, in order, and what ended the run too early."""
    from ..noc.network import NetworkError
    from ..noc.simulate import in_order

    found, end = [], None
    try:
        for packets, until in pieces:
            for deliveries in simulation.run(packets, until):
                found.append(deliveries)
    except (KeyboardInterrupt, NetworkError) as error:
        end = error
    return in_order([*found, *simulation.run(until=0)]), end


def _write_rows(path: Path, rows: Any) -> None:
    import numpy as np

    from .outputs import whole

    with whole(path) as file:
        file.write(",".join(rows.dtype.names) + "\n")
        np.savetxt(file, rows, fmt="%d", delimiter=",")


def _draw_links(path: Path, described: "NocSetup", simulation: "Simulation", name: str) -> None:
    from .noc_figures import draw_links

    network = simulation.network
    title = f"{name}: {described.router_name}, {described.routing_name}"
    draw_links(path, network.graph, network.state.link_flits, simulation.cycle, title)


def _summary(simulation: "Simulation", rows: Any) -> dict[str, Any]:
    from ..noc.iq_state import Stall

    latency = rows["t_ej_tail"] - rows["t_create"]
    flits = simulation.network.state.link_flits
    told: dict[str, Any] = {
        "packets": simulation.n_created,
        "deliveries": len(rows),
        "flits": int(rows["size"].sum()),
        "cycles": simulation.cycle,
    }
    if len(rows):
        told |= {
            "mean_latency": round(float(latency.mean()), 4),
            "max_latency": int(latency.max()),
            "mean_routers": round(float(rows["routers"].mean()), 4),
        }
    busiest = int(flits[:, :-1].max(initial=0))
    told["busiest_link"] = round(busiest / max(simulation.cycle, 1), 4)
    stalls = simulation.network.stalls().sum(axis=0)
    return told | {f"stalls_{stall.name.lower()}": int(stalls[stall]) for stall in Stall}


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told, indent=1))
        return
    for name, value in told.items():
        typer.echo(f"{name.replace('_', ' '):16} {value:,}")
