"""The trace reader: what the tables of an open trace tell, access by access."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import FEW_MEMBERS, in_cycle_order, in_storage_order, members
from .decode import Segment
from .errors import DamageError, TraceError, check_range
from .file import UNREADABLE, TraceFile, reason
from .index import Index, Tables
from .long_rows import LongRows
from .mask_sets import MaskSets
from .schema import (
    COLUMNS,
    DELIVERY,
    INHERITED,
    NETWORK_MEMORIES,
    OPS,
    PACKET,
    PACKET_SHIFT,
    Walk,
)
from .selection import Wanted, cycle_range, number_of, numbers
from .shapes import Shapes, shapes_of
from .totals import energy, totals
from .values import WORD_BYTES, psum_blocks


class Trace(TraceFile):
    """A trace, opened for reading; a context manager.

    Attributes
    ----------
    path : Path
    complete : bool
        Whether the run came to its end.
    """

    def __init__(self, path: Path) -> None:
        self._shape: dict[tuple[frozenset[int], frozenset[int]], Shapes] = {}
        self._last: tuple[int, Segment] | None = None
        super().__init__(path)

    # ---- totals, from what is stored

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
        return totals(self, "counters", by)

    def slots(self, by: Sequence[str] = ("layer", "cause")) -> NDArray[Any]:
        """Return multiplier slots, added up by any of frame, layer, unit, cause."""
        return totals(self, "slots", by)

    def flits(self, by: Sequence[str] = ("layer", "link")) -> NDArray[Any]:
        """Return flits over links, added up by any of frame, layer, link."""
        return totals(self, "flits", by)

    def vc_stalls(self, by: Sequence[str] = ("layer", "wait")) -> NDArray[Any]:
        """Return cycles of packets that wait in routers, by any of frame, layer, unit, wait."""
        return totals(self, "vc_stalls", by)

    def energy(self, by: Sequence[str] = ("layer",)) -> list[dict[str, Any]]:
        """Return energy in pJ by component (each memory, MAC, NoC, idle), and by frame, layer."""
        return energy(self, by)

    # ---- accesses

    def _segment_numbers(self, frame: int | None, layers: set[int] | None) -> NDArray[np.int64]:
        segments = self.segments
        wanted = np.ones(len(segments), bool)
        if frame is not None:
            wanted &= segments["frame"] == frame
            if not wanted.any():
                last = int(segments["frame"].max(initial=0))
                raise TraceError(f"frame: must be one of 0..{last}, got {frame}")
        if layers is not None:
            wanted &= np.isin(segments["layer"], sorted(layers))
        return np.flatnonzero(wanted)

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
            raise self.damaged("members", ValueError("it does not fit table lists"))
        masks = {name: self._file[f"masks/{name}"] for name in ("words", "address", "section")}
        index = Index(lists, found, MaskSets(self.table("masks/sets"), masks))
        sizes = {name: len(column) for name, column in self._columns.items()}
        self._guard(lambda: index.check(sizes, len(self.segments), len(self.units)))
        return index

    @cached_property
    def _columns(self) -> dict[str, Any]:
        """Datasets of list rows, and of stalls."""
        columns = {name: self._file[f"columns/{name}"] for name in COLUMNS}
        return columns | {"stalls": self._file["stalls"]}

    def _guard(self, call: Any) -> Any:
        """Call; tell what is damaged with the file's name."""
        try:
            return call()
        except DamageError as error:
            raise TraceError(f"{self.path}: is damaged: {error}; make the trace again") from None
        except TraceError:
            raise
        except UNREADABLE as error:
            raise TraceError(
                f"{self.path}: is damaged ({reason(error)}); make the trace again"
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
        record = self.segments[number]
        self._guard(lambda: self._check_size(number, int(first), int(end)))
        return Segment(
            self._index, self._tables, self._columns, int(first), int(end),
            int(record["cycle0"]), int(record["cycle1"]),
        )  # fmt: skip

    def _shapes(self, memory: Wanted, op: Wanted) -> Shapes:
        memories = numbers(self.memories, memory, "memory")
        if memories is None:
            names = enumerate(self.memories)
            memories = {number for number, name in names if name not in NETWORK_MEMORIES}
        ops = numbers(list(OPS), op, "op")
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
        layers = numbers(self.layers, layer, "layer")
        units = numbers(self.units, unit, "unit")
        shapes = self._shapes(memory, op)
        low, high = cycle_range(cycles or (0, self.cycles))
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
        long = {member.number for member in found if isinstance(member, LongRows)}
        if long and self._last and len(self._last[1].numbers) > FEW_MEMBERS:
            self._last[1].forget(long)

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

    @cached_property
    def _slots(self) -> NDArray[np.int64]:
        """int64[segments]: multiplier slots that were counted."""
        total, slots = np.zeros(len(self.segments), np.int64), self.table("slots")
        if len(slots) and slots["segment"].max() >= len(total):
            raise DamageError("slots tell of segments that do not exist")
        np.add.at(total, slots["segment"], slots["count"].astype(np.int64))
        return total

    def _check_size(self, number: int, first: int, end: int) -> None:
        """Refuse a segment whose cycles or rows are more than were counted."""
        record = self.segments[number]
        cycles = int(record["cycle1"]) - int(record["cycle0"])
        n_pes = int((self.table("units")["kind"] == b"pe").sum())
        if record["cycle1"] >= 1 << 62 or cycles <= 0:
            raise DamageError(f"segments: {number} ends before it begins, or never")
        if cycles * self.attribute("multipliers") * n_pes != self._slots[number]:
            raise DamageError(
                f"slots of segment {number} are {self._slots[number]}, "
                f"not those of {n_pes} PEs in {cycles} cycles"
            )
        rows = int(self._index.lists["rows"][first:end].max(initial=0))
        if rows > self._counted[number]:
            raise DamageError(f"lists rows is {rows}, more than segment {number} has accesses")

    def _members(self, number: int, shapes: Shapes, units: set[int] | None) -> Any:
        found = members(self._segment(number), shapes, int(self.segments["layer"][number]), units)
        most = self._counted[number]
        if sum(member.total for member in found) > most:
            raise DamageError(f"segment {number} holds more accesses than were counted")
        return found

    # ---- tables for data people

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
        for number in self._segment_numbers(frame, numbers(self.layers, layer, "layer")):
            yield self._packets_of(int(number))

    def deliveries(self, layer: Wanted = None, frame: int | None = None) -> Iterator[NDArray[Any]]:
        """Yield the arrivals of each segment's packets in order of cycles.

        Yields
        ------
        structured array
            Of dtype `firemesh.traces.schema.DELIVERY`: the cycle of the last flit, number and
            source of the packet, unit, layer, flits.
        """
        for number in self._segment_numbers(frame, numbers(self.layers, layer, "layer")):
            yield self._deliveries_of(int(number))

    def psums(
        self, layer: str | int, unit: str | int, frame: int = 0
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.int32]]]:
        """Yield a PE's psum accesses in a layer, and the values that they read and write.

        They are computed from the events' values and the weights, which a trace holds that was
        recorded with ``values``; in storage order: first all multiplications, then the fire phase.

        Yields
        ------
        structured array, int32[n, lanes]
            See `firemesh.traces.values.psum_blocks`.

        Raises
        ------
        TraceError
            When the trace holds no values, or the layer's psums do not come from events.
        """
        if not self.attribute("values"):
            raise TraceError(f"{self.path}: holds no values; record it with --values")
        layer_id = number_of(self.layers, layer, "layer")
        if self.table("layers")["mode"][layer_id] != b"mnf":
            mode = self.table("layers")["mode"][layer_id].decode("utf-8", "replace")
            raise TraceError(
                f"{self.path}: psums of layer {self.layers[layer_id]} are not told, it is of mode "
                f"{mode}; name a layer of mode mnf"
            )
        unit_id = number_of(self.units, unit, "unit")
        memory = number_of(self.memories, "psum", "memory")
        items = self._tables.items[self._tables.items["memory"] == memory]
        words = int(self.table("memories")["bytes"][memory]) // WORD_BYTES
        psum = np.zeros(words, np.int32)
        for number in self._segment_numbers(frame, {layer_id}):
            weights = self._weights(layer_id, int(self.segments["wave"][number]), unit_id)
            parts = psum_blocks(
                self._segment(int(number)), self._shapes("psum", None), items, layer_id, unit_id,
                *weights, psum,
            )  # fmt: skip
            while (part := self._guard(lambda: next(parts, None))) is not None:  # noqa: B023
                yield part

    def _weights(self, layer: int, wave: int, unit: int) -> tuple[NDArray[Any], int]:
        """Return a PE's weights in a wave, and the address of the first."""
        rows, waves = self.table("weights/rows"), self.table("waves")
        block = waves["block"][(waves["layer"] == layer) & (waves["wave"] == wave)]
        is_mine = (rows["layer"] == layer) & (rows["unit"] == unit)
        mine = np.flatnonzero(is_mine & np.isin(rows["block"], block))
        if not len(mine):
            return np.zeros(0, np.int16), 0
        first, count = (int(rows[name][mine[0]]) for name in ("first", "count"))
        return self.table("weights/values")[first : first + count], int(rows["address"][mine[0]])

    def _packets_of(self, number: int) -> NDArray[Any]:
        return self._guard(lambda: self._read_packets(number))  # type: ignore[no-any-return]

    def _read_packets(self, number: int) -> NDArray[Any]:
        segment, shapes = self._segment(number), self._shapes(NETWORK_MEMORIES[0], None)
        index, parts = segment.index, []
        for one in segment.numbers:
            if index.lists["kind"][one] == INHERITED:
                continue
            pattern = segment.pattern(one)
            if segment.walk(one) > Walk.RUN:
                raise DamageError("a row with a kind of packet is a span or masks")
            if len(pattern) and (shapes.accesses[pattern] != 1).any():
                raise DamageError("a row with a kind of packet stands for no packet")
            for member in segment.members(one):
                start, shift = segment.starts(one, member)
                address = segment.address(one) + int(index.members["base_offset"][member])
                rows = np.empty(len(start), PACKET)
                rows["created"], rows["layer"] = start + shift, self.segments["layer"][number]
                kind = segment.column("kind", one)
                check_range("columns/kind (packet kind)", kind, 0, len(self.table("kinds")) - 1)
                check_range("packets source", address >> PACKET_SHIFT, 0, len(self.units) - 1)
                rows["source"], rows["number"] = address >> PACKET_SHIFT, address & 0xFFFFFFFF
                rows["flits"] = shapes.item[shapes.first[pattern], 7] >> 32 & 0xFFFF
                rows["kind"] = kind
                rows["value"] = segment.column("value", one)
                parts.append(rows)
        packets = np.concatenate(parts) if parts else np.zeros(0, PACKET)
        ordered: NDArray[Any] = packets[np.lexsort((packets["source"], packets["created"]))]
        return ordered

    def _deliveries_of(self, number: int) -> NDArray[Any]:
        return np.concatenate([np.empty(0, DELIVERY), *self._arrivals(number)])

    def _arrivals(self, number: int) -> Iterator[NDArray[Any]]:
        """Yield the arrivals of a segment's packets by cycle, of dtype DELIVERY, in blocks."""
        shapes = self._shapes(NETWORK_MEMORIES[1], None)
        for block in self._expanded(number, shapes, None, "cycle", 0, 2**62):
            rows = np.empty(len(block), DELIVERY)
            for name in ("cycle", "unit", "layer"):
                rows[name] = block[name]
            rows["flits"] = block["size"]
            rows["source"] = block["address"] >> np.uint64(PACKET_SHIFT)
            rows["number"] = block["address"] & np.uint64(0xFFFFFFFF)
            yield rows
