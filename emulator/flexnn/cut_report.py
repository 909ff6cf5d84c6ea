"""What follows from a descriptor on a layer and a machine, in numbers and in words."""

from dataclasses import asdict
from typing import Any

from .descriptor import Cut, product
from .dims import FL_DIMS, IF_DIMS, NAMES, OF_DIMS, Dim, Sizes
from .estimate import Densities, estimate
from .machine import FlexMachine
from .rules import bank_bytes, banks_needed, sram_bytes

TENSORS = {"ifmap": IF_DIMS, "weights": FL_DIMS, "psums": OF_DIMS}


def stays(cut: Cut) -> str | None:
    """Return the tensor that stays in the VPEs while the innermost loops go on, if there is one."""
    loops = [dim for dim in cut.tile_order if cut.tiles[dim] > 1]
    loops += [dim for dim in cut.order if cut.blocks()[dim] > 1]
    if not loops:
        return None
    return next((name for name, dims in TENSORS.items() if loops[-1] not in dims), None)


def _looped(counts: Sizes) -> dict[str, int]:
    return {name: n for name, n in zip(NAMES, counts, strict=True) if n > 1}


def report(cut: Cut, machine: FlexMachine, densities: Densities) -> dict[str, Any]:
    """Return what follows from a legal descriptor.

    Parameters
    ----------
    cut : Cut
    machine : FlexMachine
    densities : Densities

    Returns
    -------
    dict
        Plain values; dimensions with 1 are left out.
    """
    array, rf, everything = machine.array, machine.rf, tuple(Dim)
    priced = estimate(cut, machine, densities)
    banks = cut.descriptor.banks
    given = (banks.ifmap, banks.weights, banks.ofmap)
    held = zip(("if", "fl", "of"), given, banks_needed(cut, machine), bank_bytes(cut), strict=True)
    n_tiles = product(cut.tiles, everything)
    return {
        "rows_used": product(cut.row_parts, everything),
        "rows": array.rows,
        "columns_used": product(cut.column_parts, everything),
        "columns": array.columns,
        "vpes_used": product(cut.parts, everything),
        "vpes_of_a_point": cut.n_reduced,
        "rounds": priced.rounds,
        "tiles": n_tiles,
        "tiles_by_dimension": _looped(cut.tiles),
        "blocks_of_a_tile": _looped(cut.blocks()),
        "stays": stays(cut),
        "spills": cut.spills,
        "register_file": {
            name: {"banks": n, "banks_needed": needed, "bytes": size}
            for name, n, needed, size in held
        },
        "banks_given": banks.total,
        "banks": rf.banks,
        "bank_bytes": rf.bank_bytes,
        "sram_bytes": sram_bytes(cut),
        "sram_bytes_of_machine": machine.sram.bytes,
        "sram_holds_twice": n_tiles > 1,
        "utilisation": cut.layer.macs / (priced.cycles * machine.multipliers),
        "estimate": asdict(priced),
    }


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def sentences(found: dict[str, Any]) -> list[str]:
    """Return a report in words, a line each."""
    tiles, blocks = found["tiles_by_dimension"], found["blocks_of_a_tile"]
    priced, files = found["estimate"], found["register_file"]
    twice = ", each tile twice" if found["sram_holds_twice"] else ""
    lines = [
        f"array: {found['rows_used']} of {found['rows']} rows, {found['columns_used']} of "
        f"{found['columns']} columns; VPEs of a point: {found['vpes_of_a_point']}",
        f"tiles: {found['tiles']}" + (f" ({_named(tiles)})" if tiles else ""),
        f"rounds: {found['rounds']:,}"
        + (f"; blocks of a tile: {_named(blocks)}" if blocks else ""),
        f"stays: {found['stays'] or 'nothing'}"
        + ("; psums are spilled and reloaded" if found["spills"] else ""),
    ]
    lines += [
        f"register file: {name} {part['bytes']} bytes in {part['banks']} sub-banks of "
        f"{found['bank_bytes']}"
        for name, part in files.items()
    ]
    lines += [
        f"register file: {found['banks_given']} of {found['banks']} sub-banks",
        f"SRAM: {found['sram_bytes']:,} of {found['sram_bytes_of_machine']:,} bytes{twice}",
        f"estimate: {priced['cycles']:,.0f} cycles, {priced['energy_pj']:,.0f} pJ, "
        f"dense multiplications are {100 * found['utilisation']:.1f} % of all slots",
        f"estimate: SRAM reads {priced['sram_read_bytes']:,.0f} and writes "
        f"{priced['sram_written_bytes']:,.0f} bytes for the array, DRAM "
        f"{priced['dram_read_bytes']:,.0f} and {priced['dram_written_bytes']:,.0f}",
    ]
    return lines
