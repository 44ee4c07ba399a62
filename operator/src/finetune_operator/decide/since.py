"""Since when an object is as it is: that moves with its phase and its reasons, never with its words."""

from datetime import datetime
from typing import TypeVar

from msgspec.structs import replace

from ..api.model_version import VersionStatus
from ..api.promotion import PromotionStatus
from ..api.run import RunStatus
from .times import moment

S = TypeVar("S", RunStatus, VersionStatus, PromotionStatus)

_Summary = tuple[str | None, tuple[tuple[str, str, str], ...]]


def dated(before: S, after: S, now: datetime) -> S:
    """Return `after` with the moment from which its phase and the reasons of its conditions are what they are.

    A message may count and a percentage may grow: nothing began with that. An object that an earlier release wrote
    has no such moment, and gets one with its next change.
    """
    since = before.since if _summary(before) == _summary(after) else moment(now)
    return after if since == after.since else replace(after, since=since)


def _summary(status: RunStatus | VersionStatus | PromotionStatus) -> _Summary:
    return status.phase, tuple((c.type, c.status, c.reason) for c in status.conditions)
