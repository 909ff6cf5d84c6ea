"""The runs of study `flexnn`: networks on variants of a machine."""

from collections.abc import Mapping
from typing import Any

from ...models.recipe import Recipe
from ..flexnn.machine import FlexMachine
from ..flexnn.plan import Search
from ..machine import machine
from .flexnn_job import FlexJob
from .flexnn_rigid import RigidJob

MACHINE = "flexnn-edge"
TABLE = "eyeriss"
NETWORKS = ("vgg16", "resnet50", "mobilenetv2", "googlenet")
PRESET, SEED = "S1", 0

OBJECTIVES = ("energy", "cycles", "edp")
KEEP = 4
"""Best estimates that are counted, of each objective; beside the fixed dataflows' best."""

DATAFLOWS = "dataflows"
"""The run whose layers have candidates of all objectives and every dataflow."""

RIGID = "rigid"
"""The run whose layers have a candidate of each dataflow with the partitions of its own array."""

VARIANTS: Mapping[str, dict[str, Any]] = {
    "dense": {"sparsity__modes": ("dense",)},
    "activation": {"sparsity__modes": ("dense", "activation")},
    "weight": {"sparsity__modes": ("dense", "weight")},
    "both": {},
    "both-column": {"sparsity__barrier": "column"},
    "both-vpe": {"sparsity__barrier": "vpe"},
}
"""What may be skipped, and who begins rounds together; what differs from the preset."""


def variant(name: str) -> FlexMachine:
    """Return the preset with what differs in one of `VARIANTS`; as it is for others."""
    found = machine(MACHINE).replace(**VARIANTS.get(name, {}))
    assert isinstance(found, FlexMachine)
    return found


def job(network: str, name: str) -> FlexJob:
    """Return the run of a network for the dataflows, rigid, or on one of `VARIANTS`."""
    wanted = Search("cycles", keep=KEEP, with_fixed=False)
    if name == RIGID:
        return RigidJob(f"{network}-{name}", Recipe(network, PRESET, SEED), variant(name))
    if name == DATAFLOWS:
        wanted = Search(OBJECTIVES[0], keep=KEEP, beside=OBJECTIVES[1:])
    recipe = Recipe(network, PRESET, SEED)
    return FlexJob(f"{network}-{name}", recipe, variant(name), search=wanted)


def jobs() -> list[FlexJob]:
    """Return the runs of all networks, the longest first."""
    names = (DATAFLOWS, RIGID, *VARIANTS)
    return [job(network, name) for name in names for network in NETWORKS]
