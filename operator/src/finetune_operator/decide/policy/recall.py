"""What a policy takes from outside its status: the versions' service records, and what the Deployment serves.

A status can be lost: by a backup restored without it, or with the policy itself. What must not be forgotten with it
stands on the objects that it is about (decision 12); what cannot be known is held (rows D3, D37 to D41).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from ...api.model_version import ModelVersion
from ...api.names import FIELD_MANAGER, is_version, model_version_name
from ...api.policy import Policy
from ...api.policy_status import Hold, Judged, Lifted, LiveVersion, PolicyStatus, Quarantined, Rejected, TakenBack
from ...api.record import Mark, Service, services
from ...api.uris import is_uri
from .. import limits, text
from ..commands import letting_go, overruling, promoting, resuming, said_whole, scaling
from ..decision import Decision
from ..deployment import counted_epoch, deployment_problem, is_rolled_out, manager_in_words, written_by_others
from ..judgements import judged_by_versions
from ..promotion.checks import judge
from ..promotion.eligibility import passed_by_itself, what_comes_back
from ..promotion.proposal import Proposal, Refuse
from ..promotion.release import newest_of
from ..promotion.waiting import candidates
from ..rejections import in_words, rejection_of, rejection_on
from ..views import DeploymentView, PolicyView, ServedKeys
from . import memory
from .instead import put_aside

SHA256_DIGITS: Final = 64
HEX_DIGITS: Final = frozenset("0123456789abcdef")

Served = tuple[ModelVersion, Service]
"""A version with what it did on the policy's Deployment."""


def recall(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Take in what versions and runs say and the status does not know (D37, D38, D63, D90, D91)."""
    served = _served(view)
    status = _with_quarantines(view.policy.status, served)
    status = _with_taken_back(status, served)
    on_versions = tuple(_on_versions(view))
    able = {version.spec.artifact.sha256 for version in view.versions}
    status = memory.rejected(status, (*view.rejections, *on_versions), {no.sha256 for no in on_versions}, able)
    status = memory.judged(status, _judged(view))
    status = _with_good(view, status, served)
    return None if status is view.policy.status else put_aside(view, status)


def _served(view: PolicyView) -> tuple[Served, ...]:
    """Return the policy's versions that have a record of its Deployment."""
    name, model = view.policy.spec.deployment, view.policy.spec.model
    records = (
        (version, services(version.metadata.annotations, version.spec.artifact.sha256).get(name))
        for version in view.versions
        if version.spec.model == model
    )
    return tuple((version, service) for version, service in records if service is not None)


def _on_versions(view: PolicyView) -> Iterator[Rejected]:
    """Yield what people rejected of the model, by versions that are there: a no counts whatever the Deployment."""
    ours = (version for version in view.versions if version.spec.model == view.policy.spec.model)
    yield from filter(None, map(rejection_on, ours))


def _judged(view: PolicyView) -> Iterator[Judged]:
    """Yield the policy's runs that were judged: those that are there, and those that versions tell of."""
    yield from view.judged
    yield from judged_by_versions(view.versions, view.policy.metadata.name, view.policy.spec.model)


def _with_quarantines(status: PolicyStatus, served: tuple[Served, ...]) -> PolicyStatus:
    """A lifted quarantine is remembered, too: by whom, and that it was lifted."""
    known = {entry.sha256 for entry in status.quarantined}
    new = {
        version.spec.artifact.sha256: _quarantined(version, service.quarantined, service.lifted)
        for version, service in served
        if service.quarantined is not None and version.spec.artifact.sha256 not in known
    }
    room = limits.QUARANTINED - len(status.quarantined)
    kept = sorted(new.values(), key=lambda entry: entry.since)[-room:] if room > 0 else []
    return replace(status, quarantined=memory.oldest_silent((*kept, *status.quarantined))) if kept else status


def _quarantined(version: ModelVersion, mark: Mark, lifted: Mark | None) -> Quarantined:
    return Quarantined(
        version=version.spec.version,
        sha256=version.spec.artifact.sha256,
        reason=text.reason_or(mark.reason, "Recalled"),
        since=mark.at,
        evidence=text.cut(mark.evidence, limits.EVIDENCE),
        lifted=None
        if lifted is None
        else Lifted(at=lifted.at, by=text.cut(lifted.by, limits.BY), reason=text.cut(lifted.reason, limits.MARK)),
    )


def _with_taken_back(status: PolicyStatus, served: tuple[Served, ...]) -> PolicyStatus:
    """What passed a watch here since, and is live, is taken back no more; its record only does not say so yet."""
    known = {entry.sha256 for entry in status.taken_back}
    if status.live is not None and status.is_good(status.live.sha256):
        known.add(status.live.sha256)
    new = {
        version.spec.artifact.sha256: _taken_back(version, service.taken_back)
        for version, service in served
        if service.taken_back is not None and version.spec.artifact.sha256 not in known
    }
    room = limits.TAKEN_BACK - len(status.taken_back)
    kept = sorted(new.values(), key=lambda entry: entry.since)[-room:] if room > 0 else []
    return replace(status, taken_back=(*kept, *status.taken_back)) if kept else status


def _taken_back(version: ModelVersion, mark: Mark) -> TakenBack:
    return TakenBack(
        version=version.spec.version,
        sha256=version.spec.artifact.sha256,
        by=text.cut(mark.by, limits.BY),
        reason=text.cut(mark.reason, limits.MARK),
        since=mark.at,
    )


def _with_good(view: PolicyView, status: PolicyStatus, served: tuple[Served, ...]) -> PolicyStatus:
    """Only what passed by itself, and only until somebody releases the hold: a record alone makes nothing good.

    A base is verified anew after a restore, and the versions may come after their policy.
    """
    if status.in_flight is not None or (status.remembers and not status.is_lost):
        return status
    here = _of_here(served, view.policy.metadata.namespace)
    # A copy can come before what was good here, as long as the versions come back.
    left = _digests_of_good(served) - _digests_of_good(here)
    good = {
        version.spec.artifact.sha256: (service.good, _as_version(version))
        for version, service in here
        if service.good is not None
        and passed_by_itself(version)
        and not memory.is_quarantined(status, version.spec.artifact.sha256)
        and rejection_of(version.spec.artifact.sha256, view.versions, status) is None
    }
    newest = sorted(good.values(), key=lambda item: item[0], reverse=True)
    known = (v for v in status.last_good if v.sha256 not in good and v.sha256 not in left)
    versions = [*(version for _, version in newest), *known]
    versions.sort(key=lambda version: status.taken_back_of(version.sha256) is not None)
    last_good = tuple(versions[: limits.LAST_GOOD])
    return status if last_good == status.last_good else replace(status, last_good=last_good)


def _of_here(served: tuple[Served, ...], namespace: str) -> tuple[Served, ...]:
    """Return what can say what was good here, without what people copied from another namespace (row D265).

    Where nothing says that it was good in this one, all of it may be a backup that was restored here.
    """
    if all(service.good_in != namespace for _, service in served if service.good is not None):
        return served
    return tuple((version, service) for version, service in served if service.was_good_in(namespace))


def _digests_of_good(served: tuple[Served, ...]) -> set[str]:
    return {version.spec.artifact.sha256 for version, service in served if service.good is not None}


def _as_version(version: ModelVersion) -> LiveVersion:
    spec = version.spec
    return LiveVersion(
        version=spec.version, model_version=version.metadata.name, uri=spec.artifact.uri, sha256=spec.artifact.sha256
    )


def adopt(view: PolicyView) -> Decision[PolicyStatus] | None:
    """A policy without memory (new, or re-created) takes over what is rolled out, and holds (D3, D23, D39, D40)."""
    status, deployment = view.policy.status, view.deployment
    if status.remembers:
        return None
    version = adoptable(view)
    if version is None or deployment is None:
        return _hold_what_served_before(view)
    if not is_rolled_out(deployment):
        return _hold_until_rolled_out(view, deployment, version)
    epoch = max(counted_epoch(deployment), 1)
    adopted = replace(status, live=memory.as_live(version, epoch, view.now), epoch=epoch)
    return _hold_adopted(view, adopted, version)


def explain(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Keep the words of an adoption's hold up to date: what waits for it may change (D41)."""
    status = view.policy.status
    if status.hold is None or status.hold.reason != "Adopted" or status.live is None:
        return None
    held = _hold_adopted(view, status, status.live)
    return None if held.status is status else held


def adoptable(view: PolicyView) -> LiveVersion | None:
    """Return the version that a policy without memory adopts as soon as it is rolled out, if there is one."""
    deployment = view.deployment
    if view.policy.status.remembers or deployment is None or deployment_problem(view) is not None:
        return None
    return _version_by_keys(view, deployment.keys)


def _version_by_keys(view: PolicyView, keys: ServedKeys) -> LiveVersion | None:
    """Return the version that complete and plausible keys name, or None; they may be anybody's text."""
    version, uri, sha256 = keys.version, keys.uri, keys.sha256
    if not version or not uri or not sha256:
        return None
    if not is_version(version) or not is_uri(uri):
        return None  # no promotion could name it, so its hold could not be lifted
    if len(sha256) != SHA256_DIGITS or not HEX_DIGITS.issuperset(sha256):
        return None
    known = (v.metadata.name for v in view.versions if v.spec.version == version and v.spec.artifact.sha256 == sha256)
    name = next(known, model_version_name(view.policy.spec.model, version))
    return LiveVersion(version=version, model_version=name, uri=uri, sha256=sha256)


def _hold(
    view: PolicyView, status: PolicyStatus, reason: str, cause: str, ways: Iterable[str]
) -> Decision[PolicyStatus]:
    """Return the hold; Events tell of it once, not of each change of its words."""
    ways = tuple(ways)
    held = memory.held(
        status, FIELD_MANAGER, reason, "; ".join((cause, *ways)), view.now, newest_of(view.policy, view.promotions)
    )
    old = view.policy.status.hold
    known = old is not None and old.reason == reason
    return Decision(held, () if known else said_whole(reason, cause, ways))


def _hold_what_served_before(view: PolicyView) -> Decision[PolicyStatus] | None:
    """A Deployment without keys, of which records tell, is not new: the first promotion must be somebody's will (D40).

    One whose keys went while they were waited for is not, either.
    """
    status, served = view.policy.status, _served(view)
    if view.rivals or not (served or status.is_lost):
        return None
    if view.deployment is not None and not view.deployment.keys.absent:
        return None
    names = text.listed(sorted(version.spec.version for version, _ in served))
    cause = (
        f"this policy remembers nothing of Deployment '{view.policy.spec.deployment}', on which {names} served before; "
        "nothing goes live until a promotion with releaseHold: true says what"
    )
    return _hold(view, status, "Recalled", cause, (*_instead(view, status, None, most=2), *_then(view, status)))


def _hold_until_rolled_out(
    view: PolicyView, deployment: DeploymentView, version: LiveVersion
) -> Decision[PolicyStatus]:
    status = view.policy.status
    pods = (
        "it is scaled to zero"
        if deployment.replicas == 0
        else f"{deployment.updated} of {deployment.replicas} pods are made of it, {deployment.available} are available"
    )
    cause = (
        f"Deployment '{deployment.name}' names '{version.version}'{_standing(view, status, version)}, but is not "
        f"rolled out: {pods}. It counts as live, and is held, when it is; until then nothing begins"
    )
    ways = (*_letting_it_roll_out(view, deployment), *_instead(view, status, version), *_then(view, status))
    return _hold(view, status, "NotRolledOut", cause, ways)


def _letting_it_roll_out(view: PolicyView, deployment: DeploymentView) -> Iterator[str]:
    """Yield what a person has to do before the rollout can be complete."""
    if deployment.paused:
        yield f"to end its pause: {resuming(view.policy)}"
    if deployment.replicas == 0:
        yield f"to have a pod that proves it: {scaling(view.policy, 1)}"


def _hold_adopted(view: PolicyView, status: PolicyStatus, version: LiveVersion) -> Decision[PolicyStatus]:
    name, policy = version.version, replace(view.policy, status=status)
    cause = (
        f"Deployment '{policy.spec.deployment}' already served '{name}' when this policy first saw it"
        f"{_standing(view, status, version)}"
    )
    against = overruling(status, version.sha256)
    keep = f"to lift the hold and stay with '{name}': {promoting(policy, name, name, release=True, despite=against)}"
    ways = (keep, *_instead(view, status, version), *_letting_go_first(view, policy), *_then(view, status))
    return _hold(view, status, "Adopted", cause, ways)


def _letting_go_first(view: PolicyView, policy: Policy) -> Iterator[str]:
    """Yield what comes before another version, where the keys are those of whoever restored the Deployment, say."""
    if view.deployment is None or written_by_others(view.deployment) is None:
        return
    yield (
        f"its keys belong to {manager_in_words(view.deployment)}; before another version can go live, let go of them "
        f"({what_comes_back(policy, view.versions)}): {letting_go(policy)}"
    )


def _standing(view: PolicyView, status: PolicyStatus, version: LiveVersion) -> str:
    """Return what speaks against a version, in words."""
    quarantined, taken = status.quarantine_of(version.sha256), status.taken_back_of(version.sha256)
    no = rejection_of(version.sha256, view.versions, status)
    if quarantined is not None:
        return f" ({text.quarantined_in_words(quarantined)})"
    if no is not None:
        return f" ({in_words(no, version.version)})"
    return "" if taken is None else f" (taken back by promotion '{taken.by}', {taken.since:%Y-%m-%d %H:%M} UTC)"


def _instead(view: PolicyView, status: PolicyStatus, version: LiveVersion | None, *, most: int = 1) -> Iterator[str]:
    """Yield how to have the newest good versions served, where what is there is not known to be good."""
    rejected = version is not None and rejection_of(version.sha256, view.versions, status) is not None
    if version is not None and status.live is not None and not (rejected or overruling(status, version.sha256)):
        return
    good = [
        entry
        for entry in status.last_good
        if (version is None or entry.sha256 != version.sha256)
        and not overruling(status, entry.sha256)
        and rejection_of(entry.sha256, view.versions, status) is None
    ]
    came_from = None if status.live is None else status.live.version
    deployment = view.deployment
    foreign = deployment is not None and not deployment.keys.absent and written_by_others(deployment) is not None
    first = f"let go of the keys, {letting_go(view.policy)}, and then " if foreign else ""
    for entry in good[:most]:
        command = promoting(view.policy, entry.version, came_from, release=True)
        yield f"to have '{entry.version}' served: {first}{command}"


def _then(view: PolicyView, status: PolicyStatus) -> Iterator[str]:
    """Yield which waiting promotions would act, or go on waiting for something else, without the hold.

    While it is not known what is live, that is every one that only waits for that.
    """
    held = None if status.remembers else Hold(by=FIELD_MANAGER, reason="NotRolledOut", message="", since=view.now)
    assumed = replace(view.policy, status=replace(status, hold=held))
    problem = deployment_problem(view)
    names = [
        f"'{promotion.metadata.name}' ({promotion.spec.from_version or 'nothing'} -> {promotion.spec.version})"
        for promotion in candidates(view.policy, view.promotions)
        if not isinstance(judge(Proposal(promotion, assumed, view.versions, view.deployment, problem)), Refuse)
    ]
    condition = "" if status.remembers else " if what they come from is live then"
    if names:
        yield f"these promotions wait, and go on once the hold is lifted{condition}: {text.listed(names)}"
