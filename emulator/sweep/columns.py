"""The columns of a sweep's rows: name, type and meaning."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..energy import COMPONENTS
from ..kinds import Memory
from ..slots import BUSY, LABELS, Cause

if TYPE_CHECKING:
    from .points import Asked

Column = tuple[str, str]
"""Type ("string", "int64" or "double"), and one sentence."""

POINT: Mapping[str, Column] = {
    "point": ("string", "digest of everything that decides the result; names the point's file"),
    "status": ("string", "ok or failed"),
    "error": ("string", "of a failed point, one sentence"),
    "network": ("string", "name in the zoo, or path, as the study says"),
    "layers": ("string", "the part of the network, as the study says; null: its default"),
    "input": ("string", "file with frames; null: the network's own"),
    "frames": ("int64", "how many ran; numbers below are of all of them"),
    "rows_of": ("string", "machine whose PEs' weight rows are pruned; null: the MNF paper's"),
    "preset": ("string", "of a synthetic network"),
    "weights": ("string", "rule of a synthetic network's weights; null: the preset's"),
    "activations": ("double", "target density of a synthetic network; null: the preset's"),
    "seed": ("int64", "of a synthetic network"),
    "machine": ("string", "its name"),
    "changes": ("string", "fields that `set` changed, as JSON, {} where none"),
    "mode": ("string", "mnf, flexnn or auto; or the file that names layers"),
    "objective": ("string", "of modes flexnn and auto; null: cycles"),
    "dataflow": ("string", "of modes flexnn and auto; null: any"),
    "keep": ("int64", "of modes flexnn and auto; null: the machine's default"),
    "multipliers": ("int64", "of the machine"),
    "clock_hz": ("int64", "of the machine"),
    "energy_table": ("string", "by which the energies are computed"),
    "load_cycles": ("int64", "of the point: cycles in which weights came in before cycle 0"),
    "seconds": ("double", "of the point: what it took on its worker, making the network included"),
    "version": ("string", "of firemesh"),
}
"""What rows of a point have in common."""

LAYER: Mapping[str, Column] = {
    "layer_number": ("int64", "from 0, in the order in which layers ran"),
    "layer": ("string", "name; of a failed point null, as all below"),
    "op": ("string", "operator"),
    "layer_mode": ("string", "mnf, flexnn, host, or convert"),
    "tile": ("string", "of a layer on PEs"),
    "waves": ("int64", "waves of a frame"),
    "cycles": ("int64", ""),
    "events": ("int64", "sent to PEs, or read by the host unit"),
    "halo": ("int64", "events that were sent again for another band"),
    "repeated": ("int64", "events that were sent again for other groups of filters"),
    "active": ("int64", "activations read that are not zero"),
    "inputs": ("int64", "activations read"),
    "activation_density": ("double", "active / inputs"),
    "weight_density": ("double", "part of the weights that are not zero; null without weights"),
    "fired": ("int64", "activations written that are not zero"),
    "slots": ("int64", "multiplier slots: multipliers x cycles"),
    **{f"slots_{cause.name.lower()}": ("int64", f"slots: {LABELS[cause]}") for cause in Cause},
    "utilization": ("double", "part of the slots that were executed or ineffectual"),
    "useful": ("double", "part of the slots that were executed: both operands not zero"),
    **{f"{memory.name.lower()}_{kind}": ("int64", "accesses")
       for memory in Memory for kind in ("reads", "writes")},
    "dram_bytes": ("int64", "read and written"),
    "link_flits": ("int64", "sent over links"),
    "delivered_flits": ("int64", "delivered to nodes"),
    **{f"{name.lower().replace(' ', '_')}_pj": ("double", "energy")
       for name in (*COMPONENTS, "MAC", "NoC", "idle")},
    "energy_pj": ("double", "sum of those above"),
}  # fmt: skip
"""What is a layer's own."""

COLUMNS: Mapping[str, Column] = {**POINT, **LAYER}


def schema() -> Any:
    """Return the Arrow schema."""
    import pyarrow as pa

    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64()}
    return pa.schema([(name, types[column[0]]) for name, column in COLUMNS.items()])


def asked_row(asked: "Asked", digest: str, version: str) -> dict[str, Any]:
    """Return what is known of a point's rows before it runs; the rest is null."""
    known = dict(vars(asked))
    if not isinstance(asked.frames, int):
        known["frames"] = None
    return dict.fromkeys(COLUMNS) | known | {"point": digest, "version": version}


def layer_row(
    record: Mapping[str, Any], layer: Any, number: int, weight_density: float | None
) -> dict[str, Any]:
    """Return the columns of `LAYER` of a layer.

    Parameters
    ----------
    record : dict
        Of `firemesh.emulator.result.LayerTable.records`.
    layer : LayerResult
    number : int
    weight_density : float or None
    """
    sums = layer.slots.sum(axis=0)
    slots = {f"slots_{cause.name.lower()}": int(sums[cause]) for cause in Cause}
    total = sum(slots.values())
    pj = {name: value for name, value in record.items() if name.endswith("_pj")}
    own = {
        "layer_number": number,
        "layer": layer.name,
        "layer_mode": layer.mode,
        "active": int(layer.active),
        "inputs": int(layer.inputs),
        "activation_density": layer.density if layer.inputs else None,
        "weight_density": weight_density,
        "slots": total,
        "utilization": sum(int(sums[cause]) for cause in BUSY) / total if total else 0.0,
        "useful": int(sums[Cause.EXECUTED]) / total if total else 0.0,
        "dram_bytes": int(layer.bytes[:, Memory.DRAM].sum()),
        "energy_pj": sum(pj.values()),
    }
    same = {name: record[name] for name in LAYER if name in record}
    return same | own | slots | pj
