"""The CEL rules of the CRDs that bear on what the operator writes: read where they are simple, else by hand."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

Rule = Callable[[Any], bool]

_MATCHES: Final = re.compile(r"(!?)self\.matches\((r?)'(.*)'\)")
_CONTAINS: Final = re.compile(r"!self\.contains\('(.)'\)")
_COMPARED: Final = re.compile(r"double\(self\) (<=|>) ([0-9.]+)")


def _has(value: Any, *fields: str) -> bool:
    return all(field in value for field in fields)


_BY_HAND: Final[Mapping[str, Rule]] = {
    "self.trim().lowerAscii() != 'gates'": lambda by: by.strip().lower() != "gates",
    "self.all(name, self.exists_one(other, other == name))": lambda names: len(set(names)) == len(names),
    "(self.type == 'Base') == self.version.startsWith('base_v')": lambda spec: (
        (spec["type"] == "Base") == spec["version"].startswith("base_v")
    ),
    "self.type == 'Base' || (has(self.base) && has(self.lineage) && has(self.evidence))": lambda spec: (
        spec["type"] == "Base" or _has(spec, "base", "lineage", "evidence")
    ),
    "self.type == 'FineTuned' || (has(self.base) == has(self.lineage) && has(self.lineage) == has(self.evidence))": (
        lambda spec: spec["type"] == "FineTuned" or len({_has(spec, f) for f in ("base", "lineage", "evidence")}) == 1
    ),
    "self.type == 'Base' || !has(self.base) || self.version.startsWith(self.base.replace('base_v', 'ft_v') + '.')": (
        lambda spec: (
            spec["type"] == "Base"
            or not _has(spec, "base")
            or spec["version"].startswith(spec["base"].replace("base_v", "ft_v") + ".")
        )
    ),
    "self.mode != 'Rebuild' || self.mixing.ratio == 'Auto'": lambda spec: (
        spec.get("mode") != "Rebuild" or spec.get("mixing", {}).get("ratio", "Auto") == "Auto"
    ),
    "has(self.measurements) || (has(self.figures) && self.figures.size() > 0)": lambda evidence: (
        _has(evidence, "measurements") or bool(evidence.get("figures"))
    ),
    "!has(self.from) || self.from != self.version || self.releaseHold": lambda spec: (
        spec.get("from") != spec["version"] or bool(spec.get("releaseHold"))
    ),
}


@cache
def rule_of(text: str) -> Rule | None:
    """Return the rule of a CRD as a function of the value that it is about; None for one that is not known here.

    The API server judges by all of them. A test names those that are known nowhere.
    """
    if text in _BY_HAND:
        return _BY_HAND[text]
    terms = [_term(part) for part in text.split(" && ")]
    known = [term for term in terms if term is not None]
    return (lambda value: all(term(value) for term in known)) if len(known) == len(terms) else None


def _term(text: str) -> Rule | None:
    matched = _MATCHES.fullmatch(text)
    if matched is not None:
        negated, raw, pattern = matched.groups()
        # Outside of a raw text CEL reads escapes as Python does; `$` of RE2 is the very end.
        written = pattern if raw else pattern.replace("\\\\", "\\")
        compiled = re.compile(written.replace("$", r"\Z"))
        return lambda value: (compiled.search(value) is None) == bool(negated)
    contains = _CONTAINS.fullmatch(text)
    if contains is not None:
        character = contains.group(1)
        return lambda value: character not in value
    compared = _COMPARED.fullmatch(text)
    if compared is not None:
        relation, limit = compared.group(1), float(compared.group(2))
        return lambda value: float(value) <= limit if relation == "<=" else float(value) > limit
    return None
