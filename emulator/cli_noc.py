"""The command line's ``firemesh noc``: the network alone."""

import json
from dataclasses import asdict, fields
from typing import Annotated

import typer

from .cli_noc_options import (
    COMPILING,
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
from .cli_noc_replay import replay
from .cli_noc_sweep import sweep
from .cli_trace_export import export
from .console import group, print_rows, waiting

noc = group("The network alone: replay packets, sweep loads, measure it idle, check its routing.")
noc.command("replay")(replay)
noc.command("sweep")(sweep)
noc.command("export")(export)


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
    from .noc_setup import as_option
    from .outputs import check_outputs, write_table

    described = setup(k, width, height, topology, routing, router, vcs, buffer)
    check_outputs({"--out": out}, (topology, router))
    with waiting(COMPILING):
        from ..noc.zero_load import ZeroLoad
        from ..noc.zero_load import zero_load as measure
    try:
        found = measure(described.network, described.router, size, described.buffer_flits)
    except ValueError as error:
        raise as_option(error) from None
    about = {
        "profile": described.router_name,
        "k": described.width,
        "num_vcs": described.vcs,
        "vc_buf_size": described.buffer_flits,
        "packet_size": size,
    }
    rows = [about | asdict(row) for row in found]
    if out:
        write_table(out, rows)
    print_rows(rows, [field.name for field in fields(ZeroLoad)], as_json)


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
    described = setup(k, width, height, topology, routing, router, vcs, buffer)
    with waiting(COMPILING):
        from ..noc.deadlock import dependencies

        network = described.network()
    channels = dependencies(network.graph, network.table)
    told = {
        "topology": described.topology,
        "routing": described.routing_name,
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
