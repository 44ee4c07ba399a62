"""The watch by series: whether a new version's own half hour is worse than its lines (rows D190 to D196)."""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from ...api.policy import Watch
from ...api.policy_status import InFlight
from ..signals import Held, Rate, VersionSeries
from ..text import plain
from ..views import PolicyView, Problem
from .flight_clock import flown

LONG_ENOUGH: Final = timedelta(hours=1)
"""A watch of at least this is one by series: half of it fills the window, half of it is looked at."""

WINDOW: Final = timedelta(minutes=30)
"""What the series are rates over. It lies within the watch from then on, and has nothing of an earlier flight."""

LEAST_DOCUMENTS: Final = 50
"""Documents below which a half hour says nothing."""

LEAST_TIMED: Final = 200
"""Pages below which a 95th percentile stands on a handful of them."""

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
    shares = (*series.fields, *((series.confidence,) if series.confidence is not None else ()))
    return any(is_below_its_line(share) for share in shares) or _is_too_slow(series)


def is_below_its_line(share: Held) -> bool:
    """Tell whether a share is below its line by more than chance."""
    return share.rate.of >= LEAST_DOCUMENTS and at_most(share.rate) < share.line


def at_most(rate: Rate) -> float:
    """Return the highest share that what was seen is still likely for: the upper end of Wilson's interval.

    Of a mean of numbers from 0 to 1, too: none has a larger variance than one that is 0 or 1. Rates over a window are
    extrapolated, so counts are no whole numbers, and a share may be a little above 1.
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


def _was_no_better(share: Held) -> bool:
    """Tell whether going back would gain nothing: the version before was as low, or lower."""
    before = share.before
    return before is not None and before.of >= LEAST_DOCUMENTS and at_most(share.rate) >= before.share


def _whole(series: VersionSeries) -> Iterator[str]:
    """Yield what is worse than its line, of all pages."""
    sure, slow = series.confidence, series.latency
    if sure is not None and _is_busy(series) and is_below_its_line(sure) and not _was_no_better(sure):
        was = "" if sure.before is None else f", before {sure.before.share:.3f}"
        yield f"mean confidence {sure.rate.share:.3f} (line {sure.line:.3f}{was})"
    # A line that the version before did not meet either is that of another machine.
    if slow is not None and _is_too_slow(series) and (slow.before is None or slow.before <= slow.line):
        was = "" if slow.before is None else f", before {slow.before:.3f}"
        yield f"95 % of pages within {slow.value:.3f} s (line {slow.line:.3f}{was})"


def _is_too_slow(series: VersionSeries) -> bool:
    slow, pages = series.latency, series.documents or 0
    return slow is not None and pages >= LEAST_TIMED and 0 < slow.line < slow.value


def _is_busy(series: VersionSeries) -> bool:
    return series.documents is not None and series.documents >= LEAST_DOCUMENTS


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
