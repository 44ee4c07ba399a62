"""What can go wrong at the API server, sorted by what the caller does about it."""

from datetime import timedelta

from ..decide.decision import Action


class ClusterError(Exception):
    """Any refusal or failure of the API server; the message is fit for a condition.

    `action` is what was being done when it came; None outside of a decision's actions. `within` is when the object has
    to be looked at again whatever was refused; None: the pause after a failure is as good.
    """

    action: Action | None = None
    within: timedelta | None = None


class Conflict(ClusterError):
    """409: the object changed, or another object has the name: look again."""


class FieldConflict(Conflict):
    """409 of a server-side apply: another field manager owns a field of ours; `manager` names it."""

    def __init__(self, message: str, manager: str) -> None:
        super().__init__(message)
        self.manager = manager


class AlreadyExists(Conflict):
    """409 on create: an object of that name is there."""


class NotFound(ClusterError):
    """404: the object is gone."""


class Invalid(ClusterError):
    """400 or 422: the API server will never take this; repeating does not help."""


class Forbidden(ClusterError):
    """401 or 403, or an admission webhook's denial: RBAC, quota or admission; the message says which."""


class AdmissionUnavailable(Forbidden):
    """A 5xx of this one write: its admission webhook does not answer. The API server is well, and serves others."""


class AdmissionBroken(Forbidden):
    """A 500 of this one write in the API server's own words: as a rule, what admission made of it cannot be taken."""


class Unauthenticated(Forbidden):
    """401: who we are is not known (any more); it says nothing of what is asked for."""


class Unavailable(ClusterError):
    """Timeout, 410 (expired), 429, 5xx, broken connection: a write may have been committed or not; try again later."""


class Throttled(Unavailable):
    """429: the API server has too much to do. `after` is how many seconds it wants to be left alone, one at least."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = max(after, 1.0)
