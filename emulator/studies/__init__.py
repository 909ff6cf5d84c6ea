"""Studies: published tables and figures, emulated again, with what the difference consists of."""
