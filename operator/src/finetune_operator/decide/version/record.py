"""The service record that a version carries: a mirror of what policies remember of it (decision 12)."""

from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from ...api.model_version import ModelVersion
from ...api.names import SERVICE_RECORD_KEY
from ...api.policy import Policy
from ...api.policy_status import Quarantined
from ...api.record import Mark, Rejection, Service, record_text, rejection, services
from .. import limits
from ..decision import Annotate
from ..text import cut
from .view import VersionView

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


def record_due(view: VersionView) -> Annotate | None:
    """Return the record as it should stand on the version, if it does not yet (V10).

    What no policy knows any more stays: that is what the record is for.
    """
    sha256 = view.version.spec.artifact.sha256
    stands = dict(services(view.version.metadata.annotations, sha256))
    desired = dict(stands)
    known = {policy.spec.deployment for policy in view.policies}
    for policy in view.policies:
        name = policy.spec.deployment
        service = _mirrored(desired.get(name, Service()), policy, sha256)
        if service != Service():
            desired[name] = service
    # What somebody wrote of Deployments that no policy has must not push out what the policies know.
    ranked = sorted(desired.items(), key=lambda item: (item[0] in known, item[1].newest or _NEVER))
    kept = dict(ranked[-limits.SERVED_ON :])
    no, stood = _rejection(view), rejection(view.version.metadata.annotations, sha256)
    return None if (kept, no) == (stands, stood) else Annotate(SERVICE_RECORD_KEY, record_text(sha256, kept, no))


def served_before(version: ModelVersion) -> bool:
    """Tell whether the record says that the version was good in this namespace, even if the status forgot it."""
    record = services(version.metadata.annotations, version.spec.artifact.sha256)
    return any(service.was_good_in(version.metadata.namespace) for service in record.values())


def _rejection(view: VersionView) -> Rejection | None:
    """Return a person's no that policies remember of the bytes, unless the version's own review has it (V22).

    Of several the oldest stands, so that all of them agree.
    """
    version = view.version
    sha256, evidence = version.spec.artifact.sha256, version.spec.evidence
    stands = rejection(version.metadata.annotations, sha256)
    if evidence is not None and evidence.persons_no is not None:
        return stands
    remembered = (policy.status.rejected_of(sha256) for policy in view.policies)
    known = [Rejection(at=no.at, by=no.by, run=no.run, version=no.version) for no in remembered if no is not None]
    return min((*known, *(() if stands is None else (stands,))), key=lambda no: (no.at, no.by), default=None)


def _mirrored(service: Service, policy: Policy, sha256: str) -> Service:
    """Return what is remembered of the bytes on a policy's Deployment, where the policy knows; its word wins.

    What passed a watch and is live is not taken back any more: a promotion overruled that. What a policy that lost its
    memory takes for good it has from this very record, which knows better where that was (row D269).
    """
    status = policy.status
    taken, quarantined = status.taken_back_of(sha256), next((q for q in status.quarantined if q.sha256 == sha256), None)
    good, good_in, taken_back = service.good, service.good_in, service.taken_back
    proved = status.is_good(sha256) and not status.is_lost
    if status.live is not None and status.live.sha256 == sha256 and proved:
        good, good_in, taken_back = status.live.since, policy.metadata.namespace, None
    if taken is not None:
        taken_back = Mark(at=taken.since, by=cut(taken.by, limits.BY), reason=cut(taken.reason, limits.MARK))
    if quarantined is None:
        return replace(service, good=good, good_in=good_in, taken_back=taken_back)
    return Service(
        good=good,
        good_in=good_in,
        taken_back=taken_back,
        quarantined=_quarantine(quarantined, service.quarantined),
        lifted=_lifted(quarantined),
    )


def _quarantine(entry: Quarantined, stands: Mark | None) -> Mark:
    """Return the quarantine as it stands on the version; a policy keeps the evidence of the newest only."""
    known = stands.evidence if stands is not None and stands.at == entry.since else ""
    evidence = cut(entry.evidence or known, limits.EVIDENCE)
    return Mark(at=entry.since, reason=entry.reason[: limits.MARK], evidence=evidence)


def _lifted(entry: Quarantined) -> Mark | None:
    lifted = entry.lifted
    return (
        None
        if lifted is None
        else Mark(at=lifted.at, by=cut(lifted.by, limits.BY), reason=cut(lifted.reason, limits.MARK))
    )
