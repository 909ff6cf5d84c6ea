"""Schedule files: descriptors of a network's layers, as YAML by layer name."""

from collections.abc import Collection, Mapping
from pathlib import Path

import yaml

from ..description import MachineError, read_yaml
from ..outputs import whole
from .descriptor import Descriptor

Schedule = dict[str, Descriptor]


def schedule_yaml(schedule: Mapping[str, Descriptor]) -> str:
    """Return a schedule as YAML; `parse_schedule` reads it back."""
    tree = {
        name: descriptor.model_dump(mode="json", by_alias=True)
        for name, descriptor in schedule.items()
    }
    return str(yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=100))


def write_schedule(path: Path, schedule: Mapping[str, Descriptor]) -> None:
    """Write a schedule as a YAML file, whole or not at all."""
    with whole(path) as file:
        file.write(schedule_yaml(schedule))


def parse_schedule(tree: object, where: str, layers: Collection[str] | None = None) -> Schedule:
    """Return the schedule that a mapping describes.

    Parameters
    ----------
    tree : mapping
        Layer name -> fields of `Descriptor`, as YAML gives it.
    where : str
        File, for messages.
    layers : collection of str, optional
        Weighted layers of the network; others are refused.

    Raises
    ------
    MachineError
        With file, layer, key and remedy.
    """
    if not isinstance(tree, Mapping):
        raise MachineError(
            f"{where}: must be a mapping from layers to descriptors, got {type(tree).__name__}; "
            "`firemesh schedule search MODEL --out FILE.yaml` writes one"
        )
    for name in tree:
        if not isinstance(name, str):
            raise MachineError(f"{where}: names of layers must be text, got {name!r}; quote it")
        if layers is not None and name not in layers:
            raise MachineError(
                f"{where}: {name}: is no layer with weights; those are {', '.join(layers)}"
            )
    return {name: Descriptor.parse(fields, f"{where}: {name}") for name, fields in tree.items()}


def read_schedule(path: str | Path, layers: Collection[str] | None = None) -> Schedule:
    """Return the schedule in a file; see `parse_schedule`.

    Raises
    ------
    MachineError
        When the file cannot be read or is wrong.
    """
    return parse_schedule(read_yaml(str(path)), str(path), layers)
