"""What a run is recorded as: the spec of its ModelVersion, and whether the API server will take it."""

from ...api.model_version import Lineage, VersionEvidence, VersionSpec
from ...api.names import base_version, series_of, tuned_version
from ...api.run import RunStatus
from ...api.schema import misfit
from ..snapshot import default_seed, inputs_hash, spec_hash
from .grounds import Grounds, grounds_of
from .stage import RunContext


def unwritable(context: RunContext, status: RunStatus) -> str | None:
    """Return why a status of the run, or the record that is to be made of it, cannot be written; None: they can."""
    wrong = misfit("FineTuneRun", "status", status)
    grounds = grounds_of(status)
    if wrong is not None:
        return wrong
    if grounds is None or status.verdict in (None, "Error"):
        return misfit("ModelVersion", "spec.artifact", status.candidate) if status.candidate else None
    series = series_of(context.run_document.base.version) or 1
    number = base_version(series + 1) if context.view.run.spec.rebuilds else tuned_version(series, 1)
    return misfit("ModelVersion", "spec", version_spec(context, status, grounds, number))


def version_spec(context: RunContext, status: RunStatus, grounds: Grounds, version: str) -> VersionSpec:
    """Return the immutable record. It is the same whenever it is made: nothing in it is read from the clock."""
    assert status.verdict is not None
    run, run_document = context.view.run, context.run_document
    rebuilds = run.spec.rebuilds
    # A candidate that was taken over was trained by the earlier run's plan and seed.
    plan = status.adopted.plan if status.adopted else grounds.inputs.plan
    return VersionSpec(
        model=run_document.model,
        version=version,
        type="Base" if rebuilds else "FineTuned",
        artifact=grounds.candidate,
        checkpoint=grounds.checkpoint,
        classes=run_document.classes,
        serving=run_document.serving,
        base=run_document.base.version,
        # What a base was trained on is what its fine-tunes draw their old pages from, and count from.
        inputs=plan if rebuilds else None,
        lineage=Lineage(
            run=run.metadata.name,
            run_uid=context.uid,
            policy=run.spec.policy,
            base_sha256=run_document.base.artifact.sha256,
            inputs=plan,
            spec_hash=spec_hash(run_document, run),
            inputs_hash=inputs_hash(grounds.inputs, run_document),
            pool=grounds.inputs.pool,
            outside=grounds.inputs.outside if rebuilds else None,
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
            test_set=grounds.evidence.test_set,
            decision=status.decision,
        ),
    )


def _seed(context: RunContext) -> int:
    mixing = context.run_document.mixing
    return mixing.seed if mixing is not None else default_seed(context.uid)
