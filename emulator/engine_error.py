"""The error of a run that cannot go on."""


class EngineError(RuntimeError):
    """A run that cannot go on; one sentence with layer and cycle."""
