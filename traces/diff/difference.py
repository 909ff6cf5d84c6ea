"""The difference of two traces: `diff`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..reader import Trace
from ..selection import ALL, Selection
from . import facts
from .rows import accesses_of, arrivals_of, packets_of
from .same import Stored
from .sides import sides_of
from .streams import Divergence, Pair
from .totals import cycles_of, totals


@dataclass(frozen=True)
class Difference:
    """What differs between traces A and B.

    Parameters
    ----------
    a, b : str
        Names of the files.
    compared : dict
        What both have and the selection leaves: names of ``layers``, ``units``, ``memories``;
        ``segments_a``, ``segments_b``, and ``stored_alike``, those that needed not be told.
    attributes, names : list of dict
        See `firemesh.traces.diff.facts.attributes` and `names`.
    access, packet, arrival : Divergence or None
        The first of each, in order of cycles, that one trace has and the other has not.
    totals, cycles : list of dict
        See `firemesh.traces.diff.totals.totals` and `cycles_of`.
    """

    a: str
    b: str
    compared: dict[str, Any]
    attributes: list[dict[str, Any]]
    names: list[dict[str, Any]]
    access: Divergence | None
    packet: Divergence | None
    arrival: Divergence | None
    totals: list[dict[str, Any]]
    cycles: list[dict[str, Any]]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but attributes that only tell how the traces were made."""
        return not (
            any(one["counts"] for one in self.attributes)
            or self.names
            or self.access
            or self.packet
            or self.arrival
            or self.totals
            or any(row["a"] != row["b"] for row in self.cycles)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {"is_same": self.is_same} | asdict(self)


def diff(
    a: Trace,
    b: Trace,
    selection: Selection = ALL,
    relative: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Difference:
    """Compare two traces.

    Layers, units and memories are the same where their names are; what only one trace has is told
    and left out. Segments that are stored alike are passed over, the others are expanded up to the
    first row that differs.

    Parameters
    ----------
    a, b : Trace
    selection : Selection
        Names must be in both.
    relative : bool
        Count cycles from the begin of each layer in its frame, so that a layer that starts later
        is not different for that alone.
    progress : callable, optional
        Called with what is done and what there is in all.

    Returns
    -------
    Difference

    Raises
    ------
    TraceError
        When the selection names what one of them has not or leaves nothing, or one is damaged.

    Examples
    --------
    >>> import firemesh
    >>> from firemesh.traces.diff import diff
    >>> path = firemesh.sample_trace()
    >>> with firemesh.open_trace(path) as a, firemesh.open_trace(path) as b:
    ...     diff(a, b).is_same
    True
    """
    common, first, second = sides_of(a, b, selection, relative)
    stored, n = Stored(first, second), len(first.segments)
    with_values = bool(a.attribute("values") and b.attribute("values"))
    found, skipped = [], 0
    streams = accesses_of(common), packets_of(common, with_values), arrivals_of(common)
    for number, what in enumerate(streams):

        def tell(done: int, before: int = number * n) -> None:
            if progress:
                progress(before + done, len(streams) * n)

        pair = Pair(first, second, what, stored, tell)
        found.append(pair.divergence())
        skipped = skipped or pair.skipped
    compared = {
        "layers": common.layers, "units": common.units, "memories": common.memories,
        "segments_a": n, "segments_b": len(second.segments), "stored_alike": skipped,
        "selection": selection.facts(), "relative": relative,
    }  # fmt: skip
    access, packet, arrival = found
    return Difference(
        a.path.name, b.path.name, compared, facts.attributes(a, b),
        facts.names(a, b, common), access, packet, arrival,
        totals(first, second, common, selection.cycles), cycles_of(first, second, common),
    )  # fmt: skip
