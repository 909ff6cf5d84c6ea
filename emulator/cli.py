"""The command line: ``firemesh``."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .. import __version__

INTERRUPTED = 130
MISMATCH = 1
USER_ERROR = 2

app = typer.Typer(
    name="firemesh",
    help="Emulates event-driven sparse DNN accelerators, cycle by cycle.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
machines = typer.Typer(help="Machine descriptions.", no_args_is_help=True)
models = typer.Typer(help="Networks of the zoo.", no_args_is_help=True)
app.add_typer(machines, name="machines")
app.add_typer(models, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"firemesh {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _changes(settings: Sequence[str]) -> dict[str, Any]:
    from .machine import MachineError

    changes = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise MachineError(f"--set {setting}: must be FIELD=VALUE, such as pe.fire_lanes=3")
        try:
            changes[key.replace(".", "__")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise MachineError(f"--set {setting}: the value is not YAML; quote it") from None
    return changes


def _frames(text: str | None, available: int, where: str) -> int:
    from ..models.network import ModelError

    if text is None:
        return min(10, available)
    if text == "all":
        return available
    if not text.isdecimal() or not 1 <= int(text) <= available:
        raise ModelError(f"--frames: must be all or 1..{available} ({where}), got {text}")
    return int(text)


def _inputs(network: Any, path: str | None, frames: str | None) -> tuple[Any, Any]:
    """Return frames and, for a network of the zoo with its own images, labels."""
    from ..models.frames import check_inputs
    from ..models.network import ModelError
    from ..models.zoo import ZOO, images
    from .inputs import read_frames

    if path is not None:
        values, labels = check_inputs(network, read_frames(path), path), None
    elif network.name in ZOO:
        values, labels = images(network.name)
    else:
        shape = " x ".join(str(size) for size in network.tensors[network.inputs[0]].shape)
        raise ModelError(
            f"{network.name}: brings no images; give frames x {shape} with --input FILE.npy"
        )
    n = _frames(frames, len(values), f"{len(values)} frames in {path or network.name}")
    return values[:n], None if labels is None else labels[:n]


def _progress() -> Progress:
    return Progress(
        TextColumn("frame"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="Name in the zoo, or path of an ONNX file.")],
    machine: Annotated[str, typer.Option(help="Preset, or path of a YAML file.")] = "mnf-22nm",
    mode: Annotated[str, typer.Option(help="Execution mode: mnf.")] = "mnf",
    input: Annotated[
        str | None, typer.Option(help=".npy or .npz file with frames; default: the zoo's images.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(help="How many frames, or all; default: 10, or what there is.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a machine field; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every tensor with the integer reference.")
    ] = False,
) -> None:
    """Run a network on a machine and print cycles, slots and energy."""
    from ..models.zoo import load
    from .check import differences
    from .machine import MachineError
    from .machine import machine as find_machine
    from .run import MODES, Emulation, Tally
    from .tables import show

    if mode not in MODES:
        raise MachineError(f"--mode: must be one of {', '.join(MODES)}, got {mode}")
    network = load(model)
    described = find_machine(machine).replace(**_changes(setting or []))
    values, labels = _inputs(network, input, frames)
    emulation = Emulation(network, described)
    tally = Tally(emulation, mode)
    compared, wrong, is_interrupted = 0, [], False
    try:
        with _progress() as bar:
            task = bar.add_task("", total=len(values))
            layers = emulation.frames(
                values, lambda frame, name: bar.update(task, description=name)
            )
            for frame in layers:
                tally.add(frame)
                if check:
                    n, found = differences(
                        network, frame, values[frame.number], described.threshold
                    )
                    compared += n
                    wrong += found
                bar.advance(task)
    except KeyboardInterrupt:
        is_interrupted = True
    result = tally.result()
    accuracy = None
    if labels is not None and result.frames:
        answers = result.outputs.reshape(result.frames, -1).argmax(axis=1)
        accuracy = float((answers == labels[: result.frames]).mean())
    if as_json:
        extra: dict[str, Any] = {"accuracy": accuracy, "is_complete": not is_interrupted}
        if check:
            extra |= {"tensors_compared": compared, "differences": wrong}
        typer.echo(json.dumps(result.to_dict() | extra, indent=1))
    elif result.frames:
        show(result, Console(), accuracy)
    _conclude(compared if check and not as_json else None, wrong, is_interrupted, result.frames)


def _conclude(compared: int | None, wrong: list[str], is_interrupted: bool, frames: int) -> None:
    if compared is not None and not wrong:
        typer.echo(f"check: {compared} tensors equal the integer reference")
    for sentence in wrong[:20]:
        typer.echo(f"check: {sentence}", err=True)
    if is_interrupted:
        typer.echo(
            f"interrupted: the result is of the {frames} frames that were finished", err=True
        )
        raise typer.Exit(INTERRUPTED)
    if wrong:
        raise typer.Exit(MISMATCH)


@machines.command("list")
def machines_list() -> None:
    """List the shipped machines."""
    from .machine import machine, presets

    for name in presets():
        typer.echo(f"{name:12} {machine(name).summary}")


@machines.command("show")
def machines_show(
    name: Annotated[str, typer.Argument(help="Preset, or path of a YAML file.")],
) -> None:
    """Print a machine as YAML, to copy and change."""
    from .machine import machine, preset_text, presets

    described = machine(name)
    typer.echo(preset_text(name) if name in presets() else described.to_yaml(), nl=False)


@models.command("list")
def models_list() -> None:
    """List the networks of the zoo."""
    from ..models.zoo import ZOO

    for entry in ZOO.values():
        typer.echo(f"{entry.name:14} {entry.description}")


@models.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="Name in the zoo, or path of an ONNX file.")],
) -> None:
    """Print a network's layers, shapes and sizes."""
    from ..models.zoo import ZOO, load
    from .tables import network_table

    network = load(name)
    console = Console()
    console.print(network_table(network))
    if network.name in ZOO:
        entry = ZOO[network.name]
        console.print(f"{entry.description}; {entry.source}", highlight=False)
        console.print(
            f"accuracy on the held-back images: {entry.accuracy_float:.2%} float, "
            f"{entry.accuracy_int8:.2%} int8",
            highlight=False,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one sentence and exit code 2."""
    from .errors import USER_ERRORS

    try:
        app(args=arguments)
    except USER_ERRORS as error:
        typer.echo(f"firemesh: {error}", err=True)
        sys.exit(USER_ERROR)
