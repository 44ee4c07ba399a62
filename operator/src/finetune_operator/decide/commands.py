"""Commands that messages carry whole: whoever reads one can run it as it stands."""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ..api.names import API_VERSION, ARTIFACT_SHA256_KEY, ARTIFACT_URI_KEY, EPOCH_KEY, MODEL_VERSION_KEY
from ..api.policy import Policy
from ..api.policy_status import PolicyStatus
from ..api.promotion import Approval, Overruled
from ..api.run import Run
from .decision import Emit
from .limits import EVENT, MESSAGE
from .text import in_bytes

_KEYS: Final = (MODEL_VERSION_KEY, ARTIFACT_URI_KEY, ARTIFACT_SHA256_KEY)

_LONGEST: Final = 500
"""Characters of a command in a message, which has room for little more."""

_LONGEST_NAME: Final = 34
"""A run's name has at most 40 characters, and the API server adds six."""


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


def suspending(run: str, namespace: str) -> str:
    """Return the command that suspends a run: its Job goes, and with it its place."""
    return f"""kubectl patch finetunerun {run} -n {namespace} --type=merge -p '{{"spec":{{"suspend":true}}}}'"""


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
    return _creating(manifest)


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


def run_command(run: Run, *, seed: int | None = None) -> str:
    """Return the command that asks for the same as `run` once more; with another seed it trains anew."""
    mixing = run.spec.mixing if seed is None else replace(run.spec.mixing, seed=seed)
    spec = _said(replace(run.spec, mixing=mixing, review=None, suspend=False))
    head = run.metadata.name[:_LONGEST_NAME].rstrip("-.")
    metadata = {"generateName": f"{head}-", "namespace": run.metadata.namespace}
    manifest = {"apiVersion": API_VERSION, "kind": "FineTuneRun", "metadata": metadata, "spec": spec}
    command = _creating(manifest)
    if len(command) <= _LONGEST:
        return command
    more = f" and spec.mixing.seed: {seed}" if seed is not None else ""
    where = f"kubectl -n {run.metadata.namespace} get finetunerun {run.metadata.name} -o yaml"
    return f"create a run with the spec that `{where}` shows, another metadata.name{more}"


def with_remedy(text: str, remedy: str) -> str:
    """Return both within the bounds of a message; it is never the remedy that is cut."""
    room = MESSAGE - len(remedy) - 2
    return f"{text[: max(room, 0)].removesuffix('.')}; {remedy}"[:MESSAGE]


def said_whole(kind: str, cause: str, ways: tuple[str, ...]) -> tuple[Emit, ...]:
    """Return the Warning Events of a cause and the ways out: one, or one for each way where a note is too short."""
    whole = "; ".join((cause, *ways))
    texts = (whole,) if len(whole.encode()) <= EVENT else tuple(f"{in_bytes(cause, EVENT // 4)}; {way}" for way in ways)
    return tuple(Emit("Warning", kind, text) for text in texts)


def in_events(message: str) -> tuple[str, ...]:
    """Return a message as Events say it: one, or one for each command where a note is too short for all of them."""
    if len(message.encode()) <= EVENT:
        return (message,)
    cause, *parts = message.split("; ")
    ways = [part for part in parts if "kubectl " in part]
    rooms = ((way, EVENT - len(way.encode()) - len("; ")) for way in ways)
    fitting = tuple(f"{in_bytes(cause, min(room, EVENT // 4))}; {way}" for way, room in rooms if room >= 0)
    return fitting or (in_bytes(message, EVENT),)


def _creating(manifest: Mapping[str, Any]) -> str:
    """Return the command that creates an object; no text of anybody's ends its quotes."""
    text = json.dumps(manifest, ensure_ascii=False, separators=(",", ":"), default=str).replace("'", "\\u0027")
    return f"echo '{text}' | kubectl create -f -"


def _said(value: msgspec.Struct) -> dict[str, Any]:
    """Return what differs from the defaults, which the API server writes into what it stores."""
    said: dict[str, Any] = {}
    for field in msgspec.structs.fields(value):
        member = getattr(value, field.name)
        inner = _said(member) if isinstance(member, msgspec.Struct) else member
        if field.required or (member != field.default and inner != {}):
            said[field.encode_name] = inner
    return said
