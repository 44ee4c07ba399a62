"""What a rebuild may start from: weights that nothing of ours is in."""

from collections.abc import Iterable

from ..api.model_version import ModelVersion
from ..api.policy import Policy
from .views import Problem


def unfit_start(policy: Policy, versions: Iterable[ModelVersion]) -> Problem | None:
    """Return that the checkpoint which the policy's rebuilds start from is that of a version, or None.

    A base from one of ours would be a fine-tune under another name: what the old base had learned wrong stays in it.
    """
    start = policy.spec.rebuild_rules.start
    if start is None:
        return None
    same = (v for v in versions if start.sha256 in (v.spec.checkpoint.sha256, v.spec.artifact.sha256))
    version = next(same, None)
    if version is None:
        return None
    text = (
        f"spec.rebuild.start of FineTunePolicy {policy.metadata.name!r} has the bytes of {version.spec.version}, and a "
        "new base starts from none of our versions; name another checkpoint, or none for random weights, and make a "
        "new run"
    )
    return Problem("StartIsAVersion", text)
