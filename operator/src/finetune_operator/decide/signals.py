"""What a Prometheus says of a Deployment: which alerts fire, and how a version did in the last half hour."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Alert:
    """An alert that fires, for so many seconds already (0: not known); `field` and `version` where it is of one."""

    name: str
    field: str = ""
    version: str = ""
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Alerts:
    """The alerts that fire of those that were asked for.

    `scraped`: there are series of the Deployment's servers; `ruled`: there are those that the chart's rules record.
    """

    firing: tuple[Alert, ...] = ()
    scraped: bool = True
    ruled: bool = True


@dataclass(frozen=True, slots=True)
class Rate:
    """A share from 0 to 1, and of how many."""

    share: float
    of: float


@dataclass(frozen=True, slots=True)
class Held:
    """A share of a version and the line that it is held to; `field` where it is of one.

    `before` is the same of the version that it would go back to, by all that is left of that; None: nothing is.
    """

    rate: Rate
    line: float
    field: str = ""
    before: Rate | None = None


@dataclass(frozen=True, slots=True)
class Slow:
    """A time in seconds and its line; `before` as in Held."""

    value: float
    line: float
    before: float | None = None


@dataclass(frozen=True, slots=True)
class VersionSeries:
    """The last half hour of a version; what has no data is None, or not there.

    `documents` are the pages that it answered. `fields` are the shares of documents that should carry a field on which
    it was found. `confidence` is the mean of best boxes, a share of 1 each; `latency` the 95th percentile of the
    model's own time for a page.
    """

    documents: float | None = None
    fields: tuple[Held, ...] = ()
    confidence: Held | None = None
    latency: Slow | None = None
