"""Bytes that a run says it made, and that are another version's: no training makes those (rows R99 and R110).

An artifact says which run made it. Nobody is asked about a copy, which would be an approval of what another run was
reviewed for. A no that a person said of it all the same is one to these bytes, under whatever name (R180).
"""

from msgspec.structs import replace

from ...api.model_version import ModelVersion
from ...api.policy_status import PolicyStatus
from ...api.run import RunStatus
from ..commands import run_command, with_remedy
from ..decision import Decision
from .stage import Continue, RunContext
from .status import finish, mark
from .view import RunView


def known_bytes(context: RunContext) -> dict[str, str]:
    """Return what no training makes, name by digest: the base, others' versions, what was live, good or rejected."""
    live, base = context.live, context.run_document.base
    status = context.policy.status if context.policy else PolicyStatus()
    others = (version for version in context.view.versions if not _is_own(context.view, version))
    known = {version.spec.artifact.sha256: version.spec.version for version in others}
    known |= {no.sha256: no.version for no in status.rejected}
    known |= {good.sha256: good.version for good in status.last_good}
    known |= {live.sha256: live.version} if live else {}
    return known | {base.artifact.sha256: base.version}


def end_copy(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """End a run whose candidate another run has recorded meanwhile, before anybody is asked about it (R110)."""
    if status.promotion is not None or not is_copy(context.view, status):
        return Continue(status)
    name = same_bytes(context.view, status)[0].spec.version
    text = (
        f"its candidate is {name}, byte by byte, which it did not record: a training makes its own "
        "bytes, so one of the two is a copy"
    )
    message = with_remedy(text, f"to train: {run_command(context.view.run)}")
    status = mark(context.view, status, "Trained", "False", "ResultInvalid", text)
    return finish(context.view, replace(status, decision=None), "Failed", "ResultInvalid", message)


def is_copy(view: RunView, status: RunStatus) -> bool:
    """Tell whether others recorded the candidate's bytes, and the run neither did nor took them over."""
    same = same_bytes(view, status)
    return status.adopted is None and bool(same) and not any(_is_own(view, version) for version in same)


def same_bytes(view: RunView, status: RunStatus) -> list[ModelVersion]:
    """Return the versions that are byte by byte the run's candidate."""
    candidate = status.candidate
    return [v for v in view.versions if candidate is not None and v.spec.artifact.sha256 == candidate.sha256]


def _is_own(view: RunView, version: ModelVersion) -> bool:
    return version.spec.lineage is not None and version.spec.lineage.run_uid == view.run.metadata.uid
