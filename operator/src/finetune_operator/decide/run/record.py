"""The record of a judgement: a version number, then the immutable ModelVersion (row R24)."""

from msgspec.structs import replace

from ...api.model_version import Lineage, ModelVersion, VersionEvidence, VersionSpec
from ...api.names import model_version_name, series_of
from ...api.policy import Policy
from ...api.run import RunStatus
from ..decision import CreateModelVersion, Decision, ReserveVersion
from ..snapshot import default_seed, inputs_hash, spec_hash
from .grounds import Grounds, grounds_of
from .promote import only_requested
from .stage import Continue, RunContext
from .status import finish, say


def record_version(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Reserve a number and make the ModelVersion, once the judgement stands (R24)."""
    view, policy, grounds = context.view, context.policy, grounds_of(status)
    if grounds is None or (status.promotion is not None and not only_requested(status)):
        return Continue(status)
    version = status.version or (_reserved(policy, context.uid) if policy else None)
    if version is None:
        series = series_of(context.run_document.base.version) or 1
        action = ReserveVersion(policy=view.run.spec.policy, run_uid=context.uid, series=series)
        return Decision(say(status, status.phase or "Evaluating", "reserving a version number"), (action,))
    name = model_version_name(context.run_document.model, version)
    existing = next((v for v in view.versions if v.metadata.name == name), None)
    if existing is not None and not _is_ours(existing, context):
        message = (
            f"ModelVersion {name} is there and is not of this run; delete it if it is nobody's, and make a new run"
        )
        return finish(view, status, "Failed", "NameTaken", message)
    status = replace(status, version=version, model_version=name)
    if existing is not None:
        return Continue(status)
    return Continue(status, (CreateModelVersion(name=name, spec=_version_spec(context, status, grounds, version)),))


def _reserved(policy: Policy, uid: str) -> str | None:
    return next((r.version for r in policy.status.reservations if r.run_uid == uid), None)


def _is_ours(version: ModelVersion, context: RunContext) -> bool:
    return version.spec.lineage is not None and version.spec.lineage.run_uid == context.uid


def _version_spec(context: RunContext, status: RunStatus, grounds: Grounds, version: str) -> VersionSpec:
    """Return the immutable record. It is the same whenever it is made: nothing in it is read from the clock."""
    assert status.verdict is not None
    run, run_document = context.view.run, context.run_document
    return VersionSpec(
        model=run_document.model,
        version=version,
        type="FineTuned",
        artifact=grounds.candidate,
        checkpoint=grounds.checkpoint,
        classes=run_document.classes,
        serving=run_document.serving,
        base=run_document.base.version,
        lineage=Lineage(
            run=run.metadata.name,
            run_uid=context.uid,
            policy=run.spec.policy,
            base_sha256=run_document.base.artifact.sha256,
            inputs=grounds.inputs.plan,
            spec_hash=spec_hash(run_document, run),
            inputs_hash=inputs_hash(grounds.inputs, run_document),
            pool=grounds.inputs.pool,
            seed=run_document.mixing.seed if run_document.mixing else default_seed(context.uid),
            created_at=status.started_at or context.view.now,
        ),
        evidence=VersionEvidence(
            digest=grounds.evidence.digest,
            verdict=status.verdict,
            gates=status.gates,
            figures=grounds.figures,
            uri=grounds.evidence.uri,
            baseline=grounds.evidence.live,
            decision=status.decision,
        ),
    )
