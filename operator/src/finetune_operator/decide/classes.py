"""Lists of classes, which only ever grow at their end: what was appended is unknown to what is older."""


def begins(longer: tuple[str, ...], shorter: tuple[str, ...]) -> bool:
    """Tell whether a list begins with another one, or is the same."""
    return longer[: len(shorter)] == shorter
