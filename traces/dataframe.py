"""A selection's accesses as a pandas DataFrame, if it is not too long for one."""

from typing import Any

import numpy as np

from .errors import TraceError
from .parquet import COLUMNS, column_dtype, names_of, segment_of
from .reader import Trace
from .selected import counted
from .selection import Selection

MOST_ROWS = 20_000_000
"""About 0.6 GB."""


def dataframe(trace: Trace, selection: Selection) -> Any:
    """Return accesses as a pandas DataFrame.

    Raises
    ------
    TraceError
        When there are more than `MOST_ROWS`, or pandas is missing.
    """
    try:
        import pandas
    except ImportError:
        raise TraceError(
            "to_dataframe: needs pandas, which is not installed; pip install 'firemesh[tables]'"
        ) from None
    if selection.cycles is None:
        _refuse_above(int(counted(trace, selection)["count"].sum()))
    names, n = names_of(trace), 0
    parts: dict[str, list[Any]] = {name: [] for name in COLUMNS["accesses"]}
    for block in trace.accesses(**selection.arguments):
        n += len(block)
        _refuse_above(n, at_least=True)
        frame = trace.segments["frame"][segment_of(trace, block)]
        for name, found in parts.items():
            found.append(np.repeat(frame, len(block)) if name == "frame" else block[name].copy())
    columns: dict[str, Any] = {}
    for name, found in parts.items():
        column = np.concatenate([np.empty(0, column_dtype("accesses", name)), *found])
        found.clear()
        if name in names:
            column = pandas.Categorical.from_codes(column, names[name])
        columns[name] = column
    return pandas.DataFrame(columns, copy=False)


def _refuse_above(n: int, at_least: bool = False) -> None:
    if n > MOST_ROWS:
        raise TraceError(
            f"to_dataframe: {'at least ' * at_least}{n:,} accesses are more than the "
            f"{MOST_ROWS:,} that it takes; choose layer, unit, memory, op, frame or cycles, or use "
            "to_parquet"
        )
