"""Text files of traffic: whole lines with their numbers, and sentences for what is wrong."""

import gzip
import zlib
from collections.abc import Iterator
from os import PathLike
from typing import BinaryIO, cast

GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLOCK_BYTES = 1 << 20
"""Text that is held at a time, and the longest line."""
MOST_SHOWN = 48
MOST_NUMBER = (1 << 31) - 1
"""Of every number but a cycle."""


class TrafficFileError(ValueError):
    """A file of traffic that cannot be read or written; one sentence with the way out."""


class LineError(ValueError):
    """What is wrong with a line, without the names of file and line."""


def at_line(path: str | PathLike[str], number: int, error: LineError) -> TrafficFileError:
    """Return the error that names file and line."""
    return TrafficFileError(f"{path}, line {number}: {error}")


def shown(text: bytes) -> str:
    """Return a piece of a line as a message shows it: printable, in quotes, not too long."""
    cut = text[:MOST_SHOWN] + b"..." if len(text) > MOST_SHOWN else text
    return repr(cut.decode("utf-8", "backslashreplace"))


def whole(field: bytes, name: str, most: int = MOST_NUMBER) -> int:
    """Return a field's number.

    Parameters
    ----------
    field : bytes
    name : str
        What the number is, for the message.
    most : int
        The largest number that is allowed.

    Raises
    ------
    LineError
        When the field is not a whole number in decimal digits from 0 to ``most``.
    """
    digits = field[1:] if field.startswith(b"-") else field
    if not digits.isdigit():
        raise LineError(f"{name} must be a whole number, got {shown(field)}; write decimal digits")
    digits = digits.lstrip(b"0")
    if len(digits) > len(str(most)) or int(digits or b"0") > most:
        raise LineError(f"{name} must be at most {most}, got {shown(field)}; correct the number")
    if digits and field.startswith(b"-"):
        raise LineError(f"{name} must not be negative, got {int(field)}; count from 0")
    return int(digits or b"0")


def node(field: bytes, name: str, n_nodes: int) -> int:
    """Return a field's node; `LineError` when the network has no such node."""
    if field.isdigit() and len(field) < 10 and (number := int(field)) < n_nodes:
        return number
    number = whole(field, name)
    if number < n_nodes:
        return number
    raise LineError(
        f"{name} must be a node from 0 to {n_nodes - 1}, got {number}; "
        "correct it or take a larger network"
    )


def require_nodes(n_nodes: int) -> None:
    """Refuse a network without nodes."""
    if n_nodes < 1:
        raise ValueError(f"n_nodes: must be at least 1, got {n_nodes}; give the network's nodes")


def blocks(path: str | PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines), each line with its line feed.

    A file that begins like gzip is read as gzip, whatever its name.

    Raises
    ------
    TrafficFileError
        When the file is missing, cannot be read, is damaged gzip or is not text.
    """
    try:
        with open(path, "rb") as raw:
            is_gzip = raw.peek(len(GZIP)).startswith(GZIP)
            stream = gzip.GzipFile(fileobj=raw) if is_gzip else raw
            yield from _whole_lines(path, cast(BinaryIO, stream))
    except FileNotFoundError:
        raise TrafficFileError(f"{path}: no such file; check the name") from None
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TrafficFileError(
            f"{path}: cannot be read ({why}); give a text file, plain or gzip, that is complete"
        ) from None


def _whole_lines(path: str | PathLike[str], stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number, rest, is_first = 1, b"", True
    while text := stream.read(BLOCK_BYTES):
        if is_first:
            text, is_first = text.removeprefix(BYTE_ORDER_MARK), False
        if b"\0" in text:
            raise TrafficFileError(f"{path}: is not text (it holds zero bytes); give a text file")
        end = text.rfind(b"\n") + 1
        if end:
            whole_lines = rest + text[:end]
            yield number, whole_lines
            number += whole_lines.count(b"\n")
            rest = b""
        rest += text[end:]
        if len(rest) > BLOCK_BYTES:
            error = LineError(f"is longer than {BLOCK_BYTES} characters; break the lines")
            raise at_line(path, number, error)
    if rest:
        yield number, rest + b"\n"


def lines(path: str | PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line without its line feed)."""
    for first, block in blocks(path):
        yield from enumerate(block.split(b"\n")[:-1], first)
