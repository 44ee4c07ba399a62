"""ModelPromotion: its status mirrors what the policy's memory says of it (rows P1-P10)."""

from dataclasses import replace as with_changes
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find, is_true, set_condition
from ...api.names import OUTCOME_KEY
from ...api.policy import Policy
from ...api.policy_status import Consumed, FlightPhase, Hold, InFlight, PromotionOutcome
from ...api.promotion import FINAL_PROMOTION_PHASES, Promotion, PromotionPhase, PromotionStatus
from ...api.record import Outcome, outcome_text
from .. import limits, times
from ..commands import in_events, promoting
from ..decision import Annotate, Decision, Emit
from ..since import dated
from ..text import reason_or, watch_in_words
from ..views import DeploymentView, Problem
from .braking import goes_back_to
from .checks import judge
from .proposal import Clear, Obstacle, Proposal, quoted
from .view import PromotionView
from .waiting import identity, is_forgotten, recorded_outcome

SHOWN_AS: Final[dict[FlightPhase, PromotionPhase]] = {
    "Flipping": "Flipping",
    "Watching": "Watching",
    "Returning": "Flipping",
}
OF_THE_FLIGHT: Final = frozenset(("ForeignKeys", "NotSettled"))
"""What looks wrong with a Deployment while it is flipped: its keys are not those of live yet, nor is it whole."""

OUTCOMES: Final[dict[PromotionPhase, PromotionOutcome]] = {
    "Succeeded": "Succeeded",
    "RolledBack": "RolledBack",
    "Failed": "Failed",
    "Superseded": "Superseded",
}


def decide(view: PromotionView) -> Decision[PromotionStatus]:
    """Return what the promotion's status should say; it never changes anything else. Total."""
    promotion = view.promotion
    if promotion.metadata.deletion_timestamp is not None:
        return Decision(promotion.status)
    recorded, elsewhere = _own(promotion, recorded_outcome(promotion))
    if promotion.status.phase in FINAL_PROMOTION_PHASES:
        return _final(promotion, recorded)
    entry = None if view.policy is None else _consumed(view.policy, promotion)
    if entry is not None:
        return _remembered(view, entry, recorded)
    flight = None if view.policy is None else view.policy.status.in_flight
    if view.policy is not None and flight is not None:
        if flight.brake is not None and flight.brake.promotion_uid == promotion.metadata.uid:
            return _braking(view, flight)
        if flight.promotion_uid == promotion.metadata.uid:
            return _in_flight(view, view.policy, flight)
    if recorded is not None:
        return _finished(view, recorded)
    if elsewhere is not None and view.policy is not None:
        return _acted_elsewhere(view, view.policy, elsewhere)
    return _policy_missing(view) if view.policy is None else _pending(view, view.policy, flight)


def _own(promotion: Promotion, recorded: Outcome | None) -> tuple[Outcome | None, Outcome | None]:
    """Return a record as the promotion's own, or as that of the one in another namespace that it was copied from."""
    if recorded is None or recorded.namespace in ("", promotion.metadata.namespace):
        return recorded, None
    return None, recorded


def _acted_elsewhere(view: PromotionView, policy: Policy, outcome: Outcome) -> Decision[PromotionStatus]:
    """End a copy by what serves here (D259), once that is known: a restore may bring it before the Deployment."""
    deployment, status = view.deployment, policy.status
    how = f"in namespace '{outcome.namespace}': {_in_words(outcome)}"
    serves_nothing = status.observed_generation > 0 and deployment is not None and deployment.keys.absent
    if status.live is None and not serves_nothing:
        text = f"acted before ({how}); waits until policy '{policy.metadata.name}' knows what serves here"
        return _status(view, "Pending", text, ("False", "PolicyNotReady"))
    return _asked_twice(view, _long_ago(view.promotion), how)


def _in_words(how: Outcome | Consumed) -> str:
    return f"{how.outcome}, {how.reason}, {times.stamp(how.at)}"


def _consumed(policy: Policy, promotion: Promotion) -> Consumed | None:
    key = identity(promotion)
    return next((entry for entry in policy.status.consumed if (entry.name, entry.spec_hash) == key), None)


def _is_another(promotion: Promotion, entry: Consumed) -> bool:
    """Tell whether that name and spec are known of another object, which was deleted since."""
    return bool(entry.uid) and entry.uid != promotion.metadata.uid


def _remembered(view: PromotionView, entry: Consumed, recorded: Outcome | None) -> Decision[PromotionStatus]:
    """Return how it ended by the policy's memory, which may be of another object of its name and spec."""
    if not _is_another(view.promotion, entry):
        return _ended(view, entry, recorded)
    return _asked_twice(view, entry) if recorded is None else _finished(view, recorded)


def _long_ago(promotion: Promotion) -> Consumed:
    """Return what can be said of a promotion of which the policy only remembers that it acted (P26)."""
    name, spec_hash = identity(promotion)
    version, made = promotion.spec.version, promotion.metadata.creation_timestamp
    return Consumed(
        name=name,
        spec_hash=spec_hash,
        outcome="Succeeded",
        reason="AlreadyLive",
        at=made or datetime.min.replace(tzinfo=UTC),
        message=f"'{version}' is what is live",
    )


def _asked_twice(view: PromotionView, entry: Consumed, when: str = "long ago") -> Decision[PromotionStatus]:
    """A file that is applied again does not act again: it may be Git that applies it (D56). Say so, and how to mean it.

    Where what it asks for is what serves, or it came to nothing, it ends as the first one did; not where it asks for a
    hold to be lifted, and another one stands (P16). `when` is what is known where the policy does not remember it.
    """
    policy, promotion = view.policy, view.promotion
    status = None if policy is None else policy.status
    if policy is None or status is None:
        return Decision(promotion.status)
    live, spec = status.live, promotion.spec
    is_live = live is not None and live.version == spec.version and status.in_flight is None
    still_held = spec.release_hold and status.hold is not None
    if (is_live and not still_held) or entry.outcome != "Succeeded":
        return _ended(view, entry, None)
    again = promoting(
        policy,
        spec.version,
        None if live is None else live.version,
        release=spec.release_hold or status.hold is not None,
        despite=() if spec.despite is None else spec.despite.checks,
        approval=spec.approval,
    )
    how = _in_words(entry) if entry.uid else when
    now = f"{quoted(None if live is None else live.version)}{_held_in_words(status.hold)}"
    message = (
        f"a promotion of this name and spec acted before ({how}), and none acts twice; live is {now}; "
        f"{_meant(spec.version, is_live=is_live)}: {again}"
    )
    return _ended(view, replace(entry, outcome="Superseded", reason="AskedTwice", message=message), None)


def _held_in_words(hold: Hold | None) -> str:
    return "" if hold is None else f", and the policy is held ({hold.reason}, since {times.stamp(hold.since)})"


def _meant(version: str, *, is_live: bool) -> str:
    return f"to lift that and stay with '{version}'" if is_live else f"to make '{version}' live again"


def _policy_missing(view: PromotionView) -> Decision[PromotionStatus]:
    name = view.promotion.spec.policy
    text = f"FineTunePolicy '{name}' is not in this namespace; create it, or make a promotion that names another"
    return _status(view, "Pending", text, ("False", "PolicyNotFound"))


def _ended(view: PromotionView, entry: Consumed, recorded: Outcome | None) -> Decision[PromotionStatus]:
    """Put the outcome on the object first, and into its status with the next look: a status can be lost (P9)."""
    name, spec_hash = identity(view.promotion)
    outcome = Outcome(
        name=name,
        namespace=view.promotion.metadata.namespace,
        spec_hash=spec_hash,
        outcome=entry.outcome,
        reason=reason_or(entry.reason, entry.outcome),
        at=entry.at,
        message=entry.message,
    )
    # Of older entries the policy keeps no message.
    if recorded is None or not _says(recorded, outcome):
        return Decision(view.promotion.status, (Annotate(OUTCOME_KEY, outcome_text(outcome)),))
    text = f"{recorded.reason}: {recorded.message}" if recorded.message else recorded.reason
    bad = recorded.outcome in ("RolledBack", "Failed")
    events = tuple(Emit("Warning" if bad else "Normal", recorded.outcome, said) for said in in_events(text))
    return Decision(_finished(view, recorded).status, events)


def _says(recorded: Outcome, outcome: Outcome) -> bool:
    """Tell whether a record says that already, in whatever words; one that names no namespace is its own."""
    return replace(recorded, message=outcome.message, namespace=outcome.namespace) == outcome


def _final(promotion: Promotion, recorded: Outcome | None) -> Decision[PromotionStatus]:
    """Final means final; what the last release ended has no record yet, and what somebody wrote over it is mended."""
    status, (name, spec_hash) = promotion.status, identity(promotion)
    finished = find(status.conditions, "Finished")
    if status.phase not in OUTCOMES or finished is None or status.finished_at is None:
        return Decision(status)
    outcome = Outcome(
        name=name,
        namespace=promotion.metadata.namespace,
        spec_hash=spec_hash,
        outcome=OUTCOMES[status.phase],
        reason=reason_or(finished.reason, status.phase),
        at=status.finished_at,
        message=status.message,
    )
    said = recorded is not None and _says(recorded, outcome)
    return Decision(status, () if said else (Annotate(OUTCOME_KEY, outcome_text(outcome)),))


def _finished(view: PromotionView, recorded: Outcome) -> Decision[PromotionStatus]:
    """Return the final status that the object's own record stands for."""
    status = view.promotion.status
    began = is_true(status.conditions, "Accepted") or recorded.outcome in ("Succeeded", "RolledBack")
    accepted: tuple[ConditionStatus, str] = ("True", "ChecksPassed") if began else ("False", recorded.reason)
    finished: tuple[ConditionStatus, str] = ("True", recorded.reason)
    return _status(view, recorded.outcome, recorded.message, accepted, finished=finished, finished_at=recorded.at)


def _in_flight(view: PromotionView, policy: Policy, flight: InFlight) -> Decision[PromotionStatus]:
    match flight.phase:
        case "Flipping":
            text = f"rolling out '{flight.to.version}'"
        case "Watching":
            text = f"'{flight.to.version}' is rolled out; watched {watch_in_words(flight)}"
        case "Returning":
            back = quoted(flight.back_version)
            text = f"{flight.why}: going back to {back}: {flight.message}"
    text += _remarks(policy, flight)
    return _status(view, SHOWN_AS[flight.phase], text, ("True", "ChecksPassed"), started_at=flight.started_at)


def _remarks(policy: Policy, flight: InFlight) -> str:
    """Return what the policy says of the flight beyond its phase: what ails it, and how it is ended at once."""
    in_sync = find(policy.status.conditions, "InSync")
    if in_sync is None or in_sync.reason != flight.phase:
        return ""
    _, separator, remarks = in_sync.message.partition("; ")
    return separator + remarks


def _braking(view: PromotionView, flight: InFlight) -> Decision[PromotionStatus]:
    """It ended the flight of another, and waits for its version to be rolled out (row P6)."""
    back = quoted(flight.back_version)
    text = f"ended the flight to '{flight.to.version}': going back to {back}"
    return _status(view, "Flipping", text, ("True", "ChecksPassed"), started_at=flight.phase_since)


def _pending(view: PromotionView, policy: Policy, flight: InFlight | None) -> Decision[PromotionStatus]:
    if is_forgotten(policy, view.promotion):
        return _asked_twice(view, _long_ago(view.promotion))
    deployment = _with_trouble(view.deployment, policy)
    finding = judge(Proposal(view.promotion, policy, view.versions, deployment, _problem(policy)))
    if flight is not None:
        return _beside_a_flight(view, policy, flight, finding)
    if not isinstance(finding, Clear):
        return _status(view, "Pending", finding.message, ("False", finding.reason))
    return _status(view, "Pending", "next", ("True", "ChecksPassed"))


def _beside_a_flight(
    view: PromotionView, policy: Policy, flight: InFlight, finding: Clear | Obstacle
) -> Decision[PromotionStatus]:
    """Say what becomes of a promotion while another one flies (rows P7, P8)."""
    if goes_back_to(view.promotion, policy, view.versions) is not None:
        return _status(view, "Pending", f"ends the flight of promotion '{flight.promotion}'", ("True", "ChecksPassed"))
    waits = f"waits for promotion '{flight.promotion}'"
    if flight.phase == "Returning":
        back = quoted(flight.back_version)
        waits = f"{waits}, which goes back to {back}"
    if isinstance(finding, Clear):
        return _status(view, "Pending", waits, ("True", "ChecksPassed"))
    if finding.reason == "FromIsNotLive":
        text = f"{waits}: what is live then is compared with spec.from"
        return _status(view, "Pending", text, ("False", "FlightUnderway"))
    if finding.reason in OF_THE_FLIGHT:
        return _status(view, "Pending", waits, ("False", "FlightUnderway"))
    return _status(view, "Pending", f"{finding.message} (it {waits})", ("False", finding.reason))


def _with_trouble(deployment: DeploymentView | None, policy: Policy) -> DeploymentView | None:
    """Return the Deployment with what the policy's own reconciler saw of its pods: nobody else looks at them."""
    available = find(policy.status.conditions, "Available")
    if deployment is None or available is None or available.status != "False":
        return deployment
    said = available.message.partition(f"{available.reason}: ")[2]
    return with_changes(deployment, trouble=Problem(available.reason, said))


def _problem(policy: Policy) -> Problem | None:
    """Return what the policy's own reconciler found wrong with the Deployment; a refused apply blocks nothing."""
    ready = find(policy.status.conditions, "TargetReady")
    if ready is None or ready.status != "False" or ready.reason == "FieldOwned":
        return None
    return Problem(ready.reason, ready.message)


def _status(
    view: PromotionView,
    phase: PromotionPhase,
    message: str,
    accepted: tuple[ConditionStatus, str],
    *,
    finished: tuple[ConditionStatus, str] = ("Unknown", "NotYet"),
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
) -> Decision[PromotionStatus]:
    promotion, old = view.promotion, view.promotion.status
    now, generation = times.moment(view.now), promotion.metadata.generation
    conditions = old.conditions
    for kind, (status, reason), text in (("Accepted", accepted, message), ("Finished", finished, "")):
        shown = text if status == "False" else ""
        conditions = set_condition(conditions, kind, status, reason, shown, generation=generation, now=now)
    new = replace(
        old,
        observed_generation=generation,
        phase=phase,
        message=message[: limits.HOLD_MESSAGE],
        started_at=started_at or old.started_at,
        finished_at=finished_at or old.finished_at,
        conditions=conditions,
    )
    return Decision(dated(old, new, now))
