"""Arguments and options that commands share, or that tell a network."""

from typing import Annotated, Literal

import typer

A_MACHINE = "Preset, or path of a YAML file."

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name in the zoo, or path of an ONNX file.")
]
Input = Annotated[
    str | None,
    typer.Option(metavar="FILE", help=".npy or .npz file with frames; default: the zoo's images."),
]
Frames = Annotated[
    str | None,
    typer.Option(
        metavar="N|all", help="How many; default: 10, or what there is; 1 of a synthetic network."
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="conv|all|NAME,...",
        help="Run this part of the network; default: all, of vgg16 and alexnet conv.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="S1|S2|S3", help="Densities of a synthetic network; default: S1."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="RULE", help="Weights of a synthetic network: rows:0.5, random:0.5 or dense."
    ),
]
Activations = Annotated[
    float | None,
    typer.Option(metavar="D", help="Density of a synthetic network's activations, such as 0.3."),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Of a synthetic network and its images.")
]
Calibration = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Frames with which a float ONNX file is quantised."),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.yaml",
        help="Of mode flexnn: descriptors by layer; those of other layers are searched.",
    ),
]
Objective = Annotated[
    Literal["cycles", "energy", "edp"] | None,
    typer.Option(
        help="Of mode flexnn and auto: what descriptors and modes make small; default: cycles."
    ),
]
Dataflow = Annotated[
    Literal["weight", "output", "input", "none", "row"] | None,
    typer.Option(help="Of mode flexnn: search only descriptors of a fixed dataflow."),
]
Keep = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=1000,
        help="Of mode flexnn: best estimates that the engine counts before one is taken; default: "
        "8, on a mesh 4; 0 takes the best estimate uncounted.",
    ),
]
