"""What an earlier run that trained the same on the same samples is worth to another one (rows R20, R59 to R63)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from ...api.meta import ObjectMeta
from ...api.model_version import Lineage, ModelVersion, VersionEvidence
from ...api.policy import Policy
from ...api.record import Service, services
from ..gates.verdict import VERDICTS
from ..rejections import rejection_of

Fate = Literal[
    "Live",
    "Quarantined",
    "TakenBack",
    "RejectedByPerson",
    "WasLive",
    "MayGoLive",
    "RejectedByGates",
    "Expired",
    "AskedAgain",
    "Outdated",
]
"""What an earlier result is worth now. The first five are about the bytes, whatever was measured when."""

_OF_THE_BYTES: Final = frozenset(("Quarantined", "TakenBack", "RejectedByPerson", "WasLive"))
_OF_NOW: Final = frozenset(("RejectedByGates", "Expired", "AskedAgain"))


@dataclass(frozen=True, slots=True)
class Earlier:
    """The record of an earlier run with the same spec and inputs."""

    version: ModelVersion
    lineage: Lineage
    evidence: VersionEvidence

    @property
    def name(self) -> str:
        """Return the version's name."""
        return self.version.spec.version

    @property
    def sha256(self) -> str:
        """Return the digest of its artifact."""
        return self.version.spec.artifact.sha256


def results_of(versions: tuple[ModelVersion, ...], *, spec_hash: str, inputs_hash: str) -> tuple[Earlier, ...]:
    """Return what earlier runs recorded that asked for the same with the same inputs, the newest first."""
    matching = [
        Earlier(version, lineage, evidence)
        for version in versions
        if version.metadata.deletion_timestamp is None
        and (lineage := version.spec.lineage) is not None
        and (evidence := version.spec.evidence) is not None
        and (lineage.spec_hash, lineage.inputs_hash) == (spec_hash, inputs_hash)
    ]
    return tuple(sorted(matching, key=lambda earlier: _number(earlier.name), reverse=True))


def worth(policy: Policy, results: tuple[Earlier, ...], run: ObjectMeta) -> tuple[Fate, Earlier]:
    """Return the earlier result that counts, and what it is worth to `run`; there is one.

    What is live counts first. What people or production said of the bytes counts for every record of them. Then comes
    what may go live as it is, then what was judged against what is live now, and the newest of the rest.
    """
    makers = {earlier.lineage.run for earlier in results}
    fates = [(fate_of(policy, earlier, asks_again=_came_later(run, earlier, makers)), earlier) for earlier in results]
    barred = {earlier.sha256 for fate, earlier in fates if fate in _OF_THE_BYTES}
    open_ = [(fate, earlier) for fate, earlier in fates if earlier.sha256 not in barred]
    return next(
        chain(
            (entry for entry in fates if entry[0] == "Live"),
            (entry for entry in open_ if entry[0] == "MayGoLive"),
            (entry for entry in open_ if entry[0] in _OF_NOW),
            open_,
            (entry for entry in fates if entry[0] in _OF_THE_BYTES),
        )
    )


def fate_of(policy: Policy, earlier: Earlier, *, asks_again: bool) -> Fate:
    """Return what one earlier result is worth now."""
    live, service = policy.status.live, _service(policy, earlier)
    if live is not None and live.sha256 == earlier.sha256:
        return "Live"
    if policy.status.quarantine_of(earlier.sha256) is not None or service.quarantine is not None:
        return "Quarantined"
    if policy.status.taken_back_of(earlier.sha256) is not None or service.taken_back is not None:
        return "TakenBack"
    decision, verdict = earlier.evidence.decision, earlier.evidence.verdict
    if rejection_of(earlier.sha256, (earlier.version,), policy.status) is not None:
        return "RejectedByPerson"
    if _served(policy, earlier, service):
        return "WasLive"
    if verdict == "Review" and decision is None:
        return "AskedAgain" if asks_again else "Expired"
    rejected = verdict in ("Reject", "Error")
    if not is_current(policy, earlier) or not (rejected or _saw_every_gate(earlier)):
        return "Outdated"
    return "RejectedByGates" if rejected else "MayGoLive"


def _saw_every_gate(earlier: Earlier) -> bool:
    """Tell whether every gate that there is now judged it: an earlier release had fewer."""
    return {gate.name for gate in earlier.evidence.gates} >= VERDICTS


def is_current(policy: Policy, earlier: Earlier) -> bool:
    """Tell whether it was measured against what is live now; without a baseline it was measured against its base."""
    live = policy.status.live
    return live is None or earlier.version.spec.was_measured_against(version=live.version, sha256=live.sha256)


def served(policy: Policy, earlier: Earlier) -> bool:
    """Tell whether the version was live before, so that what it was measured against bars it no more."""
    return _served(policy, earlier, _service(policy, earlier))


def _service(policy: Policy, earlier: Earlier) -> Service:
    """Return what the version's own record says of this policy's Deployment: a policy can lose its memory."""
    return _services(earlier).get(policy.spec.deployment, Service())


def _services(earlier: Earlier) -> Mapping[str, Service]:
    return services(earlier.version.metadata.annotations, earlier.sha256)


def _served(policy: Policy, earlier: Earlier, service: Service) -> bool:
    """Tell whether it served here.

    The version's own status knows no Deployment: it says nothing here of a version that another policy made (D51), nor
    where its record names other Deployments.
    """
    status, known = earlier.version.status, _services(earlier)
    somewhere = status.live_since is not None or status.last_live is not None
    is_own = earlier.lineage.policy == policy.metadata.name and (not known or policy.spec.deployment in known)
    here = policy.status.is_good(earlier.sha256) or service.was_good_in(policy.metadata.namespace)
    return here or (somewhere and is_own)


def _came_later(run: ObjectMeta, earlier: Earlier, makers: Collection[str]) -> bool:
    """Tell whether the run was created after the earlier review had ended: only then somebody asks again.

    Times are whole seconds, and a backup brings runs and records back in one of them: then a run of another name asks.
    """
    created, recorded = run.creation_timestamp, earlier.version.metadata.creation_timestamp
    if created is None or recorded is None:
        return False
    return created > recorded or (created == recorded and run.name not in makers)


def _number(version: str) -> tuple[int, ...]:
    """Return (1, 3) for ft_v1.3 and (2,) for base_v2; () for a name of another form."""
    parts = version.removeprefix("ft_v").removeprefix("base_v").split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()
