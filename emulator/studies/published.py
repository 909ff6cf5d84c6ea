"""Published numbers, with unit and source."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True)
class Published:
    """A number of a paper, or derived from its numbers.

    Parameters
    ----------
    value : float
    unit : str
    source : str
        Section, table or figure.
    """

    value: float
    unit: str
    source: str


@cache
def _file() -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(
        (files(__package__) / "published.yaml").read_text("utf-8")
    )
    return tree


def paper() -> str:
    """Return authors and title of the paper that is reproduced."""
    return str(_file()["paper"])


def names() -> list[str]:
    """Return the names of the numbers."""
    return list(_file()["values"])


def published(name: str) -> Published:
    """Return a number by name, such as ``vgg16.fps``."""
    return Published(**_file()["values"][name])


def layers() -> dict[str, dict[str, int]]:
    """Return the layers of the paper's Table 1: channels, filters, size, kernel."""
    return {name: sizes for name, sizes in _file()["layers"].items() if name != "source"}


def layers_source() -> str:
    """Return where the layers' sizes come from."""
    return str(_file()["layers"]["source"])
