"""Tensors in the machine's form: events, and their sizes in bits."""
