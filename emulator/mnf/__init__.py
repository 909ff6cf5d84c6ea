"""Mode mnf: multiply-and-fire on a mesh of PEs; events in, threshold, events out."""
