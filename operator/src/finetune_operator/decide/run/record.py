"""The record of a judgement: a version number, then the immutable ModelVersion (row R24)."""

from msgspec.structs import replace

from ...api.model_version import ModelVersion
from ...api.names import model_version_name, series_of
from ...api.policy import Policy
from ...api.run import RunStatus
from ..decision import CreateModelVersion, Decision, ReserveVersion
from .adopt import owes_its_evidence
from .again import measure_again
from .grounds import Grounds, grounds_of
from .promote import only_requested
from .stage import Continue, RunContext
from .status import say
from .version_spec import version_spec


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
        return measure_again(context, status, grounds.inputs.ever)
    status = replace(status, version=version, model_version=name)
    if existing is not None:
        return Continue(status)
    return Continue(status, (CreateModelVersion(name=name, spec=version_spec(context, status, grounds, version)),))


def _reserve(context: RunContext, status: RunStatus, instead_of: str | None) -> Decision[RunStatus]:
    action = ReserveVersion(
        policy=context.view.run.spec.policy,
        run_uid=context.uid,
        series=None if context.view.run.spec.rebuilds else series_of(context.run_document.base.version) or 1,
        instead_of=instead_of,
    )
    words = f"reserving a version number; {instead_of} is another one's" if instead_of else "reserving a version number"
    return Decision(say(status, status.phase or "Evaluating", words), (action,))


def _reserved(policy: Policy, uid: str) -> str | None:
    return next((r.version for r in policy.status.reservations if r.run_uid == uid), None)


def _records(version: ModelVersion, grounds: Grounds) -> bool:
    """Tell whether the version is the record of this judgement: evidence is bound to its run and its round."""
    return version.spec.evidence is not None and version.spec.evidence.digest == grounds.evidence.digest
