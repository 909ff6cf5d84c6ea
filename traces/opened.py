"""A trace as users open it: what the reader tells, and as tables of other libraries."""

from pathlib import Path
from typing import Any

from .dataframe import dataframe
from .exporters.export import export
from .exporters.exporter import Options
from .reader import Trace
from .selection import Selection


def open_trace(path: str | Path) -> "OpenTrace":
    """Open a trace, or what there is so far of one that is being written.

    Parameters
    ----------
    path : str or Path
        The file. Where there is none, its folder ``PATH.partial`` is read.

    Returns
    -------
    OpenTrace

    Raises
    ------
    TraceError
        When the file is missing, damaged, no trace, or of a newer schema.

    Examples
    --------
    >>> import firemesh
    >>> with firemesh.open_trace(firemesh.sample_trace()) as trace:
    ...     [str(layer) for layer in trace.layers][:2]
    ['conv1', 'conv2']
    """
    return OpenTrace(Path(path))


def sample_trace() -> Path:
    """Return the path of the sample trace that comes with firemesh: one image of digits."""
    return Path(__file__).with_name("digits.h5")


class OpenTrace(Trace):
    """An open trace with its accesses as tables, see `firemesh.traces.reader.Trace`."""

    def to_dataframe(self, **selection: Any) -> Any:
        """Return accesses as a pandas DataFrame, names as categoricals.

        Parameters
        ----------
        **selection
            ``layer``, ``unit``, ``memory``, ``op``, ``frame``, ``cycles``: see `Trace.accesses`.

        Raises
        ------
        TraceError
            When there are more than `firemesh.traces.dataframe.MOST_ROWS`, or pandas is missing.
        """
        return dataframe(self, Selection(**selection))

    def to_parquet(
        self, path: str | Path, progress: Any = None, force: bool = False, **selection: Any
    ) -> int:
        """Write accesses to a Parquet file, a row group a layer or more; return how many.

        Parameters
        ----------
        path : str or Path
            Beside it comes ``PATH.meta.json``, the facts.
        progress : callable, optional
            Called with what is done and what there is in all.
        force : bool
            Replace what is there.
        **selection
            ``layer``, ``unit``, ``memory``, ``op``, ``frame``, ``cycles``: see `Trace.accesses`.

        Raises
        ------
        TraceError
            When nothing is selected, the file exists, or pyarrow is missing.
        """
        options = Options(Selection(**selection))
        return export(self, "parquet", path, options, force, progress).counts["rows"]
