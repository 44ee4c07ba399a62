"""FineTunePolicy.status: the durable memory of one Deployment's models."""

from datetime import datetime
from typing import Final, Literal

from .meta import Condition, FileReference
from .names import sha256_of
from .scan import ScanStatus
from .triggers import Fired, ScheduleStatus
from .value import Value


class LiveVersion(Value, frozen=True, kw_only=True):
    """A version by name, object and bytes."""

    version: str
    model_version: str
    uri: str
    sha256: str


class Live(LiveVersion, frozen=True, kw_only=True):
    """What the Deployment serves; `epoch` counts flips and only grows."""

    epoch: int
    since: datetime


HoldReason = Literal["Adopted", "NotRolledOut", "Recalled", "External", "ConflictingWriter", "FieldOwned", "RolledBack"]
"""Why policies hold; a status may have another one, of an earlier release."""

LOST: Final = frozenset(("Adopted", "NotRolledOut", "Recalled"))
"""Holds of a policy whose status was lost, or that is new, until somebody says what shall be live."""


class Hold(Value, frozen=True, kw_only=True):
    """Promotions wait until one of them carries releaseHold.

    `since` is by the operator's clock; `newest_promotion` says by the API server's which promotions came before it.
    """

    by: str
    reason: str
    message: str
    since: datetime
    newest_promotion: datetime | None = None


class Lifted(Value, frozen=True, kw_only=True):
    """A person's word that a quarantine is over: the promotion that said so, and why."""

    at: datetime
    by: str
    reason: str = ""


class Quarantined(Value, frozen=True, kw_only=True):
    """A version that failed in production: never promoted or rolled back to again, unless a promotion lifts it."""

    version: str
    sha256: str
    reason: str
    since: datetime
    evidence: str = ""
    lifted: Lifted | None = None


class TakenBack(Value, frozen=True, kw_only=True):
    """A version that people went back from: by which promotion, and why."""

    version: str
    sha256: str
    by: str
    since: datetime
    reason: str = ""


class Rejected(Value, frozen=True, kw_only=True):
    """Bytes that a person rejected in review: who, when, of which run and as which version."""

    version: str
    sha256: str
    by: str
    at: datetime
    run: str = ""


class Judged(Value, frozen=True, kw_only=True):
    """A run of the policy that reached a verdict of its gates: by which plan, and when it was decided or judged."""

    run: str
    run_uid: str
    inputs: FileReference
    at: datetime


FlightPhase = Literal["Flipping", "Watching", "Returning"]


class Brake(Value, frozen=True, kw_only=True):
    """The promotion that ended a flight by going back to a version that was good.

    `corrects`: it says that the version was taken back, and goes there all the same.
    """

    promotion: str
    promotion_uid: str
    spec_hash: str
    release_hold: bool = False
    overrules: bool = False
    corrects: bool = False
    reason: str = ""


class InFlight(Value, frozen=True, kw_only=True):
    """The one promotion that is being carried out; recorded before the Deployment is touched.

    `template_hash` is that of the pod template without our keys when the flight began. `generation` is that of
    the Deployment when `epoch` was given out: while it stays, the apply was not committed. `replicas` were available
    when watching began; `missing_since` says since when fewer of them are, and `unhealthy_since` since when that is
    because a container fails. `takes_back`: it goes to a version that was live before, so that the one it leaves is
    taken back; `reason` and `overrules` are the promotion's. `lifted_hold`: a hold was lifted for it. `bare`: what
    is live on record did not serve when it began. `unsettled`: it began while the Deployment was not whole (then
    `replicas` were available), so that trouble is nobody's for certain.
    `evidence` is what the server's own container did, where that is why it returns. `observed_seconds` is how long the
    phase was looked at, as far as that is recorded, and `earlier_seconds` how long what came before it was; `idle`:
    its clock stands, because the Deployment is scaled to zero. `deadline`, `missing_since` and `unhealthy_since` are
    moments of that clock: `phase_since` and the observed time. `newest_promotion` is when the newest promotion was
    made that was there when it began to fly, or to go back.
    """

    promotion: str
    promotion_uid: str
    spec_hash: str
    phase: FlightPhase
    to: LiveVersion
    back: LiveVersion | None = None
    epoch: int
    deployment_uid: str
    template_hash: str
    started_at: datetime
    phase_since: datetime
    deadline: datetime
    why: str = ""
    message: str = ""
    generation: int = 0
    replicas: int = 0
    unhealthy_since: datetime | None = None
    missing_since: datetime | None = None
    takes_back: bool = False
    overrules: bool = False
    lifted_hold: bool = False
    bare: bool = False
    reason: str = ""
    unsettled: bool = False
    evidence: str = ""
    brake: Brake | None = None
    observed_seconds: int = 0
    earlier_seconds: int = 0
    idle: bool = False
    newest_promotion: datetime | None = None

    @property
    def back_version(self) -> str | None:
        """The version that it goes back to; None where nothing was live."""
        return None if self.back is None else self.back.version


PromotionOutcome = Literal["Succeeded", "RolledBack", "Failed", "Superseded"]


class Consumed(Value, frozen=True, kw_only=True):
    """A promotion that was acted upon, by name and hash of its spec: it never acts again.

    `uid` tells whether an object of that name and spec is the one that acted; the last release did not record it.
    One that `overrules` is forgotten last (see `Promotion.overrules`).
    """

    name: str
    spec_hash: str
    outcome: PromotionOutcome
    reason: str
    at: datetime
    message: str = ""
    uid: str = ""
    overrules: bool = False


def trace_of(name: str, spec_hash: str) -> str:
    """Return the 12 hex digits that are left of a promotion which is no longer among the consumed ones."""
    return sha256_of(f"{name}/{spec_hash}".encode())[:12]


class Reservation(Value, frozen=True, kw_only=True):
    """A version name given to a run before the ModelVersion is made."""

    run_uid: str
    version: str


class NextVersion(Value, frozen=True, kw_only=True):
    """High-water mark of version numbers in one series; it outlives deletion of the objects."""

    series: int = 1
    tuned: int = 1


class PolicyStatus(Value, frozen=True, kw_only=True):
    """The durable memory of one Deployment's models; `message` sums up what matters most now, `since` when it began."""

    observed_generation: int = 0
    serving: str = ""
    message: str = ""
    since: datetime | None = None
    live: Live | None = None
    last_good: tuple[LiveVersion, ...] = ()
    hold: Hold | None = None
    quarantined: tuple[Quarantined, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    judged: tuple[Judged, ...] = ()
    fired: tuple[Fired, ...] = ()
    schedule: ScheduleStatus | None = None
    in_flight: InFlight | None = None
    consumed: tuple[Consumed, ...] = ()
    forgotten: tuple[str, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    next_base: int = 1
    next_version: NextVersion = NextVersion()
    older_series: tuple[NextVersion, ...] = ()
    epoch: int = 0
    reasserted_at: tuple[datetime, ...] = ()
    scan: ScanStatus | None = None
    conditions: tuple[Condition, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether anything of the Deployment is known yet: a policy is new, or made anew, until it is."""
        return self.epoch > 0 or self.live is not None

    @property
    def is_lost(self) -> bool:
        """Whether this memory was lost, or is new, and nobody said since what shall be live."""
        return self.hold is not None and self.hold.reason in LOST

    def is_good(self, sha256: str) -> bool:
        """Tell whether those bytes are among the versions that can be gone back to."""
        return any(entry.sha256 == sha256 for entry in self.last_good)

    def quarantine_of(self, sha256: str) -> Quarantined | None:
        """Return the quarantine of those bytes that stands; None also where it was lifted."""
        return next((e for e in self.quarantined if e.sha256 == sha256 and e.lifted is None), None)

    def taken_back_of(self, sha256: str) -> TakenBack | None:
        """Return that people went back from those bytes, if they did."""
        return next((e for e in self.taken_back if e.sha256 == sha256), None)

    def rejected_of(self, sha256: str) -> Rejected | None:
        """Return that a person rejected those bytes, if it is remembered."""
        return next((e for e in self.rejected if e.sha256 == sha256), None)
