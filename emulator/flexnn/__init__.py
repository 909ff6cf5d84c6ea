"""FlexNN, the second mode: layers by descriptors, on an array of versatile PEs (VPEs)."""
