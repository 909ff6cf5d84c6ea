"""The folder of a sweep: a Parquet file for each finished point, and one of the whole study."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..description import MachineError
from .columns import COLUMNS, schema
from .point_run import FAILED, OK, Outcome

if TYPE_CHECKING:
    from .points import Point

POINTS, RESULTS = "points", "results.parquet"
STATUS, IDENTITY = b"firemesh.status", b"firemesh.identity"

SMALL: dict[str, Any] = {
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}
"""What a file of a few rows does without: a third of its size."""


class Store:
    """A sweep's folder.

    Parameters
    ----------
    folder : Path
        Made by `prepare` where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder.

        Raises
        ------
        MachineError
            When nothing can be written in it.
        """
        try:
            (self.folder / POINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from None
        if not os.access(self.folder / POINTS, os.W_OK) or not os.access(self.folder, os.W_OK):
            raise self._refused("it is not writable")

    def _refused(self, reason: str) -> MachineError:
        return MachineError(f"--out {self.folder}: cannot be used ({reason}); name another folder")

    def path(self, digest: str) -> Path:
        """Return a point's file."""
        return self.folder / POINTS / f"{digest}.parquet"

    def status(self, digest: str) -> str | None:
        """Return "ok" or "failed" of a point with rows; None of one that is missing or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.path(digest)
        if not path.exists():
            return None
        try:
            found = (pq.read_metadata(path).metadata or {}).get(STATUS, b"").decode()
        except (pa.ArrowException, OSError, ValueError):
            return None
        return found if found in (OK, FAILED) else None

    def add(self, point: "Point", outcome: Outcome) -> None:
        """Write a point's rows, whole or not at all."""
        import pyarrow as pa

        about = {STATUS: outcome.status.encode(), IDENTITY: point.identity.encode()}
        self._write(pa.Table.from_pylist(outcome.rows, schema()), self.path(point.digest), about)

    def collect(self, points: Sequence["Point"]) -> Any:
        """Write the rows of those points that have some into one file, and return them.

        Parameters
        ----------
        points : sequence of Point
            Of a study, in its order.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        MachineError
            When a file is damaged.
        """
        import pyarrow as pa

        known = [self.path(point.digest) for point in points if self.status(point.digest)]
        parts = [_rows(path) for path in known]
        rows = pa.concat_tables(parts) if parts else schema().empty_table()
        self._write(rows, self.folder / RESULTS, {})
        return rows

    def others(self, points: Sequence["Point"]) -> int:
        """Return how many finished points in the folder are not of the study."""
        own = {self.path(point.digest).name for point in points}
        names = {path.name for path in (self.folder / POINTS).glob("[!.]*.parquet")}
        return len(names - own)

    def _write(self, rows: Any, path: Path, about: Mapping[bytes, bytes]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        part = self.folder / f".{path.name}.{os.getpid()}.part"
        try:
            with pq.ParquetWriter(part, rows.schema, **SMALL) as writer:
                writer.add_key_value_metadata(about)
                writer.write_table(rows)
            part.replace(path)
        except pa.ArrowException as error:
            raise OSError(getattr(error, "errno", None) or 5, str(error), str(path)) from None
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None
        finally:
            part.unlink(missing_ok=True)


def _rows(path: Path) -> Any:
    """Return a file's rows without its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read().select(list(COLUMNS)).replace_schema_metadata()
    except (pa.ArrowException, OSError, ValueError, KeyError):
        raise MachineError(
            f"{path}: is damaged; delete it and call the same command again"
        ) from None


def totals(statuses: Mapping[str, str | None]) -> tuple[int, int]:
    """Return how many points are computed, and how many failed."""
    values = list(statuses.values())
    return values.count(OK), values.count(FAILED)
