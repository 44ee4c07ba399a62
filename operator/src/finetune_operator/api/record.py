"""What stands on an object outside its status, so that a backup without statuses brings it back (decision 12).

A ModelVersion carries its service record, a ModelPromotion its outcome, each as an annotation. Whoever may write the
object may write them, so what cannot be read, or is about another object, counts as not there.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from .names import OUTCOME_KEY, SERVICE_RECORD_KEY
from .policy_status import PromotionOutcome
from .value import InvalidObject, Value, canonical_json, parse_json

LONGEST: Final = 32_768
"""Characters of an annotation that are read; what the operator writes is shorter."""

REMEMBERED: Final = 4096
"""Characters of an annotation that is remembered as read; nearly every one is shorter.

Whoever edits a long one again and again must not fill the memory.
"""

R = TypeVar("R")
Moment = Annotated[datetime, Meta(tz=True)]
Namespace = Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?\Z")]
"""A namespace's name; empty where a record says none."""
Reason = Annotated[str, Meta(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]{0,62}[A-Za-z0-9_])?\Z")]
"""A reason that a condition may carry."""


class Mark(Value, frozen=True, kw_only=True):
    """Something that was decided of a version: when, by which promotion, why, and on what evidence."""

    at: Moment
    by: str = ""
    reason: str = ""
    evidence: str = ""


class Service(Value, frozen=True, kw_only=True):
    """What a version did on one Deployment.

    `good` is when it passed its last watch, in the namespace `good_in`. `taken_back` and `quarantined` stand as long as
    they are there; a quarantine that was `lifted` stands no more.
    """

    good: Moment | None = None
    good_in: Namespace = ""
    taken_back: Mark | None = None
    quarantined: Mark | None = None
    lifted: Mark | None = None

    def was_good_in(self, namespace: str) -> bool:
        """Tell whether it was good on the Deployment of that namespace: people copy versions from one to another."""
        return self.good is not None and self.good_in in ("", namespace)

    @property
    def quarantine(self) -> Mark | None:
        """The quarantine, if it stands."""
        return self.quarantined if self.lifted is None else None

    @property
    def newest(self) -> datetime | None:
        """When the last of it was."""
        marks = (self.taken_back, self.quarantined, self.lifted)
        return max((at for at in (self.good, *(mark.at for mark in marks if mark)) if at is not None), default=None)


class Rejection(Value, frozen=True, kw_only=True):
    """A person's no to the bytes of a version: when, by whom, of which run and as which version."""

    at: Moment
    by: str
    run: str = ""
    version: str = ""


class ServiceRecord(Value, frozen=True, kw_only=True):
    """What the bytes `sha256` did on each Deployment, by its name, and whether a person rejected them."""

    sha256: str
    deployments: dict[str, Service] = {}
    rejected: Rejection | None = None


class Outcome(Value, frozen=True, kw_only=True):
    """How the promotion of that name and spec ended, in its namespace."""

    name: str
    namespace: Namespace = ""
    spec_hash: str
    outcome: PromotionOutcome
    reason: Reason
    at: Moment
    message: str = ""


def services(annotations: Mapping[str, str], sha256: str) -> Mapping[str, Service]:
    """Return what the bytes `sha256` did, by Deployment; empty for no service record, or for that of other bytes."""
    record = _record(annotations, sha256)
    return {} if record is None else record.deployments


def rejection(annotations: Mapping[str, str], sha256: str) -> Rejection | None:
    """Return the person's no to the bytes `sha256` that the service record has; None also for that of other bytes."""
    record = _record(annotations, sha256)
    return None if record is None else record.rejected


def record_text(sha256: str, by_deployment: Mapping[str, Service], rejected: Rejection | None = None) -> str:
    """Return the annotation that says so; the same text for the same record."""
    return canonical_json(ServiceRecord(sha256=sha256, deployments=dict(by_deployment), rejected=rejected)).decode()


def _record(annotations: Mapping[str, str], sha256: str) -> ServiceRecord | None:
    text = annotations.get(SERVICE_RECORD_KEY)
    record = None if text is None else _read(_service_record, text)
    return record if record is not None and record.sha256 == sha256 else None


def outcome_in(annotations: Mapping[str, str], name: str, spec_hash: str) -> Outcome | None:
    """Return the outcome of the promotion of that name and spec; None for none, or for that of another one."""
    text = annotations.get(OUTCOME_KEY)
    outcome = None if text is None else _read(_outcome, text)
    return outcome if outcome is not None and (outcome.name, outcome.spec_hash) == (name, spec_hash) else None


def outcome_text(outcome: Outcome) -> str:
    """Return the annotation that says so."""
    return canonical_json(outcome).decode()


def _read(reader: Callable[[str], R | None], text: str) -> R | None:
    """Return what stands in `text`; read once, because a policy looks at every version of its model."""
    if len(text) > LONGEST:
        return None
    return _remembered(reader, text) if len(text) <= REMEMBERED else reader(text)


@lru_cache(maxsize=8192)
def _remembered(reader: Callable[[str], R | None], text: str) -> R | None:
    return reader(text)


def _service_record(text: str) -> ServiceRecord | None:
    try:
        return parse_json(text, ServiceRecord)
    except InvalidObject:
        return None


def _outcome(text: str) -> Outcome | None:
    try:
        return parse_json(text, Outcome)
    except InvalidObject:
        return None
