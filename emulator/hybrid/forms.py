"""Forms that tensors have between layers, by the mode of the layers that read and write them."""

EVENTS, ZVC = "events", "zvc"
FORM = {"mnf": EVENTS, "flexnn": ZVC}
"""Mode -> the form that its layers read and write."""
