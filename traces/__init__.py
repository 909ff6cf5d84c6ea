"""The record of a run: every memory access and packet."""
