"""Descriptions of MNF machines; `docs/mnf-cycles.md` says what each field does to a cycle."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...noc.topology import MAX_NODES
from ..description import MAX_BYTES, Description, Part
from ..kinds import Memory

TILES = ((3, 3), (2, 2), (4, 1), (1, 4), (3, 1), (1, 3), (1, 1))
"""A x B kernel positions of a weight row. The MNF paper's nine modules take those of threes; those
of twos and fours, chosen, are for machines whose modules are a power of two."""


class Mesh(Part):
    """The mesh; node 0, at corner (0, 0), is the storage PE, every other node a PE."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    storage_row: bool = False
    """Whether row 0 holds the storage PE and, on its other nodes, routers without a PE. Those are
    numbered after the PEs."""

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return self.width * self.height

    @property
    def n_pes(self) -> int:
        """Number of nodes with a PE."""
        return self.width * (self.height - 1) if self.storage_row else self.n_nodes - 1


class Pe(Part):
    """A processing element."""

    modules: int = Field(ge=1, le=256)
    """M: MAC modules, each with a psum bank."""
    lanes: int = Field(ge=1, le=64)
    """L: multipliers of a module."""
    weight_bytes: int = Field(ge=1, le=MAX_BYTES)
    psum_bank_bytes: int = Field(ge=1, le=MAX_BYTES)
    """Accumulate SRAM of one module."""
    weights: Literal["rows", "dense", "ideal"] = "rows"
    """``rows``: weight rows that are all zero are neither stored nor read; ``ideal``: non-zero
    weights are packed and banks do not matter."""
    row_layout: Literal["tile", "linear"] = "tile"
    """Which kernel positions a weight row holds: a tile, or a run in raster order."""
    tile: Literal["auto", "3x3", "2x2", "4x1", "1x4", "3x1", "1x3", "1x1"] = "auto"
    event_fifo: int = Field(16, ge=1, le=65536)
    forward_fifo: int = Field(2, ge=1, le=65536)
    row_fifo: int = Field(4, ge=1, le=65536)
    mac_fifo: int = Field(2, ge=1, le=65536)
    weight_latency_cycles: int = Field(1, ge=1, le=64)
    forwarding: bool = True
    fire_lanes: int = Field(1, ge=1)
    """Psums that the fire phase reads per cycle: 1, L or M*L."""
    fire_fifo: int = Field(2, ge=1, le=65536)

    @property
    def multipliers(self) -> int:
        """M*L: multipliers, and weights in a row."""
        return self.modules * self.lanes

    @property
    def weight_rows(self) -> int:
        """Rows that the weight SRAM holds."""
        return self.weight_bytes // self.multipliers

    @property
    def bank_words(self) -> int:
        """Words of L psums that a bank holds."""
        return self.psum_bank_bytes // (4 * self.lanes)

    @property
    def tiles(self) -> tuple[tuple[int, int], ...]:
        """Tiles A x B that the modules can be split into."""
        return tuple(t for t in TILES if self.modules % (t[0] * t[1]) == 0)

    @model_validator(mode="after")
    def _check(self) -> "Pe":
        lanes = (1, self.lanes, self.multipliers)
        if self.fire_lanes not in lanes:
            known = ", ".join(str(n) for n in sorted(set(lanes)))
            raise ValueError(
                f"fire_lanes: must be one of {known} (1, L or M*L), got {self.fire_lanes}"
            )
        if self.tile != "auto" and self.tile not in {f"{a}x{b}" for a, b in self.tiles}:
            known = ", ".join(f"{a}x{b}" for a, b in self.tiles)
            raise ValueError(
                f"tile: must be auto or one of {known}, so that A*B divides the "
                f"{self.modules} modules, got {self.tile}"
            )
        if self.row_layout == "linear" and self.tile != "auto":
            raise ValueError(f"tile: must be auto with row_layout linear, got {self.tile}")
        if self.weights == "ideal" and self.row_layout != "tile":
            raise ValueError(
                f"weights: ideal needs row_layout tile, got row_layout {self.row_layout}"
            )
        for name, size, unit in (
            ("weight_bytes", self.weight_bytes, self.multipliers),
            ("psum_bank_bytes", self.psum_bank_bytes, 4 * self.lanes),
        ):
            if size < unit:
                raise ValueError(
                    f"{name}: must hold at least one access of {unit} bytes, got {size}"
                )
        return self


class Storage(Part):
    """The storage PE, which keeps activations between layers."""

    event_order: Literal["row", "channel", "raster"] = "row"
    bytes: int | None = Field(None, ge=8, le=MAX_BYTES)
    """Capacity; unlimited (the peak is reported) when null."""
    tensors: Literal["sram", "dram"] = "sram"
    """Where event lists lie between layers. ``dram``: storage only passes events on, each of them
    read from DRAM when it is sent and written there when it arrives."""
    keeps_weights: bool = True
    """Whether the weights of all layers stay in the PEs from frame to frame, where they fit."""
    ports: int = Field(1, ge=1, le=4)
    """Flits that storage takes per cycle. It offers one packet at a time, because a PE takes one
    flit per cycle. The mesh brings as many flits as its node has links."""
    weight_packet_rows: int = Field(8, ge=1, le=64)
    """Weight rows of a packet, where weights come in during the frame."""


class Machine(Description):
    """A machine of mode mnf.

    Attributes
    ----------
    sources : dict
        Field path -> where its value comes from.
    """

    threshold: int = Field(0, ge=0, le=255)
    """Outputs of ReLU layers with ``q - zero_point <= threshold`` do not fire."""
    layer_thresholds: dict[str, Annotated[int, Field(ge=0, le=255)]] = {}
    """Thresholds of layers that have another one, by name."""
    mesh: Mesh
    pe: Pe
    storage: Storage = Field(default_factory=lambda: Storage.model_validate({}))

    @model_validator(mode="after")
    def _check(self) -> Self:
        mesh = self.mesh
        if not 2 <= mesh.n_nodes <= MAX_NODES or not mesh.n_pes:
            row = " beside a storage row" if mesh.storage_row else ""
            raise ValueError(
                f"mesh: must have 2 to {MAX_NODES} nodes (one storage PE and at least one PE), "
                f"got {mesh.width} x {mesh.height}{row}"
            )
        return self

    def threshold_of(self, layer: str) -> int:
        """Return a layer's threshold."""
        return self.layer_thresholds.get(layer, self.threshold)

    @property
    def tensor_memory(self) -> Memory:
        """The memory that holds event lists."""
        return Memory.DRAM if self.storage.tensors == "dram" else Memory.STORAGE

    @property
    def n_units(self) -> int:
        """Storage and the PEs."""
        return 1 + self.mesh.n_pes

    @property
    def n_nodes(self) -> int:
        """Nodes of the mesh."""
        return self.mesh.n_nodes

    @property
    def has_storage_row(self) -> bool:
        """Whether row 0 of the mesh holds storage, and else routers without a PE."""
        return self.mesh.storage_row

    @property
    def storage_ports(self) -> int:
        """Flits that storage takes from the mesh per cycle."""
        return self.storage.ports

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height of the mesh."""
        return self.mesh.width, self.mesh.height

    @property
    def pe_multipliers(self) -> int:
        """M*L: multipliers of a PE."""
        return self.pe.multipliers

    @property
    def router_name(self) -> str:
        """The router's name; of a description "own"."""
        return self.noc.router_name

    @property
    def flit_bits(self) -> int:
        """Bits of a flit."""
        return self.noc.flit_bits
