"""Files that may be compressed, and folders of files that are written in turns."""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..schema import ACCESS

GZIP = 31
"""zlib's window bits that make it write gzip's header, without a time or a name."""
LEVEL = 1
WORDS = ACCESS.itemsize // 8


@contextmanager
def new_file(out: Path, is_packed: bool) -> Iterator[IO[bytes]]:
    """Write a file, compressed or not; the same bytes whenever and under what name it is made."""
    with open(out, "wb") as plain:
        if is_packed:
            with gzip.GzipFile("", "wb", LEVEL, plain, mtime=0) as packed:
                yield cast(IO[bytes], packed)
        else:
            yield plain


class Folder:
    """A new folder; a context manager, after which its files are whole.

    A file is open only while something is put at its end, so there may be thousands.

    Parameters
    ----------
    out : Path
    is_packed : bool
        Whether files are compressed.
    """

    def __init__(self, out: Path, is_packed: bool = False) -> None:
        out.mkdir()
        self.out, self._packed = out, is_packed
        self._packers: dict[str, Any] = {}

    def append(self, name: str, data: bytes | memoryview) -> None:
        """Put bytes at the end of a file."""
        if self._packed:
            if name not in self._packers:
                self._packers[name] = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
            data = self._packers[name].compress(data)
        with open(self.out / name, "ab") as file:
            file.write(data)

    def __enter__(self) -> "Folder":
        """Return the folder."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what compressed files still lack, unless something went wrong."""
        for name, packer in self._packers.items() if kind is None else ():
            with open(self.out / name, "ab") as file:
                file.write(packer.flush())


def file_names(names: Sequence[str], suffix: str) -> list[str]:
    """Return a name of a file for each name; what does not suit or is there twice gets its number.

    Examples
    --------
    >>> file_names(["pe1", "../x", "pe3"], ".din")
    ['pe1.din', '1.din', 'pe3.din']
    """
    suits = [re.fullmatch(r"[A-Za-z_][\w-]{0,99}", name, re.ASCII) for name in names]
    times = Counter(name.casefold() for name in names)
    return [
        f"{name if suits[i] and times[name.casefold()] == 1 else i}{suffix}"
        for i, name in enumerate(names)
    ]


def sorted_by(block: NDArray[Any], key: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield each key and its rows, in the order that they had.

    Parameters
    ----------
    block : structured array[n]
        Of dtype `firemesh.traces.schema.ACCESS`.
    key : uint[n]
        Of 16 bits at most it is sorted fastest.
    """
    order = np.argsort(key, kind="stable")
    words = block.view(np.uint64).reshape(-1, WORDS)  # rows of plain numbers move faster
    rows, keys = words.take(order, axis=0).view(ACCESS)[:, 0], key[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1, [len(keys)]])
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if first < end:
            yield int(keys[first]), rows[first:end]
