"""The error that users see."""


class TraceError(ValueError):
    """A trace that cannot be written or read; one sentence with the way out."""


class DamageError(ValueError):
    """A trace whose tables contradict each other; what is wrong, without the file's name."""
