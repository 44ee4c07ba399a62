"""What a policy says of its scans, and what its status keeps of them."""

from datetime import datetime

from .run import Attempt
from .value import Value


class Production(Value, frozen=True, kw_only=True):
    """Where captured pages lie, and for how many days (UTC), that of the capture among them."""

    uri: str
    keep_days: int = 90


class ScanRules(Value, frozen=True, kw_only=True):
    """How often pool and captured pages are counted."""

    interval_seconds: int = 900


class CapturedPages(Value, frozen=True, kw_only=True):
    """Captured pages by stratum; `oldest` is the oldest day with a page (YYYY-MM-DD, UTC), None where there is none."""

    random: int
    uncertain: int
    reported: int
    oldest: str | None = None


class WaitingPages(Value, frozen=True, kw_only=True):
    """Captured pages that wait to be labelled; `fields` has by class index for the sake of which field."""

    pages: int
    fields: tuple[int, ...] = ()


class WeeklyReports(Value, frozen=True, kw_only=True):
    """Documents that were reported in a complete week (YYYY-Www, ISO 8601, UTC), each once."""

    week: str
    documents: int


class Basis(Value, frozen=True, kw_only=True):
    """What a scan counts by: digests of its document, of the base that a run would fine-tune, of judged runs' plans.

    Counts by anything else are no counts of the policy as it is. `base` is empty where there is none.
    """

    document: str
    base: str = ""
    judged: tuple[str, ...] = ()


class Counted(Value, frozen=True, kw_only=True):
    """What the newest scan counted, when that was taken, and by what; the counts are those of its result."""

    at: datetime
    basis: Basis
    pool: int
    held_out: int
    withdrawn: int
    outside: int
    new: int
    corrected: int
    by_image: int
    listing: str
    pages: CapturedPages | None = None
    waiting: WaitingPages | None = None
    reports: tuple[WeeklyReports, ...] = ()
    answered: int | None = None


class ScanStatus(Value, frozen=True, kw_only=True):
    """The scans of a policy: what the newest counted, the attempts since, and what the newest of these counts by."""

    counted: Counted | None = None
    basis: Basis | None = None
    attempts: tuple[Attempt, ...] = ()
