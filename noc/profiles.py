"""Descriptions of routers with virtual channels: delays, allocators, flow control."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Allocators = Literal["separable_input_first", "islip", "matrix"]


class Profile(BaseModel):
    """A router with virtual channels; `docs/noc-router.md` says what each field does to a cycle."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    routing_delay: int = Field(default=1, ge=0, le=64)
    """Cycles of route computation; 0 is look-ahead."""
    vc_alloc_delay: int = Field(default=1, ge=1, le=64)
    sw_alloc_delay: int = Field(default=1, ge=1, le=64)
    st_delay: int = Field(default=1, ge=1, le=64)
    """Cycles of switch traversal."""
    credit_delay: int = Field(default=0, ge=0, le=64)
    """Cycles in which a router processes a credit."""
    link_delay: int = Field(default=1, ge=1, le=64)
    speculative: bool = False
    """Heads ask for the switch before they own a VC."""
    vc_allocator: Allocators = "separable_input_first"
    sw_allocator: Allocators = "separable_input_first"
    switching: Literal["wormhole", "cut-through"] = "wormhole"


PROFILES: dict[str, Profile] = {
    "P4": Profile(),
    "P3": Profile(routing_delay=0),
    "P2": Profile(routing_delay=0, speculative=True),
    "P4c2": Profile(credit_delay=2),
    "P4islip": Profile(vc_allocator="islip", sw_allocator="islip"),
}
"""Routers by name: four stages, as in BookSim 2 with all delays 1; variants with look-ahead
routing, with speculation too, with slow credits, and with another allocator."""

SIMPLE = "simple"
"""The router without virtual channels."""
ROUTERS = (SIMPLE, *PROFILES)
"""Names of all routers."""
