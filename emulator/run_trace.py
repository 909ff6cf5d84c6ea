"""What recorder and modes agree on: what a mode adds to the trace of a run."""

from typing import Any, Protocol

from numpy.typing import NDArray

from ..traces.lists import Lists
from ..traces.masks import Masks
from .layer_result import LayerResult


class Records(Protocol):
    """Where rows of a trace go."""

    @property
    def masks(self) -> Masks:
        """The mask sets, to add to."""

    def rows(self, table: str) -> int:
        """Return the number of rows of a table so far."""

    def append(self, table: str, rows: NDArray[Any]) -> None:
        """Append rows to a table."""


class RunTrace(Protocol):
    """What a mode adds to the trace of a run."""

    number: dict[str, int]
    """Name of a layer -> its number in the trace."""

    def tables(self, values: bool) -> dict[str, NDArray[Any]]:
        """Return the tables that all segments share; with ``values`` those of weights too."""

    def add(self, run: Any, lists: Lists, records: Records) -> None:
        """Add what a layer, or a wave of it, left behind."""

    def wave_of(self, run: Any) -> int:
        """Return the number of the wave."""

    def doors(self, run: Any, result: LayerResult, counted: NDArray[Any]) -> None:
        """Count what goes through the network's doors into int64[2, units, memories, 2]."""
