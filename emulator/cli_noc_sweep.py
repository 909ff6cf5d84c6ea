"""The command line's ``firemesh noc sweep``."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_noc_options import (
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
from .console import print_rows, progress

if TYPE_CHECKING:
    from ..noc.sweep import Point
    from .noc_setup import Load, NocSetup

LOADS = "0.02,0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.6,0.7,0.8,0.9,1.0"


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
    warmup: Annotated[
        int, typer.Option(metavar="CYCLES", min=0, max=MOST_CYCLES, help="Before the window.")
    ] = 2000,
    cycles: Annotated[
        int, typer.Option(metavar="CYCLES", min=1, max=MOST_CYCLES, help="Of the window.")
    ] = 5000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the traffic.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes; default: the cores.")
    ] = None,
    out: Out = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where a figure goes; or .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure latency and accepted throughput against offered load."""
    from .machine import MachineError
    from .outputs import check_figure, check_outputs

    described = setup(k, width, height, topology, routing, router, vcs, buffer)
    check_outputs({"--out": out, "--plot": plot}, (topology, router))
    check_figure("--plot", plot)
    if not described.is_grid:
        raise MachineError("--topology: a sweep needs a mesh or torus, whose patterns are by place")
    points = _loads(described, traffic, hotspots, fraction, load, size, warmup, cycles, seed)
    done: list[Point] = []
    end: BaseException | None = None
    try:
        with progress("load") as bar:
            task = bar.add_task("", total=len(points))
            for point in _measure(points, jobs):
                done.append(point)
                bar.update(task, completed=len(done))
    except (KeyboardInterrupt, Exception) as error:
        end = error
    if done or not isinstance(end, Exception):
        _tell_points(described, traffic, size, done, out, plot, as_json)
    if isinstance(end, Exception):
        raise end
    if end:
        typer.echo(f"interrupted: {len(done)} of {len(points)} loads are measured", err=True)
        raise typer.Exit(INTERRUPTED)


def _loads(
    described: "NocSetup",
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
    from .noc_setup import Load, as_option

    offered, sizes = _numbers("--load", load, float), _numbers("--size", size, int)
    options: dict[str, Any] = {}
    if pattern == "hotspot":
        last = [described.width * described.height - 1]
        nodes = _numbers("--hotspots", hotspots, int) if hotspots is not None else last
        options = {"nodes": tuple(nodes), "fraction": 0.1 if fraction is None else fraction}
    elif hotspots is not None or fraction is not None:
        raise MachineError(f"--hotspots and --fraction are of --traffic hotspot, got {pattern}")
    described.network()
    try:
        method = Method(warmup, cycles)
        one = make_pattern(pattern, described.width, described.height, **options)
        for rate in offered:
            packets(one, rate, sizes, 1, seed)
    except ValueError as error:
        raise as_option(error) from None
    told = tuple(sorted(options.items()))
    return [Load(described, pattern, told, rate, tuple(sizes), seed, method) for rate in offered]


def _numbers(option: str, text: str, kind: Any) -> list[Any]:
    from .machine import MachineError

    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise MachineError(
            f"{option}: must be numbers with commas between them, got {text!r}"
        ) from None


def _measure(points: Sequence["Load"], jobs: int | None) -> Iterator["Point"]:
    """Yield what was measured as it comes."""
    from concurrent.futures.process import BrokenProcessPool

    from .machine import MachineError
    from .noc_setup import run_load
    from .processes import side_by_side

    n = min((os.cpu_count() or 1) if jobs is None else jobs, len(points))
    if n <= 1:
        yield from map(run_load, points)
        return
    heavy_first = sorted(points, key=lambda point: -point.offered)
    try:
        yield from (point for _, point in side_by_side(run_load, heavy_first, n))
    except BrokenProcessPool:
        raise MachineError(
            "a process ended before its load was measured, perhaps for lack of memory; "
            "lower --jobs, or take a smaller network"
        ) from None


def _tell_points(
    described: "NocSetup",
    traffic: str,
    size: str,
    points: Sequence["Point"],
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Print points, and write them into files."""
    from .outputs import write_table

    ordered = sorted(points, key=lambda point: point.offered)
    about = {
        "profile": described.router_name,
        "width": described.width,
        "height": described.height,
        "packet_size": size,
        "num_vcs": described.vcs,
        "vc_buf_size": described.buffer_flits,
        "traffic": traffic,
    }
    rows = [about | asdict(point) for point in ordered]
    if out and rows:
        write_table(out, rows)
    if plot and rows:
        from .noc_figures import draw_sweep

        title = (
            f"{described.width} x {described.height} {described.topology}, {traffic}, "
            f"{described.router_name}, {described.vcs} VCs of {described.buffer_flits}, "
            f"packets of {size}"
        )
        draw_sweep(plot, ordered, title)
    names = ("offered", "accepted", "lat_packet", "lat_packet_p99", "lat_network", "hops_avg")
    print_rows(rows, (*names, "packets", "saturated"), as_json)
