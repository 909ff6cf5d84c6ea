"""The router of a run by name or YAML file."""

from pathlib import Path
from typing import Any

from ..noc.profiles import ROUTERS
from .machine import MachineError, read_yaml

BESIDE = ("vcs", "buffer_flits")
"""Fields of a router's file that a machine keeps beside the router."""


def router_fields(source: str) -> dict[str, Any]:
    """Return fields of `firemesh.emulator.machine.Noc` for a router.

    Parameters
    ----------
    source : str
        Name in `ROUTERS`, or path of a YAML file with fields of
        `firemesh.noc.profiles.Profile`, and ``vcs`` and ``buffer_flits`` if wanted.

    Raises
    ------
    MachineError
        When the name is unknown, or the file is missing or no mapping. Fields are not checked.
    """
    if source in ROUTERS:
        return {"router": source}
    if not source or not Path(source).exists():
        raise MachineError(
            f"--router {source or repr(source)}: no router of this name and no such file; "
            f"known routers: {', '.join(ROUTERS)}; or give the path of a YAML file"
        )
    tree = read_yaml(source)
    if not isinstance(tree, dict):
        raise MachineError(
            f"{source}: must be a YAML mapping of router fields, such as routing_delay: 0, "
            f"got {type(tree).__name__}"
        )
    fields = {name: tree.pop(name) for name in BESIDE if name in tree}
    return {"router": tree} | fields
