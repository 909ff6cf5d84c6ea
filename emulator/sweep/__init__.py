"""Sweeps: networks on machines, in many points, side by side."""
