"""From the API server's errors to refusals, as decisions look at them."""

from datetime import datetime

from ..decide.decision import CreateJob
from ..decide.refusal import Refusal, RefusalReason
from .act import NameTaken
from .errors import AdmissionUnavailable, ClusterError


def refusal_of(error: ClusterError, now: datetime) -> Refusal:
    """Return what was refused, and why as far as the API server's words tell."""
    return Refusal(_reason(error), str(error), error.action, now)


def _reason(error: ClusterError) -> RefusalReason:
    if isinstance(error, AdmissionUnavailable):
        return "AdmissionUnavailable"
    if isinstance(error, NameTaken):
        return "NameTaken"
    if any(words in str(error) for words in ("exceeded quota", "failed quota")):
        return "QuotaExceeded"
    return "JobRefused" if isinstance(error.action, CreateJob) else "WriteRefused"
