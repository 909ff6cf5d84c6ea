"""The command line's ``firemesh noc``: the network alone."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_trace import export
from .console import console, group, progress, waiting

if TYPE_CHECKING:
    from ..noc.packet_trace import PacketTrace
    from ..noc.simulate import Simulation
    from ..noc.sweep import Point
    from .noc_setup import Load, NocSetup

INTERRUPTED = 130
FORMATS = ("packets", "noxim-table", "noxim-hardcoded")
LOADS = "0.02,0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.6,0.7,0.8,0.9,1.0"
COMPILING = "loading; the first time, the router is compiled for about ten seconds"

noc = group("The network alone: replay packets, sweep loads, measure it idle, check its routing.")
noc.command("export")(export)

K = Annotated[int, typer.Option("--k", metavar="K", help="Sides of the mesh or torus.")]
Side = Annotated[int | None, typer.Option(metavar="N", help="Instead of K.")]
Topology = Annotated[
    str,
    typer.Option(
        metavar="mesh|torus|FILE", help="FILE: a graph as .graphml, .gml, or two nodes a line."
    ),
]
Routing = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="xy, yx, west-first, shortest or up-down; default: xy, of a graph shortest.",
    ),
]
Router = Annotated[
    str,
    typer.Option(metavar="NAME|FILE.yaml", help="simple, P4, P3, P2, P4c2, P4islip, or a YAML."),
]
Vcs = Annotated[int | None, typer.Option(metavar="N", help="Virtual channels; default: 4.")]
Buffer = Annotated[int | None, typer.Option(metavar="FLITS", help="Of each VC; default: 8.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Where the table goes.")]


def _setup(
    k: int,
    width: int | None,
    height: int | None,
    topology: str,
    routing: str,
    router: str,
    vcs: int | None,
    buffer: int | None,
) -> "NocSetup":
    from .noc_setup import make_setup

    sides = width if width is not None else k, height if height is not None else k
    return make_setup(topology, *sides, routing, router, vcs, buffer)


@noc.command("replay")
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
        int, typer.Option(metavar="FLITS", help="Of a packet of Noxim's files, which hold none.")
    ] = 2,
    cycles: Annotated[
        int, typer.Option(metavar="N", help="In which a Noxim table makes packets.")
    ] = 10000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of a Noxim table's packets.")] = 1,
    out: Out = None,
    links: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where a map of the links' load goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run packets through a network; tell when each left its source and arrived."""
    from .machine import MachineError

    if format not in FORMATS:
        raise MachineError(f"--format: must be one of {', '.join(FORMATS)}, got {format}")
    setup = _setup(k, width, height, topology, routing, router, vcs, buffer)
    _check_outputs(trace, out, links)
    with waiting(COMPILING):
        from ..noc.simulate import Simulation, in_order

        simulation = Simulation(setup.network())
        packets = _read(trace, format, simulation.network.n_nodes, size, cycles, seed)
    rows = in_order(simulation.run(packets))
    if out:
        _write_rows(out, rows)
    if links:
        _draw_links(links, setup, simulation, trace.name)
    told = _summary(simulation, packets, rows)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
        return
    for name, value in told.items():
        typer.echo(f"{name.replace('_', ' '):16} {value:,}")


def _check_outputs(*paths: Path | None) -> None:
    """Raise when two of the files are the same one."""
    from .machine import MachineError

    given = [path for path in paths if path]
    if len({path.resolve() for path in given}) < len(given):
        raise MachineError(f"{given[-1]}: is given twice; name different files")


def _read(path: Path, form: str, n_nodes: int, size: int, cycles: int, seed: int) -> "PacketTrace":
    from ..noc.noxim import read_noxim_hardcoded, read_noxim_table
    from ..noc.packet_trace import read_trace
    from ..noc.traffic import table_packets
    from .machine import MachineError

    try:
        if form == "packets":
            return read_trace(path, n_nodes)
        if form == "noxim-hardcoded":
            return read_noxim_hardcoded(path, n_nodes, size)
        table = read_noxim_table(path, n_nodes)
        (packets,) = table_packets(table, size, cycles, seed, chunk_cycles=max(cycles, 1))
        return packets
    except ValueError as error:
        raise MachineError(str(error)) from None


def _write_rows(path: Path, rows: Any) -> None:
    """Write deliveries as CSV, whole or not at all."""
    import numpy as np

    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("w", encoding="ascii", newline="") as file:
            file.write(",".join(rows.dtype.names) + "\n")
            np.savetxt(file, rows, fmt="%d", delimiter=",")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _draw_links(path: Path, setup: "NocSetup", simulation: "Simulation", name: str) -> None:
    from .machine import MachineError
    from .noc_figures import draw_links
    from .studies.figures import check

    check()
    if not setup.is_grid:
        raise MachineError(f"--links: needs a mesh or torus, got the graph {setup.topology}")
    network = simulation.network
    title = f"{name}: {setup.router_name}, {setup.routing_name}"
    draw_links(path, network.graph, network.state.link_flits, simulation.cycle, title)


def _summary(simulation: "Simulation", packets: "PacketTrace", rows: Any) -> dict[str, Any]:
    from ..noc.iq_state import Stall

    latency = rows["t_ej_tail"] - rows["t_create"]
    flits = simulation.network.state.link_flits
    told: dict[str, Any] = {
        "packets": len(packets),
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


@noc.command("sweep")
def sweep(
    k: K = 8,
    width: Side = None,
    height: Side = None,
    topology: Topology = "mesh",
    routing: Routing = "",
    router: Router = "P4",
    vcs: Vcs = None,
    buffer: Buffer = None,
    traffic: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="uniform, transpose, bit-complement, tornado, hotspot, shuffle or neighbour.",
        ),
    ] = "uniform",
    hotspots: Annotated[
        str | None, typer.Option(metavar="NODE,...", help="Of hotspot; default: the last node.")
    ] = None,
    fraction: Annotated[
        float | None, typer.Option(metavar="F", help="Of packets to hotspots; default: 0.1.")
    ] = None,
    load: Annotated[
        str, typer.Option(metavar="LOAD,...", help="Offered, in flits per node and cycle.")
    ] = LOADS,
    size: Annotated[
        str, typer.Option(metavar="FLITS,...", help="Of packets; several are equally likely.")
    ] = "1",
    warmup: Annotated[int, typer.Option(metavar="CYCLES", help="Before the window.")] = 2000,
    cycles: Annotated[int, typer.Option(metavar="CYCLES", help="Of the window.")] = 5000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the traffic.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Processes; default: the cores.")
    ] = None,
    out: Out = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where a figure goes; or .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure latency and accepted throughput against offered load."""
    from .machine import MachineError

    setup = _setup(k, width, height, topology, routing, router, vcs, buffer)
    _check_outputs(out, plot)
    if plot:
        from .studies.figures import check

        check()
    if not setup.is_grid:
        raise MachineError("--topology: a sweep needs a mesh or torus, whose patterns are by place")
    points = _loads(setup, traffic, hotspots, fraction, load, size, warmup, cycles, seed)
    done: list[Point] = []
    try:
        with progress("load") as bar:
            task = bar.add_task("", total=len(points))
            for point in _measure(points, jobs):
                done.append(point)
                bar.update(task, completed=len(done))
    except KeyboardInterrupt:
        _tell_points(setup, traffic, size, done, out, plot, as_json)
        typer.echo(f"interrupted: {len(done)} of {len(points)} loads are measured", err=True)
        raise typer.Exit(INTERRUPTED) from None
    _tell_points(setup, traffic, size, done, out, plot, as_json)


def _loads(
    setup: "NocSetup",
    pattern: str,
    hotspots: str | None,
    fraction: float | None,
    load: str,
    size: str,
    warmup: int,
    cycles: int,
    seed: int,
) -> list["Load"]:
    """Return the points of a sweep; a value that is not allowed is refused before any runs."""
    from ..noc.patterns import make_pattern
    from ..noc.sweep import Method
    from ..noc.traffic import packets
    from .machine import MachineError
    from .noc_setup import Load

    offered, sizes = _numbers("--load", load, float), _numbers("--size", size, int)
    options: dict[str, Any] = {}
    if pattern == "hotspot":
        last = [setup.width * setup.height - 1]
        nodes = _numbers("--hotspots", hotspots, int) if hotspots is not None else last
        options = {"nodes": tuple(nodes), "fraction": 0.1 if fraction is None else fraction}
    elif hotspots is not None or fraction is not None:
        raise MachineError(f"--hotspots and --fraction are of --traffic hotspot, got {pattern}")
    setup.network()
    try:
        method = Method(warmup, cycles)
        one = make_pattern(pattern, setup.width, setup.height, **options)
        for rate in offered:
            packets(one, rate, sizes, 1, seed)
    except ValueError as error:
        raise MachineError(str(error)) from None
    told = tuple(sorted(options.items()))
    return [Load(setup, pattern, told, rate, tuple(sizes), seed, method) for rate in offered]


def _numbers(option: str, text: str, kind: Any) -> list[Any]:
    from .machine import MachineError

    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise MachineError(
            f"{option}: must be numbers with commas between them, got {text}"
        ) from None


def _measure(points: Sequence["Load"], jobs: int | None) -> Iterator["Point"]:
    """Yield what was measured as it comes."""
    from .noc_setup import run_load
    from .processes import side_by_side

    n = min((os.cpu_count() or 1) if jobs is None else jobs, len(points))
    if n <= 1:
        yield from map(run_load, points)
        return
    heavy_first = sorted(points, key=lambda point: -point.offered)
    yield from (point for _, point in side_by_side(run_load, heavy_first, n))


def _tell_points(
    setup: "NocSetup",
    traffic: str,
    size: str,
    points: Sequence["Point"],
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Print points, and write them into files."""
    ordered = sorted(points, key=lambda point: point.offered)
    about = {
        "profile": setup.router_name,
        "width": setup.width,
        "height": setup.height,
        "packet_size": size,
        "num_vcs": setup.vcs,
        "vc_buf_size": setup.buffer_flits,
        "traffic": traffic,
    }
    rows = [about | asdict(point) for point in ordered]
    if out and rows:
        _write_table(out, rows)
    if plot and rows:
        from .noc_figures import draw_sweep

        title = (
            f"{setup.width} x {setup.height} {setup.topology}, {traffic}, {setup.router_name}, "
            f"{setup.vcs} VCs of {setup.buffer_flits}, packets of {size}"
        )
        draw_sweep(plot, ordered, title)
    names = ("offered", "accepted", "lat_packet", "lat_packet_p99", "lat_network", "hops_avg")
    _print_rows(rows, (*names, "packets", "saturated"), as_json)


def _write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as CSV, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _print_rows(rows: Sequence[dict[str, Any]], names: Sequence[str], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        shown = (f"{row[n]:.4g}" if isinstance(row[n], float) else str(row[n]) for n in names)
        table.add_row(*shown)
    with console() as page:
        page.print(table)


@noc.command("zero-load")
def zero_load(
    k: K = 8,
    width: Side = None,
    height: Side = None,
    topology: Topology = "mesh",
    routing: Routing = "",
    router: Router = "P4",
    vcs: Vcs = None,
    buffer: Buffer = None,
    size: Annotated[int, typer.Option(metavar="FLITS", help="Of packets.")] = 1,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure packets alone for every number of links, beside the closed form."""
    setup = _setup(k, width, height, topology, routing, router, vcs, buffer)
    with waiting(COMPILING):
        from ..noc.zero_load import ZeroLoad
        from ..noc.zero_load import zero_load as measure

    from .machine import MachineError

    try:
        found = measure(setup.network, setup.router, size, setup.buffer_flits)
    except ValueError as error:
        raise MachineError(str(error)) from None
    about = {
        "profile": setup.router_name,
        "k": setup.width,
        "num_vcs": setup.vcs,
        "vc_buf_size": setup.buffer_flits,
        "packet_size": size,
    }
    rows = [about | asdict(row) for row in found]
    if out:
        _write_table(out, rows)
    _print_rows(rows, [field.name for field in fields(ZeroLoad)], as_json)


@noc.command("check")
def check(
    k: K = 8,
    width: Side = None,
    height: Side = None,
    topology: Topology = "mesh",
    routing: Routing = "",
    router: Router = "P4",
    vcs: Vcs = None,
    buffer: Buffer = None,
    as_json: AsJson = False,
) -> None:
    """Check that packets can never wait for each other in a circle; exit code 2 if they can."""
    setup = _setup(k, width, height, topology, routing, router, vcs, buffer)
    with waiting(COMPILING):
        from ..noc.deadlock import dependencies

        network = setup.network()
    channels = dependencies(network.graph, network.table)
    told = {
        "topology": setup.topology,
        "routing": setup.routing_name,
        "nodes": network.n_nodes,
        "channels": channels.number_of_nodes(),
        "dependencies": channels.number_of_edges(),
    }
    if as_json:
        typer.echo(json.dumps(told, indent=1))
        return
    typer.echo(
        f"ok: {told['routing']} on {told['topology']}: {told['channels']:,} channels with "
        f"{told['dependencies']:,} dependencies and no cycle"
    )
