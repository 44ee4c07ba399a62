"""What becomes of a judgement when something else went live: measured again, or void (R23, R64, R65, R225, R252)."""

from typing import Final

from msgspec.structs import replace

from ...api.policy_status import LiveVersion
from ...api.run import RunStatus
from .. import limits
from ..commands import run_command, with_remedy
from ..decision import Decision
from ..snapshot import default_seed
from .grounds import Grounds
from .stage import Continue, RunContext
from .status import current_round, finish, mark
from .work import MAX_ROUNDS, evaluate

_CHANGED: Final = "LiveChanged"


def is_current(context: RunContext, grounds: Grounds) -> bool:
    """Tell whether the verdict was measured against what is live now."""
    live = context.live
    return (live.sha256 if live else None) == grounds.evidence.live_sha256


def measure_again(context: RunContext, status: RunStatus, ever: int) -> Continue | Decision[RunStatus]:
    """Give way to what was trained on more; else measure against what is live now, as long as rounds are left.

    `ever` is how many pages the pool had when the run drew its mix, with those that were withdrawn by then (R154).
    Where none is left, the chain goes on, so that the candidate is recorded before the run ends (`end_outrun`).
    """
    view, live = context.view, context.live
    itself = itself_live(context, status)
    if itself is not None:
        return end_as_live(context, status, itself)
    larger = _pool_of(context, live.sha256) if live is not None else 0
    if live is not None and larger > ever and not _is_to_be_replaced(context, live.sha256):
        message = (
            f"{live.version}, which went live meanwhile, was trained on {larger} samples of the same pool, which had "
            f"{ever} when this run drew its mix"
        )
        status = mark(view, status, "GatesPassed", "Unknown", _CHANGED, message)
        remedy = f"a new run trains on the pool as it is now: {run_command(view.run)}"
        return finish(view, status, "Superseded", "NewerPoolIsLive", with_remedy(message, remedy))
    if is_outrun(status):
        return Continue(status)
    against = status.evidence.live if status.evidence is not None else None
    message = (
        f"{live.version if live else 'nothing'} is live now, {against or 'nothing'} was when this was measured: "
        "measuring again"
    )
    return evaluate(context, _voided(context, status, message))


def itself_live(context: RunContext, status: RunStatus) -> LiveVersion | None:
    """Return what is live if that is the candidate, byte by byte."""
    live, candidate = context.live, status.candidate
    return live if live is not None and candidate is not None and live.sha256 == candidate.sha256 else None


def end_as_live(context: RunContext, status: RunStatus, live: LiveVersion) -> Decision[RunStatus]:
    """End a run whose candidate went live by another record: nothing is left to do (R252)."""
    status = replace(status, version=live.version, model_version=live.model_version)
    message = f"its candidate is {live.version}, byte by byte, which went live meanwhile, so nothing is left to do"
    again = run_command(context.view.run, seed=default_seed(context.uid))
    message = with_remedy(message, f"to train anew with another seed: {again}")
    return finish(context.view, status, "Adopted", "SameSpecAndInputs", message)


def is_outrun(status: RunStatus) -> bool:
    """Tell whether no round is left in which the candidate could be measured again."""
    return current_round(status) > MAX_ROUNDS


def end_outrun(context: RunContext, status: RunStatus) -> Decision[RunStatus]:
    """End a run whose every round was overtaken; its candidate is recorded, so that nobody has to train it again."""
    message = f"what is live changed during each of {MAX_ROUNDS} evaluations"
    remedy = f"to measure {status.version} against what is live then, without training: {run_command(context.view.run)}"
    return finish(context.view, status, "Failed", "LiveKeepsChanging", with_remedy(message, remedy))


def _voided(context: RunContext, status: RunStatus, message: str) -> RunStatus:
    for kind in ("GatesPassed", "Evaluated", "Promoted"):
        status = mark(context.view, status, kind, "Unknown", _CHANGED, message)
    void = () if status.evidence is None else (status.evidence.digest,)
    return replace(
        status,
        earlier_evidence=(*status.earlier_evidence, *void)[-limits.EARLIER_EVIDENCE :],
        verdict=None,
        gates=(),
        figures=(),
        measurements=None,
        evidence=None,
        decision=None,
        review_since=None,
        review_seconds=0,
        review_seen_at=None,
        version=None,
        model_version=None,
        promotion=None,
        adopted=replace(status.adopted, evidence=None) if status.adopted is not None else None,
    )


def _is_to_be_replaced(context: RunContext, sha256: str) -> bool:
    """Tell whether those bytes are a fine-tune of the old base, and the run makes the new one (R225).

    Fine-tunes go live while a rebuild trains for days or waits for a person, each with some pages more. The gates say
    whether the new base is worth as much; its training is not thrown away for these pages.
    """
    base = context.run_document.base.artifact.sha256
    return context.view.run.spec.rebuilds and any(
        version.spec.type == "FineTuned"
        and version.spec.lineage is not None
        and version.spec.lineage.base_sha256 == base
        for version in context.view.versions
        if version.spec.artifact.sha256 == sha256
    )


def _pool_of(context: RunContext, sha256: str) -> int:
    """Return how many samples of the run's own pool the version of that digest was trained from; 0 for a base.

    A pool only grows, but for pages that are withdrawn: one with more samples than there ever were when this run drew
    its mix is a later one. Of another policy's pool nothing is known.
    """
    lineages = (v.spec.lineage for v in context.view.versions if v.spec.artifact.sha256 == sha256)
    policy = context.view.run.spec.policy
    return max((lineage.pool for lineage in lineages if lineage and lineage.policy == policy), default=0)
