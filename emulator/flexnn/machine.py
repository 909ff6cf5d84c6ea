"""Descriptions of FlexNN machines; `docs/flexnn-cycles.md` says what each field does."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ...noc.profiles import PROFILES, SIMPLE
from ...noc.topology import MAX_NODES
from ..description import BUS, MAX_BYTES, Description, Part
from .dataflows import DATAFLOWS

LaneMode = Literal["vxv", "mxm"]
Reduction = Literal["tree", "chain"]
Sparsity = Literal["dense", "activation", "weight", "both"]

MOST_VPES = 4096
MOST_BYTES_A_CYCLE = 8192


class Array(Part):
    """The array of versatile PEs (VPEs)."""

    rows: int = Field(ge=1, le=MOST_VPES)
    columns: int = Field(ge=1, le=MOST_VPES)
    lanes: int = Field(ge=1, le=64)
    """X: multipliers of a VPE."""
    lane_modes: tuple[LaneMode, ...] = Field(("vxv", "mxm"), min_length=1, strict=False)
    reductions: tuple[Reduction, ...] = Field(("tree", "chain"), min_length=1, strict=False)
    dataflow: str = "flexible"
    """``flexible``, or the fixed dataflow that a restricted machine has."""

    @property
    def n_vpes(self) -> int:
        """Number of VPEs."""
        return self.rows * self.columns

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dataflow != "flexible" and self.dataflow not in DATAFLOWS:
            known = ", ".join(("flexible", *DATAFLOWS))
            raise ValueError(f"dataflow: must be one of {known}, got {self.dataflow!r}")
        if self.n_vpes > MOST_VPES:
            raise ValueError(
                f"rows, columns: must make at most {MOST_VPES} VPEs, "
                f"got {self.rows} x {self.columns}"
            )
        return self


class RegisterFile(Part):
    """A VPE's register file: sub-banks that a descriptor gives to IF, FL and OF."""

    banks: int = Field(ge=3, le=4096)
    bank_bytes: int = Field(ge=1, le=MAX_BYTES)


class Sram(Part):
    """The SRAM that all VPEs share."""

    bytes: int = Field(ge=1, le=MAX_BYTES)
    read_bytes: int = Field(ge=1, le=MOST_BYTES_A_CYCLE)
    """Width of the array's read port: bytes a cycle, and of a word."""
    write_bytes: int = Field(ge=1, le=MOST_BYTES_A_CYCLE)
    ports: Literal["split", "shared"] = "split"
    """``shared``: the array's reads and writes take turns."""


class Sdn(Part):
    """The schedule-aware tensor distribution network between SRAM and VPEs."""

    kind: Literal["bus", "mesh"] = "bus"
    column_bytes: int = Field(ge=1, le=MOST_BYTES_A_CYCLE)
    """What a column of the array takes a cycle."""
    drain_bytes: int = Field(ge=1, le=MOST_BYTES_A_CYCLE)
    """What the array gives back a cycle."""
    reduced_per_cycle: int = Field(ge=1, le=65536)
    """Points that the reduction over VPEs delivers a cycle."""
    round_overhead_cycles: int = Field(0, ge=0, le=3)
    packet_flits: int = Field(16, ge=1, le=255)
    """Most flits of a packet over the mesh; see `FlexMachine.packet_flits`."""
    storage_ports: int = Field(1, ge=1, le=4)
    """Flits that storage takes from the mesh per cycle. It offers one packet at a time."""


class SparsityLogic(Part):
    """What is skipped, and what it costs."""

    modes: tuple[Sparsity, ...] = Field(
        ("dense", "activation", "weight", "both"), min_length=1, strict=False
    )
    pays_below: float = Field(0.875, ge=0, le=1)
    """A tensor is compressed and skipped where its share of non-zeros is below this."""
    empty_window_cycles: Literal[0, 1] = 1
    barrier: Literal["vpe", "column", "array"] = "array"
    """VPEs that begin their next round together."""


class Dram(Part):
    """The memory that holds the tensors."""

    bytes_per_cycle: int = Field(ge=1, le=MOST_BYTES_A_CYCLE)


class FlexMachine(Description):
    """A machine of mode flexnn."""

    array: Array
    rf: RegisterFile
    sram: Sram
    sdn: Sdn
    sparsity: SparsityLogic = Field(default_factory=lambda: SparsityLogic.model_validate({}))
    dram: Dram
    """``noc`` is of ``sdn.kind: mesh``."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sdn.kind == "bus":
            return self
        if self.noc.multicast == "chain":
            raise ValueError("noc.multicast: must be tree or unicast with sdn.kind mesh, got chain")
        flit = -(-self.noc.flit_bits // 8)
        for name in ("column_bytes", "drain_bytes"):
            if getattr(self.sdn, name) < flit:
                raise ValueError(
                    f"sdn.{name}: must be at least a flit's {flit} bytes with sdn.kind mesh, "
                    f"got {getattr(self.sdn, name)}"
                )
        width, height = self.sides
        if width * height > MAX_NODES:
            raise ValueError(
                f"array: must have at most {MAX_NODES} nodes with sdn.kind mesh, got {width} x "
                f"{height} with the row of storage; make rows or columns smaller, or use buses"
            )
        return self

    @property
    def n_units(self) -> int:
        """Storage and the VPEs."""
        return 1 + self.array.n_vpes

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height of the mesh: a row with storage, then the rows of VPEs."""
        return self.array.columns, self.array.rows + 1

    @property
    def has_storage_row(self) -> bool:
        """Row 0 of the mesh holds storage, and else routers without a VPE."""
        return True

    @property
    def storage_ports(self) -> int:
        """Flits that storage takes from the mesh per cycle."""
        return self.sdn.storage_ports

    @property
    def n_nodes(self) -> int:
        """Nodes of the mesh; units on buses."""
        width, height = self.sides
        return width * height if self.sdn.kind == "mesh" else self.n_units

    @property
    def packet_flits(self) -> int:
        """Most flits of a packet over the mesh.

        Routers with virtual channels hold whole packets in a buffer where they multicast or cut
        through.
        """
        noc = self.noc
        if noc.router == SIMPLE:
            return self.sdn.packet_flits
        profile = PROFILES[noc.router] if isinstance(noc.router, str) else noc.router
        if noc.multicast == "tree" or profile.switching == "cut-through":
            return min(self.sdn.packet_flits, noc.buffer_flits)
        return self.sdn.packet_flits

    @property
    def pe_multipliers(self) -> int:
        """Multipliers of a VPE."""
        return self.array.lanes

    @property
    def router_name(self) -> str:
        """The router's name; "bus" on buses."""
        return self.noc.router_name if self.sdn.kind == "mesh" else BUS

    @property
    def flit_bits(self) -> int:
        """Bits of a flit; on buses a byte is counted as one."""
        return self.noc.flit_bits if self.sdn.kind == "mesh" else 8
