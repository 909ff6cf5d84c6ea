"""Runs a point in this process, and makes the rows of its layers."""

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ..description import MachineError
from ..errors import sentence
from ..studies.job import code_digest
from .columns import asked_row, layer_row
from .points import Point, file_digest

if TYPE_CHECKING:
    from ...models.network import Network

OK, FAILED = "ok", "failed"


class OtherCodeError(MachineError):
    """A worker has another firemesh than the one that made the points."""


@dataclass(frozen=True)
class Outcome:
    """What became of a point.

    Parameters
    ----------
    rows : list of dict
        Of `columns.COLUMNS`: one for each layer, or one with the error.
    """

    rows: list[dict[str, Any]]

    @property
    def status(self) -> str:
        """Whether it was computed: "ok" or "failed"."""
        return str(self.rows[0]["status"])

    @property
    def error(self) -> str:
        """Of a failed point, one sentence."""
        return str(self.rows[0]["error"] or "")


def failed(point: Point, error: str, seconds: float | None = None) -> Outcome:
    """Return the outcome of a point that could not be computed.

    Parameters
    ----------
    point : Point
    error : str
        One sentence.
    seconds : float, optional
    """
    row = asked_row(point.asked, point.digest, __version__)
    return Outcome([row | {"status": FAILED, "error": error, "seconds": seconds}])


def compute(point: Point, code: str) -> Outcome:
    """Run a point; what goes wrong with it is its outcome.

    Parameters
    ----------
    point : Point
    code : str
        Digest of the code that the points were made with.

    Raises
    ------
    OtherCodeError
        When this process has other code: its results would not be the point's.
    """
    if code != code_digest():
        raise OtherCodeError(
            f"a worker has other code than this firemesh {__version__}; install the same there"
        )
    began = time.perf_counter()
    try:
        rows = list(_rows(point))
    except Exception as error:
        return failed(point, _told(error), time.perf_counter() - began)
    seconds = time.perf_counter() - began
    return Outcome([row | {"seconds": seconds} for row in rows])


def _told(error: Exception) -> str:
    """Return an error as one sentence; of a defect, where it is."""
    told = sentence(error)
    if told is not None:
        return told
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(f"{type(error).__name__} {error}".split())
    return f"a defect of firemesh ({what:.200}, {place.name}, line {place.lineno}); report it"


def _rows(point: Point) -> Iterator[dict[str, Any]]:
    """Yield the rows of the layers."""
    from ..flexnn.plan import Search
    from ..machine import parse_yaml
    from ..run import run

    for path, digest in point.files:
        if file_digest(path) != digest:
            raise MachineError(f"{path}: has changed since the sweep began; start it again")
    network, frames = _network(point)
    asked = point.asked
    options: dict[str, Any] = {}
    searched: dict[str, Any] = {
        "objective": asked.objective,
        "dataflow": asked.dataflow,
        "keep": asked.keep,
    }
    if given := {name: value for name, value in searched.items() if value is not None}:
        options["search"] = Search(**given)
    result = run(
        network,
        frames,
        machine=parse_yaml(point.machine, asked.machine),
        mode=asked.mode if point.modes is None else dict(point.modes),
        **options,
    )
    densities = dict(_weight_densities(network))
    same = asked_row(asked, point.digest, __version__) | {
        "status": OK,
        "frames": result.frames,
        "load_cycles": result.load_cycles,
    }
    for n, (layer, record) in enumerate(zip(result.layers, result.layers.records(), strict=True)):
        yield same | layer_row(record, layer, n, densities.get(layer.name))


def _network(point: Point) -> "tuple[Network, Any]":
    """Return a point's network and frames."""
    from ...models import synthetic
    from ...models.zoo import load
    from ..inputs import find_frames

    asked = point.asked
    wanted = None if asked.frames is None else str(asked.frames)
    if point.recipe is None:
        network = load(point.network, layers=asked.layers)
        return network, find_frames(
            network, point.input, wanted, point.network, layers=asked.layers
        )[0]  # noqa: E501
    network = synthetic.network(point.recipe)
    if point.input is None:
        assert isinstance(asked.frames, int)
        return network, synthetic.images(point.recipe, asked.frames)
    return network, find_frames(network, point.input, wanted, point.network)[0]


def _weight_densities(network: "Network") -> Iterator[tuple[str, float]]:
    """Yield the part of the weights of each layer that differ from their zero point."""
    for layer in network.layers:
        weight = getattr(layer, "weight", None)
        if weight is not None:
            zero = layer.weight_zero_point.reshape(-1, *[1] * (weight.ndim - 1))  # type: ignore[union-attr]
            yield layer.name, float(np.count_nonzero(weight != zero) / weight.size)
