"""Descriptions of hybrid machines: one mesh of PEs that runs layers in either mode."""

from functools import cached_property
from typing import Any, Self

from pydantic import Field, model_validator

from ..activations import EVENT_BYTES
from ..description import Description, MachineError, Part
from ..flexnn.machine import Array, Dram, FlexMachine, RegisterFile, Sdn, SparsityLogic, Sram
from ..mnf.machine import Machine, Pe, Storage

SHARED = ("name", "summary", "clock_hz", "energy", "noc", "sources")


class MnfSide(Part):
    """What PEs and storage are while a layer runs in mode mnf."""

    pe: Pe
    storage: Storage


class FlexSide(Part):
    """What PEs and storage are while a layer runs in mode flexnn."""

    array: Array
    rf: RegisterFile
    sram: Sram
    sdn: Sdn
    sparsity: SparsityLogic = Field(default_factory=lambda: SparsityLogic.model_validate({}))
    dram: Dram


def _word(value: Any) -> str:
    """Return a value as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class HybridMachine(Description):
    """A machine that runs each layer in mode mnf or in mode flexnn.

    Both modes have the same mesh, routers, multipliers, bytes of SRAM in a PE and in storage, and
    storage ports; that is checked. Between layers tensors lie as event lists behind a layer of mode
    mnf, as bitmap and non-zeros behind one of mode flexnn; `firemesh.emulator.hybrid.convert` tells
    what it costs to change that.
    """

    mnf: MnfSide
    flexnn: FlexSide

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, mnf, flexnn in self._pairs():
            if mnf[1] != flexnn[1]:
                raise ValueError(
                    f"{name} must be the same in both modes, got {mnf[1]} of {mnf[0]} and "
                    f"{flexnn[1]} of {flexnn[0]}"
                )
        for path, got, wanted, why in self._wanted():
            if got != wanted:
                raise ValueError(
                    f"{path}: must be {_word(wanted)} on a hybrid, so that {why}, got {_word(got)}"
                )
        needed, width = EVENT_BYTES * (1 + self.storage_ports), self.flexnn.dram.bytes_per_cycle
        if width < needed:
            raise ValueError(
                f"flexnn.dram.bytes_per_cycle: must be at least {needed}, an event that mode mnf "
                f"reads and one that it writes for each port of storage a cycle, got {width}"
            )
        try:
            _ = self.of_flexnn, self.of_mnf
        except MachineError as error:
            reason = str(error).removeprefix(f"{self.name}: ")
            raise ValueError(f"flexnn.{reason}") from None
        return self

    def _pairs(self) -> list[tuple[str, tuple[str, Any], tuple[str, Any]]]:
        """Return what must be equal: its name, and the field and value of either mode."""
        pe, storage, flexnn = self.mnf.pe, self.mnf.storage, self.flexnn
        pe_bytes = pe.weight_bytes + pe.modules * pe.psum_bank_bytes
        return [
            (
                "multipliers of a PE",
                ("mnf.pe.modules * lanes", pe.multipliers),
                ("flexnn.array.lanes", flexnn.array.lanes),
            ),
            (
                "bytes of a PE's SRAM",
                ("mnf.pe.weight_bytes + modules * psum_bank_bytes", pe_bytes),
                ("flexnn.rf.banks * bank_bytes", flexnn.rf.banks * flexnn.rf.bank_bytes),
            ),
            (
                "bytes of storage's SRAM",
                ("mnf.storage.bytes", storage.bytes),
                ("flexnn.sram.bytes", flexnn.sram.bytes),
            ),
            (
                "storage ports",
                ("mnf.storage.ports", storage.ports),
                ("flexnn.sdn.storage_ports", flexnn.sdn.storage_ports),
            ),
        ]

    def _wanted(self) -> list[tuple[str, Any, Any, str]]:
        """Return fields that are bound: path, value, the only one allowed, and why."""
        storage, alone = self.mnf.storage, "a layer costs the same whatever ran before it"
        return [
            ("flexnn.sdn.kind", self.flexnn.sdn.kind, "mesh", "there is one network"),
            ("mnf.storage.event_order", storage.event_order, "raster", alone),
            ("mnf.storage.tensors", storage.tensors, "dram", "mode flexnn has the SRAM"),
            ("mnf.storage.keeps_weights", storage.keeps_weights, False, alone),
            ("noc.starts_afresh", self.noc.starts_afresh, True, alone),
        ]

    def _tree(self, *fields: str) -> dict[str, Any]:
        return {name: getattr(self, name) for name in fields}

    @cached_property
    def of_mnf(self) -> Machine:
        """The machine that layers of mode mnf see."""
        array = self.flexnn.array
        mesh = {"width": array.columns, "height": array.rows + 1, "storage_row": True}
        tree = self._tree(*SHARED) | {"mesh": mesh}
        return Machine.parse(tree | self.mnf.model_dump(), self.name)

    @cached_property
    def of_flexnn(self) -> FlexMachine:
        """The machine that layers of mode flexnn see."""
        return FlexMachine.parse(self._tree(*SHARED) | self.flexnn.model_dump(), self.name)

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height of the mesh: a row with storage, then the rows of PEs."""
        return self.of_flexnn.sides

    @property
    def has_storage_row(self) -> bool:
        """Row 0 of the mesh holds storage, and else routers without a PE."""
        return True

    @property
    def storage_ports(self) -> int:
        """Flits that storage takes from the mesh per cycle."""
        return self.mnf.storage.ports

    @property
    def n_units(self) -> int:
        """Storage and the PEs."""
        return self.of_flexnn.n_units

    @property
    def n_nodes(self) -> int:
        """Nodes of the mesh."""
        return self.of_flexnn.n_nodes

    @property
    def pe_multipliers(self) -> int:
        """Multipliers of a PE."""
        return self.flexnn.array.lanes

    @property
    def router_name(self) -> str:
        """The router's name; of a description "own"."""
        return self.noc.router_name

    @property
    def flit_bits(self) -> int:
        """Bits of a flit."""
        return self.noc.flit_bits
