"""The trace reader: `open_trace`."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from .blocks import Shapes, in_cycle_order, in_storage_order, members, shapes_of
from .decode import DamageError, Index, Segment, Tables
from .schema import (
    ACCESS,
    ATTRIBUTES,
    COLUMNS,
    DELIVERY,
    INHERITED,
    NETWORK_MEMORIES,
    OPS,
    PACKET,
    PACKET_SHIFT,
    SCHEMA,
    SCHEMA_VERSION,
    TABLES,
    TEXT,
)
from .store import merge
from .writer import TraceError, partial_of, read_state, shards_of

Wanted = str | int | Sequence[str | int] | None


def open_trace(path: str | Path) -> "Trace":
    """Open a trace, or what there is so far of one that is being written.

    Parameters
    ----------
    path : str or Path
        The file. Where there is none, its folder ``PATH.partial`` is read.

    Returns
    -------
    Trace

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
    return Trace(Path(path))


def sample_trace() -> Path:
    """Return the path of the sample trace that comes with firemesh: one image of digits."""
    return Path(__file__).with_name("digits.h5")


def _numbers(names: list[str], wanted: Wanted, what: str) -> set[int] | None:
    """Return the numbers of wanted things, given by name, number or several of these."""
    if wanted is None:
        return None
    found = set()
    for one in [wanted] if isinstance(wanted, str | int | np.integer) else wanted:
        if isinstance(one, str) and one in names:
            found.add(names.index(one))
        elif not isinstance(one, str) and 0 <= one < len(names):
            found.add(int(one))
        else:
            known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise TraceError(f"{what}: must be one of {known}, got {one}")
    return found


class Trace:
    """A trace, opened for reading; a context manager.

    Attributes
    ----------
    path : Path
    complete : bool
        Whether the run came to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, NDArray[Any]] = {}
        self._shape: dict[tuple[frozenset[int], frozenset[int]], Shapes] = {}
        self._last: tuple[int, Segment] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._file = self._open()
            self._check_attributes()
            self._check_tables()
        except BaseException:
            self.close()
            raise

    # ---- opening

    def _open(self) -> h5py.File:
        folder = self.path if self.path.is_dir() else partial_of(self.path)
        if folder.is_dir() and not self.path.is_file():
            return self._open_partial(folder)
        if not self.path.exists():
            raise TraceError(f"{self.path}: no such file; make one with firemesh run --trace")
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            if not self.path.stat().st_size:
                reason = "the file is empty"
            elif not h5py.is_hdf5(self.path):
                reason = "it is not an HDF5 file"
            else:
                reason = f"it is damaged ({_reason(error)})"
            raise TraceError(
                f"{self.path}: cannot be opened: {reason}; make it again with firemesh run --trace"
            ) from None

    def _open_partial(self, folder: Path) -> h5py.File:
        shards = shards_of(folder)
        state, attributes = read_state(folder)
        n = int(state["shards"]) if state else 0
        if not n or n > len(shards):
            raise TraceError(
                f"{folder}: holds no finished segments yet; run again with --resume to go on"
            )
        self._temporary = tempfile.TemporaryDirectory(prefix="firemesh-")
        merged = Path(self._temporary.name) / "partial.h5"
        try:
            merge(shards[:n], merged, attributes | {"complete": False})
            return h5py.File(merged, "r")
        except (OSError, ValueError, KeyError) as error:
            raise TraceError(
                f"{folder}: cannot be read ({_reason(error)}); run again with --force"
            ) from None

    def _check_attributes(self) -> None:
        attributes = self._file.attrs
        if "schema" not in attributes or attributes["schema"] != SCHEMA:
            raise TraceError(
                f"{self.path}: is no firemesh trace (attribute schema is not {SCHEMA}); "
                "give a file made with firemesh run --trace"
            )
        version = attributes.get("schema_version")
        if not isinstance(version, int | np.integer) or version > SCHEMA_VERSION:
            raise TraceError(
                f"{self.path}: has schema version {version}, this firemesh reads up to "
                f"{SCHEMA_VERSION}; install a newer firemesh"
            )
        for name, kind in ATTRIBUTES.items():
            value = attributes.get(name)
            kinds = {
                str: str,
                int: int | np.integer,
                float: float | np.floating,
                bool: bool | np.bool_,
            }[kind]
            if not isinstance(value, kinds):
                raise TraceError(
                    f"{self.path}: attribute {name} is missing or no {kind.__name__}; "
                    "make the trace again"
                )

    def _check_tables(self) -> None:
        for name, fields in TABLES.items():
            if name not in self._file:
                continue
            dataset = self._file[name]
            if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1:
                raise TraceError(f"{self.path}: {name} is not a table; make the trace again")
            found = (
                {"": dataset.dtype}
                if dataset.dtype.names is None
                else dict((field, dataset.dtype[field]) for field in dataset.dtype.names)
            )
            same = set(found) == {field for field, _ in fields} and all(
                found[field].kind == "S" if kind == TEXT else found[field] == np.dtype(kind)
                for field, kind in fields
            )
            if not same:
                raise TraceError(
                    f"{self.path}: table {name} has other fields than schema "
                    f"{SCHEMA_VERSION}; make the trace again"
                )

    def close(self) -> None:
        """Close the file."""
        if getattr(self, "_file", None) is not None:
            self._file.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        """Return the trace."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    # ---- tables

    def attribute(self, name: str) -> Any:
        """Return an attribute of the file: machine, network, command and so on."""
        if name not in ATTRIBUTES:
            raise TraceError(f"attribute: must be one of {', '.join(ATTRIBUTES)}, got {name}")
        value = self._file.attrs[name]
        return ATTRIBUTES[name](value)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.attribute("complete"))

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return int(self._file.id.get_filesize())

    def table(self, name: str) -> NDArray[Any]:
        """Return a table as it is in the file, see ``docs/trace-format.md``; text as bytes.

        Raises
        ------
        TraceError
            When there is no such table, or it is damaged.
        """
        if name not in TABLES:
            raise TraceError(f"table: must be one of {', '.join(TABLES)}, got {name}")
        if name.startswith(("columns/", "weights/")):
            return self._read(name)
        if name not in self._kept:
            self._kept[name] = self._read(name)
            self._kept[name].flags.writeable = False
        return self._kept[name]

    def _read(self, name: str) -> NDArray[Any]:
        if name not in self._file:
            fields = TABLES[name]
            if fields[0][0] == "":
                return np.zeros(0, fields[0][1])
            kinds = [(field, "S1" if kind == TEXT else kind) for field, kind in fields]
            return np.zeros(0, kinds)
        try:
            rows: NDArray[Any] = self._file[name][...]
        except (OSError, MemoryError, ValueError) as error:
            raise self._damaged(name, error) from None
        return rows

    def _damaged(self, name: str, error: BaseException) -> TraceError:
        return TraceError(
            f"{self.path}: table {name} is damaged ({_reason(error)}); make the trace again"
        )

    def _names(self, table: str) -> list[str]:
        return [name.decode("utf-8", "replace") for name in self.table(table)["name"]]

    @cached_property
    def layers(self) -> list[str]:
        """Names of the layers, in network order."""
        return self._names("layers")

    @cached_property
    def units(self) -> list[str]:
        """Names of the units, by number."""
        return self._names("units")

    @cached_property
    def memories(self) -> list[str]:
        """Names of the memories, by number; the last two are the doors to the network."""
        return self._names("memories")

    @cached_property
    def causes(self) -> list[str]:
        """Names of the causes of slots, by number."""
        return self._names("causes")

    @cached_property
    def segments(self) -> NDArray[Any]:
        """Parts of the run in order of time: frame, layer, wave, cycle0, cycle1."""
        return self.table("segments")

    @cached_property
    def cycles(self) -> int:
        """Cycles of the run so far."""
        return int(self.segments["cycle1"][-1]) if len(self.segments) else 0

    # ---- totals, from what is stored

    def _segment_numbers(self, frame: int | None, layers: set[int] | None) -> NDArray[np.int64]:
        segments = self.segments
        wanted = np.ones(len(segments), bool)
        if frame is not None:
            wanted &= segments["frame"] == frame
        if layers is not None:
            wanted &= np.isin(segments["layer"], sorted(layers))
        return np.flatnonzero(wanted)

    def _totals(
        self, table: str, by: Sequence[str], sums: Sequence[str], fields: dict[str, str]
    ) -> NDArray[Any]:
        """Add up a table of counts by frame, layer and columns of its own."""
        rows, segments = self.table(table), self.segments
        unknown = [name for name in by if name not in fields and name not in ("frame", "layer")]
        if unknown:
            known = ", ".join(["frame", "layer", *fields])
            raise TraceError(f"by: must be of {known}, got {unknown[0]}")
        if len(rows) and rows["segment"].max() >= len(segments):
            raise self._damaged(table, ValueError("it tells of segments that do not exist"))
        keys = []
        for name in by:
            column = segments[name][rows["segment"]] if name in ("frame", "layer") else rows[name]
            keys.append(column.astype(np.int64))
        stacked = np.array(keys, np.int64).reshape(len(by), len(rows))
        groups, which = np.unique(stacked, axis=1, return_inverse=True)
        names = {"layer": self.layers, **{name: getattr(self, of) for name, of in fields.items()}}
        return self._table_of(by, sums, rows, groups, which.ravel(), names)

    def _table_of(
        self,
        by: Sequence[str],
        sums: Sequence[str],
        rows: NDArray[Any],
        groups: NDArray[np.int64],
        which: NDArray[np.int64],
        names: dict[str, list[str]],
    ) -> NDArray[Any]:
        columns: dict[str, NDArray[Any]] = {}
        for name, numbers in zip(by, groups, strict=True):
            if name not in names:
                columns[name] = numbers
                continue
            if len(numbers) and numbers.max() >= len(names[name]):
                raise self._damaged("counters", ValueError(f"{name} {numbers.max()} is unknown"))
            columns[name] = np.array(names[name] or [""])[numbers]
        for name in sums:
            total = np.zeros(groups.shape[1], np.int64)
            np.add.at(total, which, rows[name].astype(np.int64))
            columns[name] = total
        result = np.empty(groups.shape[1], [(n, c.dtype) for n, c in columns.items()])
        for name, column in columns.items():
            result[name] = column
        return result

    @property
    def ops(self) -> list[str]:
        """Names of the operations: read, write."""
        return list(OPS)

    @cached_property
    def links(self) -> list[str]:
        """Names of the links: ``source>target`` units; a link to itself delivers to the node."""
        table, units = self.table("links"), self.units
        return [f"{units[link['source']]}>{units[link['target']]}" for link in table]

    def counters(self, by: Sequence[str] = ("layer", "memory", "op")) -> NDArray[Any]:
        """Return accesses and bytes as the engine counted them, added up.

        Parameters
        ----------
        by : sequence of str
            Of frame, layer, unit, memory, op.

        Returns
        -------
        structured array
            The fields of ``by``, ``count`` and ``bytes``; at the network's doors flits.
        """
        fields = {"unit": "units", "memory": "memories", "op": "ops"}
        return self._totals("counters", by, ("count", "bytes"), fields)

    def slots(self, by: Sequence[str] = ("layer", "cause")) -> NDArray[Any]:
        """Return multiplier slots, added up by any of frame, layer, unit, cause."""
        fields = {"unit": "units", "cause": "causes"}
        return self._totals("slots", by, ("count",), fields)

    def flits(self, by: Sequence[str] = ("layer", "link")) -> NDArray[Any]:
        """Return flits over links, added up by any of frame, layer, link."""
        return self._totals("flits", by, ("count",), {"link": "links"})

    def energy(self, by: Sequence[str] = ("layer",)) -> list[dict[str, Any]]:
        """Return energy in pJ by component: each memory, MAC, NoC and idle.

        Parameters
        ----------
        by : sequence of str
            Of frame and layer.
        """
        unknown = [name for name in by if name not in ("frame", "layer")]
        if unknown:
            raise TraceError(f"by: must be of frame, layer, got {unknown[0]}")
        found: dict[tuple[Any, ...], dict[str, float]] = {}

        def add(row: Any, component: str, pj: float) -> None:
            parts = found.setdefault(tuple(row[name].item() for name in by), {})
            parts[component] = parts.get(component, 0.0) + pj

        memories = dict(zip(self.memories, self.table("memories"), strict=True))
        for row in self.counters((*by, "memory", "op")):
            if row["memory"] not in NETWORK_MEMORIES:
                price = memories[row["memory"]][f"{row['op']}_byte_pj"]
                add(row, str(row["memory"]), float(row["bytes"] * price))
        causes = dict(zip(self.causes, self.table("causes"), strict=True))
        idle = self.attribute("idle_cycle_pj") / self.attribute("multipliers")
        for row in self.slots((*by, "cause")):
            cause = causes[row["cause"]]
            add(row, "mac", float(row["count"] * cause["is_busy"] * self.attribute("mac_pj")))
            add(row, "idle", float(row["count"] * cause["is_idle"] * idle))
        for row in self.flits(by):
            add(row, "noc", float(row["count"] * self.attribute("flit_pj")))
        return [dict(zip(by, key, strict=True)) | parts for key, parts in found.items()]

    # ---- accesses

    @cached_property
    def _tables(self) -> Tables:
        names = ("patterns/first", "patterns/period", "patterns/items", "runs/first", "runs/kind",
                 "runs/a", "runs/b")  # fmt: skip
        arrays = [self.table(name) for name in names]
        tables = Tables(*(a if a.dtype.names else a.astype(np.int64) for a in arrays))
        self._guard(lambda: tables.check(len(self.memories)))
        return tables

    @cached_property
    def _index(self) -> Index:
        lists, found = self.table("lists"), self.table("members")
        if len(lists) and (lists["members"].sum(dtype=np.int64) != len(found)):
            raise self._damaged("members", ValueError("it does not fit table lists"))
        index = Index(lists, found)
        sizes = {name: self._size(f"columns/{name}") for name in COLUMNS}
        sizes["stalls"] = self._size("stalls")
        self._guard(lambda: index.check(sizes, len(self.segments), len(self.units)))
        return index

    def _size(self, table: str) -> int:
        return len(self._file[table]) if table in self._file else 0

    def _guard(self, call: Any) -> Any:
        """Call; tell what is damaged with the file's name."""
        try:
            return call()
        except DamageError as error:
            raise TraceError(f"{self.path}: is damaged: {error}; make the trace again") from None
        except (OSError, KeyError) as error:
            raise TraceError(
                f"{self.path}: is damaged ({_reason(error)}); make the trace again"
            ) from None

    def _segment(self, number: int) -> Segment:
        if self._last is None or self._last[0] != number:
            self._last = None
            self._last = number, self._make_segment(number)
        return self._last[1]

    @cached_property
    def _lists_of(self) -> NDArray[np.int64]:
        """int64[segments + 1]: first list of each segment."""
        return np.searchsorted(self._index.lists["segment"], np.arange(len(self.segments) + 1))

    def _make_segment(self, number: int) -> Segment:
        first, end = self._lists_of[number : number + 2]
        columns = {name: self._file.get(f"columns/{name}") for name in COLUMNS}
        stalls = self._file.get("stalls")
        columns["stalls"] = self.table("stalls") if stalls is None else stalls
        record = self.segments[number]
        return Segment(
            self._index, self._tables, columns, int(first), int(end),
            int(record["cycle0"]), int(record["cycle1"]),
        )  # fmt: skip

    def _shapes(self, memory: Wanted, op: Wanted) -> Shapes:
        memories = _numbers(self.memories, memory, "memory")
        if memories is None:
            names = enumerate(self.memories)
            memories = {number for number, name in names if name not in NETWORK_MEMORIES}
        ops = _numbers(list(OPS), op, "op")
        key = frozenset(memories), frozenset(range(len(OPS)) if ops is None else ops)
        if key not in self._shape:
            items = self._tables.items
            wanted = np.isin(items["memory"], sorted(key[0])) & np.isin(items["op"], sorted(key[1]))
            self._shape[key] = shapes_of(self._tables, wanted)
        return self._shape[key]

    def accesses(
        self,
        layer: Wanted = None,
        unit: Wanted = None,
        memory: Wanted = None,
        op: Wanted = None,
        frame: int | None = None,
        cycles: tuple[int, int] | None = None,
        order: str = "cycle",
    ) -> Iterator[NDArray[Any]]:
        """Yield accesses, block by block.

        Parameters
        ----------
        layer, unit, memory, op : name, number, several of these, or None
            Which accesses; None for all. The network's doors, ``noc_inject`` and ``noc_eject``,
            must be named.
        frame : int, optional
        cycles : (int, int), optional
            Half-open range.
        order : {"cycle", "storage"}
            By cycle, unit, list and row; or, twice as fast, as they are stored: by segment, unit,
            list and row.

        Yields
        ------
        structured array
            Of dtype `firemesh.traces.schema.ACCESS`; some 100,000 accesses, never none.

        Raises
        ------
        TraceError
            When a name is unknown or the trace is damaged.
        """
        if order not in ("cycle", "storage"):
            raise TraceError(f"order: must be cycle or storage, got {order}")
        layers = _numbers(self.layers, layer, "layer")
        units = _numbers(self.units, unit, "unit")
        shapes = self._shapes(memory, op)
        low, high = cycles or (0, self.cycles)
        for number in self._segment_numbers(frame, layers):
            record = self.segments[number]
            if record["cycle1"] <= low or record["cycle0"] >= high:
                continue
            for block in self._expanded(int(number), shapes, units, order, low, high):
                if order == "storage" and cycles:
                    block = block[(block["cycle"] >= low) & (block["cycle"] < high)]
                if len(block):
                    yield block

    def _expanded(
        self, number: int, shapes: Shapes, units: set[int] | None, order: str, low: int, high: int
    ) -> Iterator[NDArray[Any]]:
        """Yield the blocks of a segment."""
        found = self._guard(lambda: self._members(number, shapes, units))
        blocks = in_cycle_order(found, low, high) if order == "cycle" else in_storage_order(found)
        while (block := self._guard(lambda: next(blocks, None))) is not None:
            yield block

    def _blocks(self, number: int, units: set[int]) -> Iterator[NDArray[Any]]:
        """Yield all accesses of units in a segment, the network's doors included, by cycle."""
        shapes = self._shapes(self.memories, None)
        return self._expanded(number, shapes, units, "cycle", 0, 2**62)

    @cached_property
    def _counted(self) -> NDArray[np.int64]:
        """int64[segments]: accesses that were counted."""
        total = np.zeros(len(self.segments), np.int64)
        counters = self.table("counters")
        if len(counters) and counters["segment"].max() >= len(total):
            raise DamageError("counters tell of segments that do not exist")
        np.add.at(total, counters["segment"], counters["count"].astype(np.int64))
        return total

    def _members(self, number: int, shapes: Shapes, units: set[int] | None) -> Any:
        found = members(self._segment(number), shapes, int(self.segments["layer"][number]), units)
        most = self._counted[number]
        if sum(member.total for member in found) > most:
            raise DamageError(f"segment {number} holds more accesses than were counted")
        return found

    # ---- packets

    def packets(self, layer: Wanted = None, frame: int | None = None) -> Iterator[NDArray[Any]]:
        """Yield the packets of each segment in order of creation.

        Yields
        ------
        structured array
            Of dtype `firemesh.traces.schema.PACKET`: the cycle in which it was offered to the
            network, number and source (together its name in the segment), layer, flits, kind (a
            row of table ``kinds``), and with ``values`` the event's value less its zero point.
        """
        for number in self._segment_numbers(frame, _numbers(self.layers, layer, "layer")):
            yield self._packets_of(int(number))

    def deliveries(self, layer: Wanted = None, frame: int | None = None) -> Iterator[NDArray[Any]]:
        """Yield the arrivals of each segment's packets in order of cycles.

        Yields
        ------
        structured array
            Of dtype `firemesh.traces.schema.DELIVERY`: the cycle of the last flit, number and
            source of the packet, unit, layer, flits.
        """
        for number in self._segment_numbers(frame, _numbers(self.layers, layer, "layer")):
            yield self._deliveries_of(int(number))

    def _packets_of(self, number: int) -> NDArray[Any]:
        return self._guard(lambda: self._read_packets(number))  # type: ignore[no-any-return]

    def _read_packets(self, number: int) -> NDArray[Any]:
        segment, shapes = self._segment(number), self._shapes(NETWORK_MEMORIES[0], None)
        index, parts = segment.index, []
        for one in segment.numbers:
            if index.lists["kind"][one] == INHERITED:
                continue
            pattern = segment.pattern(one)
            if len(pattern) and (shapes.accesses[pattern] != 1).any():
                raise DamageError("a row with a kind of packet stands for no packet")
            for member in segment.members(one):
                start, shift = segment.starts(one, member)
                address = segment.address(one) + int(index.members["base_offset"][member])
                rows = np.empty(len(start), PACKET)
                rows["created"], rows["layer"] = start + shift, self.segments["layer"][number]
                rows["source"], rows["number"] = address >> PACKET_SHIFT, address & 0xFFFFFFFF
                rows["flits"] = shapes.item[shapes.first[pattern], 7] >> 32 & 0xFFFF
                rows["kind"] = segment.column("kind", one)
                rows["value"] = segment.column("value", one)
                parts.append(rows)
        packets = np.concatenate(parts) if parts else np.zeros(0, PACKET)
        ordered: NDArray[Any] = packets[np.lexsort((packets["source"], packets["created"]))]
        return ordered

    def _deliveries_of(self, number: int) -> NDArray[Any]:
        shapes = self._shapes(NETWORK_MEMORIES[1], None)
        blocks = list(self._expanded(number, shapes, None, "cycle", 0, 2**62))
        found = np.concatenate(blocks) if blocks else np.zeros(0, ACCESS)
        rows = np.empty(len(found), DELIVERY)
        for name in ("cycle", "unit", "layer"):
            rows[name] = found[name]
        rows["flits"] = found["size"]
        rows["source"] = found["address"] >> np.uint64(PACKET_SHIFT)
        rows["number"] = found["address"] & np.uint64(0xFFFFFFFF)
        return rows


def _reason(error: BaseException) -> str:
    """Return the first line of an error, without HDF5's inner names."""
    text = str(error).split("\n")[0]
    return text[text.rfind("(") + 1 :].rstrip(")") if text.count("(") == 1 else text
