"""The machine: description, mapping, execution, engine, energy and command line."""
