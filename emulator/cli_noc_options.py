"""Options that the commands of ``firemesh noc`` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .noc_setup import NocSetup

COMPILING = "loading; the first time, the router is compiled for about ten seconds"
INTERRUPTED = 130
MOST_CYCLES = 1 << 40

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


def setup(
    k: int,
    width: int | None,
    height: int | None,
    topology: str,
    routing: str,
    router: str,
    vcs: int | None,
    buffer: int | None,
) -> "NocSetup":
    """Return what the options tell; see `firemesh.emulator.noc_setup.make_setup`."""
    from .noc_setup import make_setup

    sides = width if width is not None else k, height if height is not None else k
    return make_setup(topology, *sides, routing, router, vcs, buffer)
