"""What was fired: remembered before it is made, found again by its name, and never fired twice."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ....api.figures import Figure
from ....api.model_version import ModelVersion
from ....api.names import fired_run_name
from ....api.policy_status import PolicyStatus
from ....api.scan import Counted
from ....api.triggers import Fired, FiredOutcome, Triggers
from ... import limits, text, times
from ...views import Explanation, FiredRun, PolicyView
from .schedule import CLOCKS_DIFFER
from .wish import Missing, Wish, clock_time

TRIES: Final = 4
"""Runs of one pool and base: the first, and three more where each before failed."""

SHORTEST_PAUSE: Final = timedelta(minutes=1)
"""What doubles after a failure where there is no cool-down."""


def refreshed(view: PolicyView) -> PolicyStatus:
    """Return the status with what became of the runs that were fired, and with those that only they tell of (D151)."""
    status, now = view.policy.status, times.moment(view.now)
    there, made = {run.name: run for run in view.fired}, _recorded(view)
    known = [_met(_by_this_clock(entry, now), there.get(entry.run), entry.run in made, now) for entry in status.fired]
    names = {entry.run for entry in known}
    recalled = [_recalled(run, now) for run in view.fired if run.name not in names]
    fired = _bounded([*known, *recalled])
    return status if fired == status.fired else replace(status, fired=fired)


def _by_this_clock(entry: Fired, now: datetime) -> Fired:
    """Return the entry as of now where it was written by a clock that ran far ahead: it would brake for ever."""
    ended = entry.ended_at
    return replace(
        entry,
        at=now if entry.at - now > CLOCKS_DIFFER else entry.at,
        ended_at=now if ended is not None and ended - now > CLOCKS_DIFFER else ended,
    )


def _recorded(view: PolicyView) -> frozenset[str]:
    """Return the names of runs that versions tell of."""
    return frozenset(v.spec.lineage.run for v in view.versions if v.spec.lineage is not None)


def _met(entry: Fired, run: FiredRun | None, recorded: bool, now: datetime) -> Fired:
    """Return the entry with what its run says; what it came to stands.

    One that was never seen is still to be made, unless a version tells of it: then this memory is from a backup.
    """
    if not entry.is_open:
        return entry
    if run is not None:
        return _seen(entry, run.uid, run.outcome, now)
    if recorded:
        return _seen(entry, "", "Judged", now)
    return entry if entry.outcome == "Planned" else replace(entry, outcome="Deleted", ended_at=now, reason="")


def _seen(entry: Fired, uid: str, outcome: FiredOutcome, now: datetime) -> Fired:
    """Return the entry without what its run was to be made of; why it was made is said until it is over."""
    over = outcome != "Underway"
    return replace(
        entry,
        outcome=outcome,
        run_uid=uid[: limits.RUN_UID] or entry.run_uid,
        ended_at=now if over else None,
        base_version="",
        reason="" if over else entry.reason,
        figures=(),
    )


def made(status: PolicyStatus, run: str, uid: str, now: datetime) -> PolicyStatus:
    """Return the status with a run that was made, or was there already: deleted from now on, it is not made again."""
    fired = tuple(
        _seen(entry, uid, "Underway", now) if (entry.run, entry.outcome) == (run, "Planned") else entry
        for entry in status.fired
    )
    return status if fired == status.fired else replace(status, fired=fired)


def _recalled(run: FiredRun, now: datetime) -> Fired:
    at = min(run.created or now, now)
    ended = None if run.outcome == "Underway" else now
    uid = run.uid[: limits.RUN_UID]
    return Fired(run=run.name, run_uid=uid, kind=run.kind, at=at, outcome=run.outcome, ended_at=ended)


def _bounded(entries: list[Fired]) -> tuple[Fired, ...]:
    """Return the newest entries, oldest first; one that is open is never forgotten before one that is not.

    What only runs tell of goes first: whoever may make runs must not make the policy forget its own.
    """
    kept = sorted(entries, key=lambda entry: (bool(entry.listing), entry.is_open, entry.at, entry.run))[-limits.FIRED :]
    return tuple(sorted(kept, key=lambda entry: (entry.at, entry.run)))


def open_entry(status: PolicyStatus) -> Fired | None:
    """Return the run that was fired and is about to be made, or not over; the newest."""
    return next((entry for entry in reversed(status.fired) if entry.is_open), None)


def next_try(view: PolicyView, rules: Triggers, wish: Wish, counts: Counted, base: ModelVersion) -> int | Missing:
    """Return the number of the try that is due for this pool, base and mode, or why none is (D152, D153)."""
    known = {entry.run: entry for entry in view.policy.status.fired}
    recorded = _recorded(view)
    names = {attempt: name_of(view, wish, counts, base, attempt) for attempt in range(1, TRIES + 1)}
    tried = [attempt for attempt, name in names.items() if name in known or name in recorded]
    if not tried:
        return 1
    attempt = max(tried)
    name = names[attempt]
    entry = known.get(name)
    if entry is None or name in recorded or entry.outcome != "Failed":
        became = "was deleted" if entry is not None and entry.outcome == "Deleted" else "was made of it"
        words = f"nothing came into the pool since: run '{name}' {became}; to train it once more, make a run by hand"
        return Missing(Explanation("FiredBefore", words), for_good=True)
    if attempt == TRIES:
        words = f"{TRIES} runs of this pool failed, the last one '{name}'; mend what its message says, then make a run"
        return Missing(Explanation("FailedRepeatedly", f"{words} by hand, or add to the pool"), for_good=True)
    return _pause(view, rules, entry, attempt) or attempt + 1


def _pause(view: PolicyView, rules: Triggers, entry: Fired, attempt: int) -> Missing | None:
    """Return that the pause after a failure, the cool-down doubled with each, is not over."""
    failed = entry.ended_at or entry.at
    pause = max(timedelta(seconds=rules.cooldown_seconds), SHORTEST_PAUSE) * 2 ** (attempt - 1)
    end = times.later(failed, pause)
    if end <= view.now:
        return None
    words = f"run '{entry.run}' failed; try {attempt + 1} of {TRIES} at {clock_time(end, beside=failed)}"
    return Missing(Explanation("TriedAgainLater", words), end)


def name_of(view: PolicyView, wish: Wish, counts: Counted, base: ModelVersion, attempt: int) -> str:
    """Return the name of that try of this pool, base and mode."""
    metadata = view.policy.metadata
    return fired_run_name(
        metadata.name,
        namespace=metadata.namespace,
        listing=counts.listing,
        base=base.spec.artifact.sha256,
        attempt=attempt,
        rebuilds=wish.rebuilds,
    )


def planned(view: PolicyView, wish: Wish, counts: Counted, base: ModelVersion, attempt: int) -> PolicyStatus:
    """Return the status with one more run that is about to be made."""
    entry = Fired(
        run=name_of(view, wish, counts, base, attempt),
        kind=wish.kind,
        at=times.moment(view.now),
        outcome="Planned",
        listing=text.cut(counts.listing, limits.DIGEST),
        base=base.spec.artifact.sha256,
        attempt=attempt,
        outside=counts.outside if wish.rebuilds else None,
        base_version=base.spec.version,
        reason=text.cut(wish.reason, limits.FIRED_REASON),
        figures=(*_figures(counts), *wish.figures),
    )
    status = view.policy.status
    return replace(status, fired=_bounded([*status.fired, entry]))


def _figures(counts: Counted) -> tuple[Figure, ...]:
    said = {
        "new": counts.new,
        "corrected": counts.corrected,
        "outside": counts.outside,
        "heldOut": counts.held_out,
    }
    return tuple(Figure(name=name, value=str(count)) for name, count in said.items())
