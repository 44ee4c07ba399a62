"""Lists of classes, which only ever grow at their end: what was appended is unknown to what is older."""


def begins(longer: tuple[str, ...], shorter: tuple[str, ...]) -> bool:
    """Tell whether a list begins with another one, or is the same."""
    return longer[: len(shorter)] == shorter


def lacking(ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    """Return what has to be appended to `ours`, so that it begins with `theirs`; none where that does not do it.

    A policy that was restored from before an edit lacks what its versions have.
    """
    return theirs[len(ours) :] if begins(theirs, ours) else ()
