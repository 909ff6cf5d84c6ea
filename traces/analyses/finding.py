"""What an analysis found: a table to read, a series to draw, and facts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TraceError
from ..figures import FORMS, check, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Paint = Callable[["Finding", "Figure"], None]
"""Draws a finding on a figure of matplotlib."""


@dataclass(frozen=True)
class Finding:
    """What an analysis found.

    Parameters
    ----------
    name : str
        Of the analysis.
    rows : structured array
        The table that people read; columns are defined on the analysis' page.
    facts : dict
        What holds for the whole, fit for JSON.
    series : structured array, optional
        What the figure draws, such as a row for each bin of time and memory.
    paint : callable, optional
        Draws it on a figure; None where there is nothing to look at.
    size : (float, float)
        Inches of the figure.
    """

    name: str
    rows: NDArray[Any]
    facts: dict[str, Any] = field(default_factory=dict)
    series: NDArray[Any] | None = None
    paint: Paint | None = None
    size: tuple[float, float] = (8.0, 5.0)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it; numbers that are not known are null."""
        told: dict[str, Any] = {"analysis": self.name} | self.facts | {"rows": records(self.rows)}
        return told if self.series is None else told | {"series": records(self.series)}

    def plot(self, path: str | Path) -> None:
        """Draw it into a .png or .svg file.

        Raises
        ------
        TraceError
            When matplotlib is missing, or the name ends otherwise.
        """
        path, paint = Path(path), self.paint
        if path.suffix not in FORMS:
            raise TraceError(f"{path}: must end in {' or '.join(FORMS)}; rename it")
        check()
        if paint is not None:
            draw(path, self.size, lambda figure: paint(self, figure))


def records(rows: NDArray[Any]) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts."""
    names = rows.dtype.names or ()
    return [
        {name: None if value != value else value for name, value in zip(names, row, strict=True)}
        for row in rows.tolist()
    ]


def table(**columns: Any) -> NDArray[Any]:
    """Return a table with the given columns, of one length; text as str."""
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    kinds = [(name, array.dtype) for name, array in arrays.items()]
    length = max((len(array) for array in arrays.values() if array.ndim), default=1)
    rows = np.empty(length, kinds)
    for name, array in arrays.items():
        rows[name] = array
    return rows
