"""Tensors in the machine's form: events, sparse formats, and their sizes in bits."""
