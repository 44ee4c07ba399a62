"""What `prepare` is told of judged runs, and how it is said what it drew (rows R150 to R153)."""

from collections.abc import Iterator

from ...api.meta import FileReference
from ...api.policy_status import Judged
from ...api.run import Attempt, Inputs
from ..judgements import judged_by_versions, newest
from .stage import RunContext


def plans_of_judged(context: RunContext) -> tuple[str, ...]:
    """Return the digests of the plans of the newest judged runs of the policy, oldest first, each once.

    Not only of those that the policy remembers: a run begins as soon as another one is judged, and the policy may look
    later.
    """
    remembered = context.policy.status.judged if context.policy else ()
    return tuple(dict.fromkeys(entry.inputs.sha256 for entry in newest(remembered, _there(context))))


def told_plans(context: RunContext, attempt: Attempt) -> list[FileReference]:
    """Return the plans that the attempt was planned with, whatever was judged since."""
    remembered = context.policy.status.judged if context.policy else ()
    known = {entry.inputs.sha256: entry.inputs for entry in (*_there(context), *remembered)}
    return [known[sha256] for sha256 in attempt.judged if sha256 in known]


def drawn_in_words(inputs: Inputs, *, rebuilds: bool) -> str:
    """Return what the run trains on, in the words of the glossary."""
    corrected = f", {inputs.corrected} of them corrected" if inputs.corrected else ""
    withdrawn = f", {inputs.withdrawn} withdrawn before" if inputs.withdrawn else ""
    drawn = "that the base knows" if rebuilds else f"old ones, ratio {inputs.ratio}"
    return (
        f"{inputs.pool} samples in the pool: {inputs.new} new{corrected}, {inputs.fresh} fresh, {inputs.held_out} held "
        f"out{withdrawn}; training on {'all ' if rebuilds else ''}{inputs.train}: {inputs.outside} outside the base "
        f"and {inputs.old} {drawn}"
    )


def _there(context: RunContext) -> Iterator[Judged]:
    """Yield what runs and versions that are there tell."""
    yield from context.view.judged
    yield from judged_by_versions(context.view.versions, context.view.run.spec.policy, context.run_document.model)
