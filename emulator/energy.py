"""Energy from counters: tables with sources, and a breakdown by component."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .description import Description, MachineError
from .kinds import Memory
from .mnf.machine import Machine
from .slots import BUSY, IDLE


class AccessEnergy(BaseModel):
    """Energy of an access of a given width; other widths scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    pj: float = Field(ge=0)
    bits: int = Field(ge=1)

    @property
    def byte_pj(self) -> float:
        """Energy per byte."""
        return 8 * self.pj / self.bits


class EnergyTable(BaseModel):
    """Energies of a technology.

    Attributes
    ----------
    access_pj : dict
        By memory.
    mac_pj : float
        Registers (and multiplier, where the source has it) of one multiply-accumulate.
    hop_bit_pj : float
        One bit through one router and link.
    idle_fraction : float
        Power of an idle PE, as a part of the power of one that multiplies in every slot.
    sources : dict
        Field -> where its value comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    summary: str
    access_pj: dict[str, AccessEnergy]
    mac_pj: float = Field(ge=0)
    hop_bit_pj: float = Field(ge=0)
    idle_fraction: float = Field(ge=0, le=1)
    sources: dict[str, str]

    @model_validator(mode="after")
    def _check(self) -> "EnergyTable":
        wanted = {memory.name.lower() for memory in Memory if memory != Memory.BUS}
        if set(self.access_pj) != wanted:
            raise ValueError(f"access_pj: must have the keys {', '.join(sorted(wanted))}")
        return self


def tables() -> list[str]:
    """Return the names of the energy tables."""
    folder = files(__package__) / "energies"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@cache
def table(name: str) -> EnergyTable:
    """Return an energy table by name.

    Raises
    ------
    MachineError
        When there is none of this name.
    """
    if name not in tables():
        known = ", ".join(tables())
        raise MachineError(f"Machine.energy: must be one of {known}, got {name!r}")
    text = (files(__package__) / "energies" / f"{name}.yaml").read_text("utf-8")
    return EnergyTable.model_validate(yaml.safe_load(text))


COMPONENTS: Mapping[str, tuple[Memory, ...]] = {
    "weight SRAM": (Memory.WEIGHT, Memory.POINTER, Memory.INDEX),
    "psum SRAM": (Memory.PSUM, Memory.BIAS),
    "FIFO": (Memory.EVENT_FIFO,),
    "storage": (Memory.STORAGE,),
    "DRAM": (Memory.DRAM,),
    "register file": (Memory.RF_IF, Memory.RF_FL, Memory.RF_OF),
    "accumulator": (Memory.ACC,),
    "sparsity": (Memory.BITMAP_IF, Memory.BITMAP_FL),
}
"""Components made of memories; MAC, NoC and idle come from other counters."""


@dataclass(frozen=True)
class Activity:
    """What energy is computed from, of a layer or a run.

    Parameters
    ----------
    bytes : int64[memories, 2]
        Read and written.
    slots : int64[causes]
    flits : int
        Flits over all links and deliveries.
    """

    bytes: NDArray[np.int64]
    slots: NDArray[np.int64]
    flits: int


def active_cycle_pj(machine: Description, energies: EnergyTable) -> float:
    """Return the energy of a PE's cycle in which every multiplier works.

    Of mode mnf a weight row is read, psums are read and written; of mode flexnn each lane reads an
    activation and a weight and adds to its accumulator.
    """
    access = energies.access_pj
    if isinstance(machine, Machine):
        each = access["weight"].byte_pj + 2 * 4 * access["psum"].byte_pj
    else:
        each = sum(access[name].byte_pj for name in ("rf_if", "rf_fl"))
        each += 4 * access["acc"].byte_pj
    return machine.pe_multipliers * (each + energies.mac_pj)


def energy(activity: Activity, machine: Description) -> dict[str, float]:
    """Return energy in pJ by component.

    Idle energy is that of PE cycles lost to a cause of `firemesh.emulator.slots.IDLE`, at
    ``idle_fraction`` of `active_cycle_pj`.
    """
    energies = table(machine.energy)
    by_memory = activity.bytes.sum(axis=1)
    result = {
        name: sum(
            float(by_memory[memory]) * energies.access_pj[memory.name.lower()].byte_pj
            for memory in memories
        )
        for name, memories in COMPONENTS.items()
    }
    result["MAC"] = float(activity.slots[list(BUSY)].sum()) * energies.mac_pj
    bits = activity.flits * machine.flit_bits + 8 * float(by_memory[Memory.BUS])
    result["NoC"] = bits * energies.hop_bit_pj
    idle_cycles = float(activity.slots[list(IDLE)].sum()) / machine.pe_multipliers
    result["idle"] = idle_cycles * energies.idle_fraction * active_cycle_pj(machine, energies)
    return result
