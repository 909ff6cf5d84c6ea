"""One factor on the energies of the MNF paper's Table 5, fitted to the powers of its Table 4.

The factor is of least squares over both networks' powers. It is a fit: it proves nothing, and it
touches no cycle.
"""

from typing import Any

from ...models.recipe import Recipe
from ..energy import table, tables
from ..machine import mnf_machine as machine
from .job import Job, Run
from .published import paper, published
from .sheet import Sheet
from .study import Report, Study

NETWORKS = ("vgg16", "alexnet")
DENSITIES, MACHINE = "S1", "mnf-22nm"
BASE, FITTED = "mnf-table5", "mnf-calibrated"


def jobs() -> list[Job]:
    """Return a run per network; the same ones as those of mnf-table4."""
    return [
        Job(f"{network}-{DENSITIES}-{MACHINE}", Recipe(network, DENSITIES), machine(MACHINE))
        for network in NETWORKS
    ]


def factor(emulated: list[float], wanted: list[float]) -> float:
    """Return the factor that brings emulated powers nearest to others, by least squares."""
    above = sum(ours * theirs for ours, theirs in zip(emulated, wanted, strict=True))
    return above / sum(ours * ours for ours in emulated)


def file_factor() -> float | None:
    """Return the factor of the table in the package; None without one."""
    if FITTED not in tables():
        return None
    return table(FITTED).access_pj["psum"].pj / table(BASE).access_pj["psum"].pj


def report(runs: dict[str, Run]) -> Report:
    """Fit the factor to the runs, and compare it with the file's."""
    found = {network: runs.get(f"{network}-{DENSITIES}-{MACHINE}") for network in NETWORKS}
    runs_of = {network: run for network, run in found.items() if run}
    powers = {n: run.power_mw(machine(MACHINE), BASE) for n, run in runs_of.items()}
    wanted = {network: published(f"{network}.power").value for network in powers}
    fitted = factor(list(powers.values()), list(wanted.values()))
    rows: list[dict[str, Any]] = [
        {
            "network": network,
            "published_mw": wanted[network],
            "table5_mw": power,
            "factor": fitted,
            "fitted_mw": fitted * power,
            "residual_mw": fitted * power - wanted[network],
            "residual_percent": 100 * (fitted * power / wanted[network] - 1),
            "factor_alone": wanted[network] / power,
        }
        for network, power in powers.items()
    ]
    is_whole = len(rows) == len(NETWORKS)
    texts = {f"{FITTED}.yaml": table_text(fitted, rows)} if is_whole else {}
    return Report(rows, [_sheet(rows)], _notes(fitted, is_whole), texts=texts)


def table_text(fitted: float, rows: list[dict[str, Any]]) -> str:
    """Return the energy table of a factor, for the package's folder ``energies``."""
    base = table(BASE)
    residuals = "; ".join(
        f"{row['network']} {row['fitted_mw']:.1f} mW for {row['published_mw']:.1f} published "
        f"({row['residual_percent']:+.1f} %)"
        for row in rows
    )
    lines = [
        f"# {base.name} times one factor: a fit, it proves nothing and touches no cycle.",
        f"# Least squares over the powers of the MNF paper's Table 4 ({DENSITIES}, {MACHINE}):",
        f"# {residuals}.",
        "# Made by `firemesh reproduce mnf-energy-fit`.",
        f"name: {FITTED}",
        f"summary: mnf-table5 times {fitted:.4f}, a fit to the powers of Table 4; proves nothing",
        "access_pj:",
    ]
    for name, access in base.access_pj.items():
        lines.append(f"  {name}: {{pj: {fitted * access.pj:.6g}, bits: {access.bits}}}")
    lines += [
        f"mac_pj: {fitted * base.mac_pj:.6g}",
        f"hop_bit_pj: {fitted * base.hop_bit_pj:.6g}",
        f"idle_fraction: {base.idle_fraction:g}",
        "sources:",
    ]
    scaled = f"fitted: mnf-table5 times {fitted:.4f}"
    names = [f"access_pj.{name}" for name in base.access_pj]
    lines += [f'  {name}: "{scaled}"' for name in (*names, "mac_pj", "hop_bit_pj")]
    lines.append(f'  idle_fraction: "{base.sources["idle_fraction"]}"')
    return "\n".join(lines) + "\n"


def _sheet(rows: list[dict[str, Any]]) -> Sheet:
    right: tuple[str, ...] = (
        "published\nmW",
        "table5\nmW",
        "fitted\nmW",
        "residual\nmW",
        "residual\nper cent",
    )
    right += ("factor of the\nnetwork alone",)
    cells = [
        [
            row["network"],
            f"{row['published_mw']:.1f}",
            f"{row['table5_mw']:.1f}",
            f"{row['fitted_mw']:.1f}",
            f"{row['residual_mw']:+.1f}",
            f"{row['residual_percent']:+.1f}",
            f"{row['factor_alone']:.3f}",
        ]
        for row in rows
    ]
    title = f"Power with one factor, {DENSITIES} on {MACHINE}"
    return Sheet(title, ("\nnetwork",), right, cells)


def _notes(fitted: float, is_whole: bool) -> list[str]:
    kept = file_factor()
    notes = [
        f"factor on all energies of {BASE}: {fitted:.4f}; an idle PE takes 30 % of an active one",
        "a fit: it proves nothing and touches no cycle",
        "one factor cannot meet both networks: it would have to be the one of each alone",
        f"published: {paper()}, Table 4, Power, Ours (22nm)",
    ]
    if kept is None:
        notes.append(f"there is no energy table {FITTED}")
    elif is_whole:
        says = "the same" if abs(kept / fitted - 1) < 5e-4 else "another: the file is out of date"
        notes.append(f"factor of the energy table {FITTED}: {kept:.4f}, {says}")
    return notes


STUDY = Study(
    name="mnf-energy-fit",
    title="MNF paper, Tables 4 and 5: one factor from the energies to the powers",
    file="energy-fit",
    jobs=jobs,
    report=report,
)
