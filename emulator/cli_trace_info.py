"""The command line's ``firemesh trace info`` and ``verify``."""

import json
from typing import TYPE_CHECKING, Any

import typer

from .cli_trace_options import AsJson, File
from .console import console, progress

if TYPE_CHECKING:
    from ..traces.reader import Trace

PROBLEMS = 1


def _about(trace: "Trace") -> dict[str, Any]:
    names = ("network", "network_digest", "input_digest", "mode", "command", "program_version",
             "schema_version", "clock_hz", "frames", "complete", "values", "seed")  # fmt: skip
    about = {name: trace.attribute(name) for name in names}
    segments = trace.segments
    by_memory = trace.counters(by=("memory",))
    accesses = int(sum(row["count"] for row in by_memory if not row["memory"].startswith("noc_")))
    return about | {
        "segments": len(segments),
        "frames_begun": int(segments["frame"].max()) + 1 if len(segments) else 0,
        "cycles": trace.cycles,
        "accesses": accesses,
        "bytes": trace.bytes,
        "units": len(trace.units),
        "layers": _layers(trace),
    }


def _layers(trace: "Trace") -> list[dict[str, Any]]:
    segments, counters = trace.segments, trace.counters(by=("layer", "memory"))
    found = []
    for row in trace.table("layers"):
        name = row["name"].decode("utf-8", "replace")
        own = segments[segments["layer"] == row["id"]]
        mine = counters[counters["layer"] == name]
        is_memory = [not memory.startswith("noc_") for memory in mine["memory"]]
        text = {key: row[key].decode("utf-8", "replace") for key in ("op", "mode", "tile")}
        ifmap = [int(row[key]) for key in ("channels", "height", "width")]
        ofmap = [int(row[key]) for key in ("filters", "ofmap_height", "ofmap_width")]
        found.append(
            {"name": name, **text, "ifmap": ifmap, "ofmap": ofmap, "segments": len(own)}
            | {"cycles": int((own["cycle1"] - own["cycle0"]).sum())}
            | {"accesses": int(mine["count"][is_memory].sum())}
        )
    return found


def info(path: File, as_json: AsJson = False) -> None:
    """Print what a trace is of: run, layers, sizes."""
    from ..traces.opened import open_trace

    with open_trace(path) as trace:
        about = _about(trace)
    if as_json:
        typer.echo(json.dumps(about, indent=1))
        return
    from rich.table import Table

    state = "complete" if about["complete"] else "unfinished; run again with --resume"
    rate = about["bytes"] / about["accesses"] if about["accesses"] else 0.0
    typer.echo(f"{about['command']}")
    typer.echo(f"network    {about['network']}, mode {about['mode']}, {about['units']} units")
    typer.echo(f"frames     {about['frames_begun']} of {about['frames']}, {state}")
    typer.echo(f"cycles     {about['cycles']:,} in {about['segments']} segments")
    typer.echo(f"accesses   {about['accesses']:,} in {about['bytes']:,} bytes ({rate:.4f} each)")
    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("layer", "op", "mode", "tile", "ifmap", "ofmap"):
        table.add_column(name)
    for name in ("segments", "cycles", "accesses"):
        table.add_column(name, justify="right")
    for layer in about["layers"]:
        shapes = ("x".join(str(n) for n in layer[key]) for key in ("ifmap", "ofmap"))
        numbers = (f"{layer[key]:,}" for key in ("segments", "cycles", "accesses"))
        text = (layer[key] for key in ("name", "op", "mode", "tile"))
        table.add_row(*text, *shapes, *numbers)
    with console() as page:
        page.print(table)


def verify(path: File, as_json: AsJson = False) -> None:
    """Check a trace: checksums, counters, ports, addresses, packets; exit code 1 with problems."""
    from ..traces.opened import open_trace
    from ..traces.verify import verify as check

    with open_trace(path) as trace, progress("segment") as bar:
        task = bar.add_task("", total=None)
        report = check(trace, lambda done, total: bar.update(task, completed=done, total=total))
        complete = trace.complete
        frames, segments = trace.attribute("frames"), trace.segments
        begun = int(segments["frame"].max()) + 1 if len(segments) else 0
    if as_json:
        typer.echo(json.dumps(vars(report) | {"complete": complete}, indent=1))
    for problem in () if as_json else report.problems:
        typer.echo(f"problem: {problem}", err=True)
    if report.problems:
        raise typer.Exit(PROBLEMS)
    if as_json:
        return
    what = f"{report.segments} segments, {report.accesses:,} accesses, {report.packets:,} packets"
    typer.echo(f"ok: {what}")
    if not complete:
        typer.echo(f"unfinished: reaches into frame {begun} of {frames}; --resume goes on")
