"""The emergency brake: a promotion back to a version that was good ends a flight at once (rows D30 to D32)."""

from msgspec.structs import replace

from ...api.policy_status import Brake, InFlight, LiveVersion, PolicyStatus
from ...api.promotion import Promotion
from .. import limits
from ..decision import Decision
from ..deployment import keys_of
from ..promotion.braking import goes_back_to
from ..promotion.checks import overrules
from ..promotion.proposal import quoted
from ..promotion.waiting import candidates, identity
from ..rejections import barred, in_words
from ..text import cut
from ..views import DeploymentView, PolicyView
from . import memory
from .returning import TAKEN_BACK, turn_back, way_back_or
from .writes import as_met


def brake(view: PolicyView, flight: InFlight, deployment: DeploymentView) -> Decision[PolicyStatus] | None:
    """Return the decision to end the flight for the oldest promotion that asks for it; None where none does.

    Keys that are neither the old ones nor the new ones are somebody else's, and stay: row D12 sees to them.
    """
    if deployment.keys != keys_of(flight.to) and not as_met(view.policy.status, flight, deployment.keys):
        return None
    for promotion in candidates(view.policy, view.promotions):
        back = goes_back_to(promotion, view.policy, view.versions)
        if back is not None:
            return _end(view, flight, deployment, promotion, back)
    return None


def _end(
    view: PolicyView, flight: InFlight, deployment: DeploymentView, promotion: Promotion, asked: LiveVersion
) -> Decision[PolicyStatus]:
    """The flight's promotion is consumed now; the other one ends when its version is rolled out.

    A brake is pulled at once, whatever it names; what a person rejected since it served is no place to go back to as
    long as there is another one (D113).
    """
    name, spec_hash = identity(promotion)
    status = view.policy.status
    # Where it is on the Deployment yet, it serves, and a no takes nothing down.
    no = None if deployment.keys == keys_of(asked) else barred(asked.sha256, view.versions, status)
    back = asked if no is None else way_back_or(view, flight, deployment, asked)
    there = quoted(None if back is None else back.version)
    message = f"promotion '{name}' ended the flight to '{flight.to.version}' and goes back to {there}"
    if no is not None and back != asked:
        message = f"{message}, for '{asked.version}': {in_words(no, asked.version)}"
    braked = replace(
        flight,
        back=back,
        brake=Brake(
            promotion=name,
            promotion_uid=promotion.metadata.uid,
            spec_hash=spec_hash,
            release_hold=promotion.spec.release_hold,
            overrules=promotion.overrules,
            # Its word is about what it names, and frees nothing else of having been taken back.
            corrects=back == asked and overrules(promotion, "TakenBack"),
            reason=cut(promotion.spec.reason, limits.MARK),
        ),
    )
    decision = turn_back(view, braked, deployment, TAKEN_BACK, message)
    done = (flight.promotion, flight.spec_hash, flight.promotion_uid)
    status = memory.consumed(
        decision.status, done, "RolledBack", TAKEN_BACK, message, view.now, overrules=flight.overrules
    )
    return Decision(status, decision.actions, decision.requeue_after)
