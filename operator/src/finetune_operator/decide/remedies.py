"""What messages say of a version that failed or was taken back, and the command that decides otherwise."""

from collections.abc import Sequence

from ..api.names import API_VERSION
from ..api.policy import Policy, Quarantined, TakenBack
from ..api.promotion import Overruled
from ..api.value import canonical_json


def taken_back_in_words(entry: TakenBack, deployment: str) -> str:
    """Return who took a version back from that Deployment, when and why."""
    why = f": {entry.reason}" if entry.reason else ""
    return f"taken back from Deployment {deployment} by promotion '{entry.by}' ({entry.since:%Y-%m-%d %H:%M} UTC){why}"


def quarantined_in_words(entry: Quarantined) -> str:
    """Return why a version was quarantined, and when."""
    return f"quarantined here ({entry.reason}, {entry.since:%Y-%m-%d %H:%M} UTC)"


def promotion_command(
    policy: Policy,
    *,
    version: str,
    came_from: str | None = None,
    release_hold: bool = False,
    despite: Sequence[Overruled] = (),
) -> str:
    """Return the command that asks for a promotion; its reasons are for the person to fill in."""
    spec: dict[str, object] = {"policy": policy.metadata.name, "version": version}
    if came_from is not None:
        spec["from"] = came_from
    if release_hold:
        spec["releaseHold"] = True
    if despite:
        spec["despite"] = {"checks": list(despite), "reason": "WHY"}
    tag = version.replace("_", "-").replace(".", "-")
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "ModelPromotion",
        "metadata": {"generateName": f"{tag}-", "namespace": policy.metadata.namespace},
        "spec": spec,
    }
    return f"echo '{canonical_json(manifest).decode()}' | kubectl create -f -"
