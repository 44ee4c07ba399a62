"""The record of a judgement: a version number, then the immutable ModelVersion (row R24)."""

from msgspec.structs import replace

from ...api.model_version import Lineage, ModelVersion, VersionEvidence, VersionSpec
from ...api.names import model_version_name, series_of
from ...api.policy import Policy
from ...api.run import RunStatus
from ..decision import CreateModelVersion, Decision, ReserveVersion
from ..snapshot import default_seed, inputs_hash, spec_hash
from .adopt import owes_its_evidence
from .again import measure_again
from .grounds import Grounds, grounds_of
from .promote import only_requested
from .stage import Continue, RunContext
from .status import say


def record_version(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Reserve a number and make the ModelVersion, once the judgement stands (R24, R66)."""
    view, policy, grounds = context.view, context.policy, grounds_of(status)
    if grounds is None or (status.promotion is not None and not only_requested(status)):
        return Continue(status)
    version = status.version or (_reserved(policy, context.uid) if policy else None)
    if version is None:
        return _reserve(context, status, None)
    name = model_version_name(context.run_document.model, version)
    existing = next((v for v in view.versions if v.metadata.name == name), None)
    if existing is not None and not _records(existing, grounds):
        # Somebody else's, or this run's own of an earlier round: a number names one judgement for good.
        return _reserve(context, replace(status, version=None, model_version=None, promotion=None), version)
    if existing is None and owes_its_evidence(status):
        return measure_again(context, status, grounds.inputs.pool)
    status = replace(status, version=version, model_version=name)
    if existing is not None:
        return Continue(status)
    return Continue(status, (CreateModelVersion(name=name, spec=_version_spec(context, status, grounds, version)),))


def _reserve(context: RunContext, status: RunStatus, instead_of: str | None) -> Decision[RunStatus]:
    action = ReserveVersion(
        policy=context.view.run.spec.policy,
        run_uid=context.uid,
        series=series_of(context.run_document.base.version) or 1,
        instead_of=instead_of,
    )
    words = f"reserving a version number; {instead_of} is another one's" if instead_of else "reserving a version number"
    return Decision(say(status, status.phase or "Evaluating", words), (action,))


def _reserved(policy: Policy, uid: str) -> str | None:
    return next((r.version for r in policy.status.reservations if r.run_uid == uid), None)


def _records(version: ModelVersion, grounds: Grounds) -> bool:
    """Tell whether the version is the record of this judgement: evidence is bound to its run and its round."""
    return version.spec.evidence is not None and version.spec.evidence.digest == grounds.evidence.digest


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
            # A candidate that was taken over was trained by the earlier run's plan and seed.
            inputs=status.adopted.plan if status.adopted else grounds.inputs.plan,
            spec_hash=spec_hash(run_document, run),
            inputs_hash=inputs_hash(grounds.inputs, run_document),
            pool=grounds.inputs.pool,
            seed=status.adopted.seed if status.adopted else _seed(context),
            created_at=status.started_at or context.view.now,
        ),
        evidence=VersionEvidence(
            digest=grounds.evidence.digest,
            verdict=status.verdict,
            gates=status.gates,
            figures=grounds.figures,
            uri=grounds.evidence.uri,
            baseline=grounds.evidence.live,
            baseline_sha256=grounds.evidence.live_sha256,
            decision=status.decision,
        ),
    )


def _seed(context: RunContext) -> int:
    mixing = context.run_document.mixing
    return mixing.seed if mixing is not None else default_seed(context.uid)
