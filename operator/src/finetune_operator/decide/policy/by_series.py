"""The watch by series: whether a new version's own half hour is worse than its lines (rows D190 to D196)."""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from ...api.policy import InFlight, Watch
from ..signals import Against, FieldRate, Rate, VersionSeries
from ..text import plain
from ..views import PolicyView, Problem
from .flight_clock import flown

LONG_ENOUGH: Final = timedelta(hours=1)
"""A watch of at least this is one by series: half of it fills the window, half of it is looked at."""

WINDOW: Final = timedelta(minutes=30)
"""What the series are rates over. It lies within the watch from then on, and has nothing of an earlier flight."""

LEAST_DOCUMENTS: Final = 50
"""Documents below which a half hour says nothing."""

FIELD_LINE: Final = 0.90
"""The line of a field's detection rate where the rules record none; the chart's default."""

BEYOND_CHANCE: Final = 3.0
"""Standard errors: at each look a rate that is at its line seems so much below it once in 700."""

_NAMED: Final = 2
"""Fields that a message names, the worst."""


def is_watched_by_series(rules: Watch, flight: InFlight) -> bool:
    """Tell whether the flight is in a watch that looks at series, as far as policy and flight say.

    Where people went back, series do not send them forth again; and to nothing at all they lead nobody.
    """
    if not rules.series or flight.phase != "Watching" or flight.back is None or flight.takes_back:
        return False
    return flight.deadline - flight.phase_since >= LONG_ENOUGH


def worse(view: PolicyView, flight: InFlight) -> str | None:
    """Return which series are worse than their lines, with values; None where none is, or nobody knows (D191, D193)."""
    series = view.series
    if not isinstance(series, VersionSeries) or flown(view, flight) < WINDOW:
        return None
    parts = [*_fields(series), *_whole(series)]
    return "; ".join(parts) if parts else None


def series_in_words(view: PolicyView) -> str:
    """Return what the series had to say when the watch ended, to be put behind a sentence; "" where nobody looked."""
    series = view.series
    if series is None:
        return ""
    if isinstance(series, Problem):
        return f", watched without series: {series.message}"
    if not has_data(series):
        return f", watched without series: in the last half hour fewer than {LEAST_DOCUMENTS} documents were seen"
    return ", and none of its series is worse than its line"


def has_data(series: VersionSeries) -> bool:
    """Tell whether anything can be said by the series at all."""
    return any(field.rate.of >= LEAST_DOCUMENTS for field in series.fields) or _is_busy(series)


def asks_for_before(series: VersionSeries) -> bool:
    """Tell whether anything is worse than its line, so that it has to be known how the version before did."""
    return any(is_below_its_line(field) for field in series.fields) or any(True for _ in _whole(series))


def is_below_its_line(field: FieldRate) -> bool:
    """Tell whether a field is found on fewer documents than its line asks for, by more than chance."""
    return field.rate.of >= LEAST_DOCUMENTS and at_most(field.rate) < field.line


def at_most(rate: Rate) -> float:
    """Return the highest share that what was seen is still likely for: the upper end of Wilson's interval.

    Rates over a window are extrapolated, so counts are no whole numbers, and a share may be a little above 1.
    """
    share, of, z = min(rate.share, 1.0), rate.of, BEYOND_CHANCE
    spread = math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (share + z * z / (2 * of) + z * spread) / (1 + z * z / of)


def _fields(series: VersionSeries) -> Iterator[str]:
    """Yield the fields that are below their lines, unless what it would go back to was no better at them."""
    bad = sorted(
        (f for f in series.fields if is_below_its_line(f) and not _was_no_better(f)), key=lambda f: f.rate.share
    )
    for field in bad[:_NAMED]:
        was = "" if field.before is None else f", before {_percent(field.before.share)}"
        share = f"{_percent(field.rate.share)} of {field.rate.of:.0f} documents"
        yield f"field '{plain(field.field)}' found on {share} (line {_percent(field.line)}{was})"
    if len(bad) > _NAMED:
        yield f"and {len(bad) - _NAMED} more fields"


def _was_no_better(field: FieldRate) -> bool:
    """Tell whether going back would gain nothing: the version before found the field as rarely, or more so."""
    before = field.before
    return before is not None and before.of >= LEAST_DOCUMENTS and at_most(field.rate) >= before.share


def _whole(series: VersionSeries) -> Iterator[str]:
    """Yield what is worse than its line, of all pages; a line that the version before did not meet either is none."""
    if not _is_busy(series):
        return
    confidence, latency = series.confidence, series.latency
    if confidence is not None and confidence.value < confidence.line and not _is_low(confidence.before, confidence):
        yield f"mean confidence {confidence.value:.3f} (line {confidence.line:.3f}{_was(confidence.before)})"
    if latency is not None and 0 < latency.line < latency.value and not _is_high(latency.before, latency):
        yield f"95 % of pages within {latency.value:.3f} s (line {latency.line:.3f}{_was(latency.before)})"


def _is_low(value: float | None, figure: Against) -> bool:
    return value is not None and value < figure.line


def _is_high(value: float | None, figure: Against) -> bool:
    return value is not None and value > figure.line


def _was(before: float | None) -> str:
    return "" if before is None else f", before {before:.3f}"


def _is_busy(series: VersionSeries) -> bool:
    return series.documents is not None and series.documents >= LEAST_DOCUMENTS


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
