"""Commands that messages carry whole: whoever reads one can run it as it stands."""

import json
from typing import Final

from ..api.names import API_VERSION, ARTIFACT_SHA256_KEY, ARTIFACT_URI_KEY, EPOCH_KEY, MODEL_VERSION_KEY
from ..api.policy import Policy, PolicyStatus
from ..api.promotion import Approval, Overruled
from .decision import Emit
from .limits import EVENT
from .text import in_bytes

_KEYS: Final = (MODEL_VERSION_KEY, ARTIFACT_URI_KEY, ARTIFACT_SHA256_KEY)


def letting_go(policy: Policy) -> str:
    """Return the command that takes the four keys from whoever owns them, so that the operator can write again."""
    keys = ",".join(f'"{key}":null' for key in _KEYS)
    patch = (
        f'{{"metadata":{{"annotations":{{"{EPOCH_KEY}":null}}}},'
        f'"spec":{{"template":{{"metadata":{{"annotations":{{{keys}}}}}}}}}}}'
    )
    namespace = policy.metadata.namespace
    return f"kubectl patch deployment {policy.spec.deployment} -n {namespace} --type=merge -p '{patch}'"


def resuming(policy: Policy) -> str:
    """Return the command that lets a paused Deployment roll out again."""
    return f"kubectl rollout resume deployment {policy.spec.deployment} -n {policy.metadata.namespace}"


def scaling(policy: Policy, replicas: int) -> str:
    """Return the command that scales the Deployment."""
    name, namespace = policy.spec.deployment, policy.metadata.namespace
    return f"kubectl scale deployment {name} -n {namespace} --replicas={replicas}"


def promoting(
    policy: Policy,
    version: str,
    came_from: str | None,
    *,
    release: bool = False,
    despite: tuple[Overruled, ...] = (),
    approval: Approval | None = None,
) -> str:
    """Return the command that makes a ModelPromotion of `version` from `came_from`; the CRD takes it as it is."""
    spec: dict[str, object] = {"policy": policy.metadata.name, "version": version}
    if came_from is not None:
        spec["from"] = came_from
    if release or version == came_from:
        spec["releaseHold"] = True
    if despite:
        spec["despite"] = {"checks": list(despite), "reason": "WHY"}
    if approval is not None:
        spec["approval"] = {"by": approval.by, "evidence": approval.evidence}
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "ModelPromotion",
        "metadata": {"generateName": "by-hand-", "namespace": policy.metadata.namespace},
        "spec": spec,
    }
    text = json.dumps(manifest, separators=(",", ":")).replace("'", "\\u0027")
    return f"echo '{text}' | kubectl create -f -"


def overruling(status: PolicyStatus, sha256: str) -> tuple[Overruled, ...]:
    """Return the checks that a promotion of those bytes has to overrule, by what they did here."""
    quarantined, taken = status.quarantine_of(sha256), status.taken_back_of(sha256)
    return (
        *(("Quarantined",) if quarantined is not None else ()),
        *(("TakenBack",) if taken is not None else ()),
    )


def releasing(policy: Policy) -> str | None:
    """Return the command that lifts the hold and changes nothing else; None while nothing is live."""
    live = policy.status.live
    if live is None:
        return None
    return promoting(policy, live.version, live.version, release=True, despite=overruling(policy.status, live.sha256))


def said_whole(kind: str, cause: str, ways: tuple[str, ...]) -> tuple[Emit, ...]:
    """Return the Warning Events of a cause and the ways out: one, or one for each way where a note is too short."""
    whole = "; ".join((cause, *ways))
    texts = (whole,) if len(whole.encode()) <= EVENT else tuple(f"{in_bytes(cause, EVENT // 4)}; {way}" for way in ways)
    return tuple(Emit("Warning", kind, text) for text in texts)
