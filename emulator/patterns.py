"""What a pattern of a trace is made of."""

from typing import NamedTuple

READ, WRITE = 0, 1


class Item(NamedTuple):
    """Accesses of a pattern; fields as in the trace's table ``patterns/items``."""

    memory: int
    op: int
    size: int
    cycle: int = 0
    address: int = 0
    a_step: int = 0
    b_step: int = 0
    count: int = 1  # type: ignore[assignment]
    cycle_step: int = 0
    address_step: int = 0
    operand: int = 0
    operand_a_step: int = 0
    operand_step: int = 0
