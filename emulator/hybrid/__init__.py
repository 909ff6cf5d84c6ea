"""Machines that run both modes: which layer runs in which, and what changing form costs."""
