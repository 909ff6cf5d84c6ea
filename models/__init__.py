"""Quantised networks: reading, integer arithmetic, pruning and the zoo."""
