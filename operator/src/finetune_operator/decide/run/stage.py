"""What the stages of a run share: the context before them, and how they pass it on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ...api.meta import FileReference
from ...api.model_version import ModelVersion
from ...api.names import snapshot_name
from ...api.policy import LONGEST_REBUILD, Policy
from ...api.policy_status import LiveVersion
from ...api.run import RunStatus
from ...api.run_document import RunDocument
from ..attempts.step import AttemptsView
from ..decision import Action, Decision
from ..times import span
from ..views import Explanation
from .view import RunView


@dataclass(frozen=True, slots=True)
class RunContext:
    """A run whose snapshot is in place. The policy is looked at only for what is live, held or manual now."""

    view: RunView
    run_document: RunDocument

    @property
    def uid(self) -> str:
        """The run's uid: what every child and every hash is made from."""
        return self.view.run.metadata.uid

    @property
    def policy(self) -> Policy | None:
        """The policy, unless it is gone or going."""
        policy = self.view.policy
        return None if policy is None or policy.metadata.deletion_timestamp is not None else policy

    @property
    def live(self) -> LiveVersion | None:
        """What is live now, if anything is and the policy is there to say so."""
        return self.policy.status.live if self.policy else None


@dataclass(frozen=True, slots=True)
class Continue:
    """Nothing to wait for: the next stage goes on with this status, and these actions are to be taken."""

    status: RunStatus
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A version as Jobs are told of it; `fields` is how many classes it has by its record, None where there is none."""

    version: str
    artifact: FileReference
    inputs: FileReference | None
    fields: int | None = None


Stage = Callable[[RunContext, RunStatus], Continue | Decision[RunStatus]]


def attempts_view(context: RunContext, status: RunStatus) -> AttemptsView:
    """Return what the attempt engine needs to know of a run."""
    run = context.view.run
    return AttemptsView(
        owner=run.metadata.name,
        uid=run.metadata.uid,
        snapshot=status.snapshot or snapshot_name(run.metadata.name, run.metadata.uid),
        attempts=status.attempts,
        jobs=context.view.jobs,
        now=context.view.now,
        backoff_limit=run.spec.backoff_limit,
        deadline=deadline_of(context),
        suspended=suspended(context.view),
        observed=context.view.observed,
        nonce=context.view.nonce,
        fingerprint=context.view.fingerprint,
        snapshot_sha256=status.snapshot_sha256,
    )


def deadline_of(context: RunContext) -> timedelta:
    """Return how long a step may run: what the run says, else a day, and for a rebuild what its policy says.

    What a policy said that is gone nobody knows: the most that any may (R264).
    """
    policy = context.policy
    rebuild = LONGEST_REBUILD if policy is None else policy.spec.rebuild_rules.active_deadline_seconds
    return span(context.view.run.spec.deadline_seconds(rebuild))


def suspended(view: RunView) -> Explanation | None:
    """Return who suspended the run, and how it goes on."""
    if view.run.spec.suspend:
        return Explanation("Suspended", "suspended by spec.suspend of the run; set it to false to go on")
    if view.policy is not None and view.policy.spec.suspend:
        name = view.policy.metadata.name
        return Explanation(
            "PolicySuspended", f"suspended by spec.suspend of FineTunePolicy {name}; set it to false to go on"
        )
    return None


def model_reference(context: RunContext, sha256: str | None) -> ModelReference | None:
    """Return the version with that digest: the live one first, since digests can have more than one name."""
    if sha256 is None:
        return None
    versions = {v.spec.version: v for v in context.view.versions if v.spec.artifact.sha256 == sha256}
    status = context.policy.status if context.policy else None
    served = [v for v in (status.live, *status.last_good) if v and v.sha256 == sha256] if status else []
    if served:
        named = versions.get(served[0].version)
        artifact = FileReference(uri=served[0].uri, sha256=sha256)
        if named is None:
            return ModelReference(served[0].version, artifact, None)
        return ModelReference(served[0].version, artifact, _inputs(named), len(named.spec.classes))
    for name, version in sorted(versions.items()):
        artifact = FileReference(uri=version.spec.artifact.uri, sha256=sha256)
        return ModelReference(name, artifact, _inputs(version), len(version.spec.classes))
    return None


def _inputs(version: ModelVersion) -> FileReference | None:
    """Return the plan that the version was trained by."""
    if version.spec.inputs is not None:
        return version.spec.inputs
    return version.spec.lineage.inputs if version.spec.lineage else None
