"""What tensors take in DRAM."""

from ..activations import Activations
from .machine import FlexMachine


def tensor_bytes(part: Activations, machine: FlexMachine) -> int:
    """Return the bytes of a tensor: bitmap and non-zeros where the machine may skip and it pays."""
    sparsity, size = machine.sparsity, part.tensor.size
    may_skip = {"activation", "both"} & set(sparsity.modes)
    if may_skip and len(part.flat) < sparsity.pays_below * size:
        return len(part.flat) + -(-size // 8)
    return size
