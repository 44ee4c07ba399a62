"""The rules for lists of class names: how many, how long, of which form, and whether two lists go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import Reason, StepError, bad_input
from ..texts import one_spelling
from .codec import CLASS_NAME, LONGEST_CLASS_NAME, MAX_CLASSES


def check_class_names(names: Sequence[str], what: str) -> None:
    """Raise StepError ClassListInvalid unless policy, base, anchor and server would all take these names.

    Said where a list comes in, before anything is read, exported or trained.
    """
    if not 1 <= len(names) <= MAX_CLASSES:
        raise bad_input(
            Reason.CLASS_LIST_INVALID,
            f"{what} has {len(names)} classes; 1 to {MAX_CLASSES} are possible.",
            "Use a model for fewer classes: a result carries figures for each in a message of 4,095 bytes.",
        )
    forms = [one_spelling(name) for name in names]
    for index, name in enumerate(names):
        if len(name) > LONGEST_CLASS_NAME or re.fullmatch(CLASS_NAME, name) is None:
            raise bad_input(
                Reason.CLASS_LIST_INVALID,
                f"{what} calls class {index} {name[:80]!r}.",
                f"Name classes with 1 to {LONGEST_CLASS_NAME} characters, without commas and control characters, "
                "and without a space at either end.",
            )
        first = forms.index(forms[index])
        if first < index:
            raise bad_input(
                Reason.CLASS_LIST_INVALID,
                f"{what} has the name {name!r}{spelling(name, [names[first]])} twice, for class {first} and class "
                f"{index}.",
                "Give every class a name of its own.",
            )


def spelling(name: object, others: Iterable[str]) -> str:
    """Return, to stand behind a name in a message, how it differs from one of the others that looks the same, or "".

    Unicode writes accents in two ways (NFC, NFD), which no screen tells apart, and tools on macOS write the other one.
    By such a name a class is another one: names are compared as they are, everywhere.
    """
    if not isinstance(name, str):
        return ""
    form = one_spelling(name)
    alike = next((other for other in others if other != name and one_spelling(other) == form), None)
    return "" if alike is None else f" ({name!a}, which only looks like {alike!a})"


def check_classes(names: Sequence[str], what: str, *, expected: Sequence[str]) -> None:
    """Raise StepError ClassListDiffers unless both lists are equal, in order: a label is only an index into it."""
    if tuple(names) != tuple(expected):
        raise _other_list(names, what, expected)


def labelled_fields(names: Sequence[str], what: str, *, expected: Sequence[str]) -> int | None:
    """Return of how many classes `names` is the list, None where it has all of `expected`, and no more.

    Classes are only ever appended, so a list of another time begins as this one, or is its beginning. Raises StepError
    ClassListDiffers for any other list.
    """
    shorter = min(len(names), len(expected))
    if tuple(names[:shorter]) != tuple(expected[:shorter]):
        raise _other_list(names, what, expected)
    return None if len(names) == len(expected) else len(names)


def _other_list(names: Sequence[str], what: str, expected: Sequence[str]) -> StepError:
    differing = next(
        (i for i, (a, b) in enumerate(zip(names, expected, strict=False)) if a != b), min(len(names), len(expected))
    )
    return bad_input(
        Reason.CLASS_LIST_DIFFERS,
        f"{what} has {len(names)} classes, expected {len(expected)}; the first difference is at index {differing}: "
        f"{_at(names, differing)} instead of {_at(expected, differing)}"
        f"{''.join(spelling(name, expected[differing : differing + 1]) for name in names[differing : differing + 1])}.",
        "Use the same classes in the same order in policy, base, anchor and pool; renumber labels where they differ.",
    )


def _at(names: Sequence[str], index: int) -> str:
    return repr(names[index]) if index < len(names) else "nothing"
