"""The command line's ``firemesh formats``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_options import Frames, Input, Model
from .console import console, progress

if TYPE_CHECKING:
    from ..models.network import Network
    from .formats import TensorSizes


def formats(
    model: Model,
    input: Input = None,
    frames: Frames = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also print a table of the weights.")
    ] = False,
    total: Annotated[
        bool, typer.Option("--total", help="Print bits of whole tensors, not bits per value.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Print what each layer's tensors take in sparse formats; the smallest has a star."""
    from ..models.zoo import load
    from .formats import formats as size_up
    from .inputs import find_frames

    network = load(model)
    values, _ = find_frames(network, input, frames, model)
    with progress() as bar:
        task = bar.add_task("", total=len(values))
        rows = size_up(network, values, progress=lambda number: bar.update(task, completed=number))
    kinds = {"activations": rows}
    if weights:
        kinds["weights"] = size_up(network, weights=True)
    if as_json:
        typer.echo(json.dumps(_plain(network, len(values), kinds), indent=1))
    else:
        _print(network, len(values), kinds, total)


def _plain(
    network: "Network", n_frames: int, kinds: dict[str, list["TensorSizes"]]
) -> dict[str, Any]:
    """Return tables as plain values; bits are of whole tensors."""
    about = {"network": network.name, "network_digest": network.digest, "frames": n_frames}
    return about | {kind: [row.to_dict() for row in rows] for kind, rows in kinds.items()}


def _print(
    network: "Network", n_frames: int, kinds: dict[str, list["TensorSizes"]], total: bool
) -> None:
    from .tables import formats_table

    unit = "bits" if total else "bits per value"
    n = "1 frame" if n_frames == 1 else f"mean of {n_frames} frames"
    of = {"activations": f"{network.name}: activations that layers read, {unit}, {n}",
          "weights": f"{network.name}: weights, {unit}"}  # fmt: skip
    with console() as page:
        for kind, rows in kinds.items():
            page.print(formats_table(of[kind], rows, total))
