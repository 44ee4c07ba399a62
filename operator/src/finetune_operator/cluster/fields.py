"""What the table of kinds reads of plain objects; total over whatever an API server may hold."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from ..api import names
from ..api.run import BY_GATES, FINAL_PHASES
from ..decide.judgements import VERDICTS
from ..decide.promotion.proposal import VERSION_NOT_FOUND

Json = Mapping[str, Any]


def at(*path: str) -> Callable[[Json], Iterable[object]]:
    """Return a function that yields the value at that path of an object, if there is one."""
    return lambda obj: (_value(obj, *path),)


def phase(obj: Json) -> str:
    """Return the phase that the status shows, or ""."""
    return str(_value(obj, "status", "phase") or "")


def since(obj: Json) -> str:
    """Return since when the object is as its status says, else since when it is there."""
    return str(_value(obj, "status", "since") or _value(obj, "metadata", "creationTimestamp") or "")


def run_since(run: Json) -> str:
    """Return the same of a run; a review waits since it was asked for, whatever was said in it meanwhile."""
    asked = _value(run, "status", "reviewSince") if phase(run) == "InReview" else None
    return str(asked or since(run))


def no_phase(_: Json) -> str:
    """Return "": objects of this kind have no phase that anybody looks at."""
    return ""


def nothing(_: Json) -> Hashable:
    """Return None: nobody compares objects of this kind."""
    return None


def job_phase(job: Json) -> str:
    """Return whether the Job is Finished or Active."""
    conditions = _items(job, "status", "conditions")
    finished = any(c.get("type") in {"Complete", "Failed"} and c.get("status") == "True" for c in conditions)
    return "Finished" if finished else "Active"


def finished_of(job: Json) -> Iterable[object]:
    """Return the policy of a Job that has finished; of one that has not, nothing, nor of a scan."""
    return (
        ()
        if _is_scan(job) or job_phase(job) != "Finished"
        else (_value(job, "metadata", "labels", names.POLICY_LABEL),)
    )


def finished_scan_of(job: Json) -> Iterable[object]:
    """Return the policy of a scan that has finished."""
    return (
        (_value(job, "metadata", "labels", names.POLICY_LABEL),)
        if _is_scan(job) and job_phase(job) == "Finished"
        else ()
    )


def _is_scan(job: Json) -> bool:
    return bool(_value(job, "metadata", "labels", names.STEP_LABEL) == "scan")


def past(phases: Iterable[str]) -> Callable[[Json], Iterable[object]]:
    """Return a function that yields "true" for an object that has left those phases behind, and is in another."""
    first = frozenset(phases)
    return lambda obj: () if phase(obj) in first else ("true",)


def templates(policy: Json) -> Iterable[object]:
    """Return the names of the PodTemplates that a policy names, each once."""
    named = _value(policy, "spec", "podTemplates")
    return sorted({str(name) for name in named.values()}) if isinstance(named, Mapping) else ()


def promotion_digest(promotion: Json) -> Hashable:
    """Return what the run that asked for it looks at: its phase, why it waits, and whether somebody deleted it."""
    accepted: Json = next((c for c in _items(promotion, "status", "conditions") if c.get("type") == "Accepted"), {})
    return phase(promotion), accepted.get("status"), accepted.get("reason"), _is_going(promotion)


def policy_digest(policy: Json) -> Hashable:
    """Return what runs and versions look at: rules, readiness, what is live, the hold, the verdicts."""
    ready: Json = next((c for c in _items(policy, "status", "conditions") if c.get("type") == "Ready"), {})
    return (
        _value(policy, "metadata", "generation"),
        _value(policy, "status", "observedGeneration"),
        ready.get("status"),
        ready.get("message"),
        (_value(policy, "status", "live", "version"), _value(policy, "status", "live", "sha256")),
        _value(policy, "status", "hold", "since"),
        tuple((entry.get("sha256"), "lifted" in entry) for entry in _items(policy, "status", "quarantined")),
        tuple(entry.get("sha256") for entry in _items(policy, "status", "takenBack")),
        tuple(entry.get("sha256") for entry in _items(policy, "status", "rejected")),
    )


def version_digest(version: Json) -> Hashable:
    """Return what policies, promotions and runs look at: the phase, whether it is verified or deleted, its record."""
    verified: Json = next((c for c in _items(version, "status", "conditions") if c.get("type") == "Verified"), {})
    return (
        phase(version),
        verified.get("status"),
        _value(version, "metadata", "annotations", names.SERVICE_RECORD_KEY),
        _is_going(version),
    )


def _is_going(obj: Json) -> bool:
    """Tell whether it was deleted, and somebody's finalizer keeps it: it counts as gone."""
    return _value(obj, "metadata", "deletionTimestamp") is not None


class Standing(NamedTuple):
    """What other runs look at: where a run stands in its policy's queue, how far it is; the oldest is the smallest."""

    created: str
    rank: int
    """From 4: has a place, waits for one, is blocked like every run of the policy, nobody looked yet, needs none."""
    drawn: tuple[str, str] = ("", "")
    """Digests of pool and anchor that it drew its mix from; empty before that."""
    is_past: bool = False
    """It trains, or has a candidate."""
    is_over: bool = False
    is_put_off: bool = False
    """A person suspended it, or what it is to promote has no object: nobody knows until when."""
    changes_live: bool = False
    """It waits for its promotion, or is being measured again for one."""
    lines_up: bool = False
    """It waits for what others change, to be measured again."""
    phase: str = ""
    rejected: tuple[str, ...] = ()
    """Digest, by whom, when and as which version, where a person rejected what it made."""
    judged: tuple[str, ...] = ()
    """Uid, URI and digest of its plan, and when, where it reached a verdict of its gates, whatever came after."""
    fired: tuple[str, ...] = ()
    """Uid, and which trigger made it, where none but a person did not."""
    stuck: tuple[str, str] = ("", "")
    """What its step gets no further for, as its condition says, and since when; empty where it goes on."""
    model: str = ""
    """That of its document; empty before it has one."""


TAKEN, WAITING, BLOCKED, NEW, NONE = 4, 3, 2, 1, 0
_STEPS = frozenset(("Prepared", "Trained", "Evaluated"))
_RANKS = {"Taken": TAKEN, "Waiting": WAITING, "Blocked": BLOCKED}


def standing(run: Json) -> Standing:
    """Return what other runs look at."""
    created = str(_value(run, "metadata", "creationTimestamp") or "")
    shown, fired = phase(run), _fired(run)
    if _is_going(run) or shown in FINAL_PHASES:
        return Standing(
            created, NONE, is_over=True, phase=shown, rejected=_rejected(run), judged=_judged(run), fired=fired
        )
    if _accepted(run) == "Invalid":
        # Nobody can work on it, and it must not keep others from working; a no in it is one.
        return Standing(created, NONE, phase=shown, rejected=_rejected(run), fired=fired)
    rank = _RANKS.get(str(_value(run, "status", "place")), NONE) if shown else NEW
    pool, anchor = (str(_value(run, "status", "inputs", "digests", name) or "") for name in ("pool", "anchor"))
    attempts = _items(run, "status", "attempts")
    trains = any(a.get("step") == "train" and a.get("outcome") != "Suspended" for a in attempts)
    is_past = trains or _value(run, "status", "candidate") is not None
    again = shown == "Evaluating" and any(int(a.get("round") or 0) > 1 for a in _items(run, "status", "attempts"))
    lines_up = shown == "Pending" and _accepted(run) == "PromotionUnderway"
    changes_live = again or (shown == "Promoting" and not _lost_its_version(run))
    put_off = (shown == "Suspended" and _value(run, "spec", "suspend") is True) or _lost_its_version(run)
    return Standing(
        created,
        rank,
        (pool, anchor),
        is_past,
        False,
        put_off,
        changes_live=changes_live,
        lines_up=lines_up,
        phase=shown,
        rejected=_rejected(run),
        judged=_judged(run),
        fired=fired,
        stuck=_stuck(run) if rank == TAKEN else ("", ""),
        model=str(_value(run, "status", "model") or ""),
    )


def _stuck(run: Json) -> tuple[str, str]:
    """Return what a step waits for that somebody has to mend, or a queue has to grant, and since when."""
    waits = (
        c
        for c in _items(run, "status", "conditions")
        if c.get("type") in _STEPS and (c.get("status") == "False" or c.get("reason") == "Queued")
    )
    condition = next(waits, None)
    return (
        ("", "")
        if condition is None
        else (str(condition.get("reason")), str(condition.get("lastTransitionTime") or ""))
    )


def _rejected(run: Json) -> tuple[str, ...]:
    """Return what a person rejected, by whom and when: as it is on record, else as a review of its evidence says.

    Of any round, and wherever the run is: that it failed, flies, was taken over or is a copy says nothing of whether a
    person wants these bytes (R180). Nor does it wait until the run has looked: its policy may be gone, the operator
    may fail on it, it may be deleted in mid-flight, and a record of an earlier round could go live all the while.
    """
    decision, sha256 = _value(run, "status", "decision"), _value(run, "status", "candidate", "sha256")
    decision = decision if _is_persons_no(decision) else _said_no(run)
    if not sha256 or not _is_persons_no(decision):
        return ()
    said = (_value(decision, "by"), _value(decision, "at"), _value(run, "status", "version"))
    return (str(sha256), *(str(word or "") for word in said))


def _is_persons_no(decision: object) -> bool:
    return bool(_value(decision, "verdict") == "Reject" and _value(decision, "by") != BY_GATES)


def _said_no(run: Json) -> Json:
    """Return what a review says that rejects what the run made; dated by its end, or by what is known to be before."""
    review, status = _value(run, "spec", "review"), _value(run, "status")
    earlier = _value(status, "earlierEvidence")
    seen = (_value(status, "evidence", "digest"), *(earlier if isinstance(earlier, list) else ()))
    if _value(review, "decision") != "Reject" or _value(review, "evidence") not in seen:
        return {}
    return {"verdict": "Reject", "by": _value(review, "by"), "at": _value(status, "finishedAt") or since(run)}


def whose_candidate_was_rejected(run: Json) -> Iterable[object]:
    """Return the model of what the run made, if a person rejected that: its policy may be gone by now.

    Where an earlier release did not note it, it stands in the name of the record; without one the policy's name tells.
    """
    if not standing(run).rejected:
        return ()
    noted = _value(run, "status", "model")
    if noted:
        return (noted,)
    made, version = (str(_value(run, "status", name) or "") for name in ("modelVersion", "version"))
    model = made.removesuffix(names.model_version_name("", version))
    return (model,) if model != made else (of_policy(str(_value(run, "spec", "policy"))),)


def of_policy(name: str) -> str:
    """Return what runs of that policy are looked up by where their model stands nowhere; no model is called so."""
    return f"policy {name}"


def _judged(run: Json) -> tuple[str, ...]:
    """Return what a run that was judged says: uid, URI and digest of its plan, and when it was decided, or judged."""
    plan, status = _value(run, "status", "inputs", "plan"), _value(run, "status")
    if _value(status, "verdict") not in VERDICTS or not _value(plan, "uri") or not _value(plan, "sha256"):
        return ()
    moments = (_value(status, "decision", "at"), _value(status, "reviewSince"), _value(status, "startedAt"))
    at = next((str(moment) for moment in moments if moment), "")
    return str(_value(run, "metadata", "uid") or ""), str(plan["uri"]), str(plan["sha256"]), at


def policy_whose_run_was_judged(run: Json) -> Iterable[object]:
    """Return the run's policy, if the run reached a verdict of its gates."""
    return (_value(run, "spec", "policy"),) if standing(run).judged else ()


def _fired(run: Json) -> tuple[str, ...]:
    """Return the uid of a run that a trigger made, and which one."""
    kind = str(_value(run, "spec", "trigger", "kind") or "Manual")
    return () if kind == "Manual" else (str(_value(run, "metadata", "uid") or ""), kind)


def policy_that_fired_it(run: Json) -> Iterable[object]:
    """Return the run's policy, if a trigger made the run."""
    return (_value(run, "spec", "policy"),) if _fired(run) else ()


def policy_that_it_keeps_waiting(run: Json) -> Iterable[object]:
    """Return the run's policy, if the run is not over and was not judged: what it trains on is not done with."""
    entry = standing(run)
    return () if entry.is_over or entry.judged or _accepted(run) == "Invalid" else (_value(run, "spec", "policy"),)


def policy_that_gets_a_new_base(run: Json) -> Iterable[object]:
    """Return the run's policy, if the run is a rebuild that is not over."""
    if _value(run, "spec", "mode") != "Rebuild" or _accepted(run) == "Invalid" or _lost_its_version(run):
        return ()
    return () if standing(run).is_over else (_value(run, "spec", "policy"),)


def _accepted(run: Json) -> str:
    return _reason(run, "Accepted")


def _lost_its_version(run: Json) -> bool:
    """Tell whether its promotion waits for a ModelVersion that somebody deleted: it may never come back (R337)."""
    return phase(run) == "Promoting" and _reason(run, "Promoted") == VERSION_NOT_FOUND


def _reason(run: Json, kind: str) -> str:
    """Return the reason of a condition."""
    conditions = _items(run, "status", "conditions")
    return next((str(c.get("reason")) for c in conditions if c.get("type") == kind), "")


def asks(run: Json) -> Iterable[object]:
    """Return the hash of what a run asks for, until it is over, or put off."""
    return () if _is_waited_for_by_nobody(standing(run)) else (_value(run, "status", "asks"),)


def policy_whose_place_it_has(run: Json) -> Iterable[object]:
    """Return the run's policy, if the run has one of its places."""
    return (_value(run, "spec", "policy"),) if standing(run).rank == TAKEN else ()


def policy_that_it_waits_for(run: Json) -> Iterable[object]:
    """Return the run's policy, if the run waits for one of its places, or will."""
    return (_value(run, "spec", "policy"),) if NONE < standing(run).rank < TAKEN else ()


def policy_whose_live_it_changes(run: Json) -> Iterable[object]:
    """Return the run's policy, if the run is about to change what is live, or lines up to be measured again."""
    entry = standing(run)
    return (_value(run, "spec", "policy"),) if entry.changes_live or entry.lines_up else ()


def moves_on(before: Hashable, after: Hashable) -> bool:
    """Tell whether a run came into another phase, or was rejected while its promotion waits."""
    was, now = ((entry.phase, entry.rejected) if isinstance(entry, Standing) else ("", ()) for entry in (before, after))
    return was != now


def is_rejected_anew(before: Hashable, after: Hashable) -> bool:
    """Tell whether a person rejected what a run made, and nobody had heard of it."""
    was, now = (entry.rejected if isinstance(entry, Standing) else () for entry in (before, after))
    return bool(now) and was != now


def lands(before: Hashable, after: Hashable) -> bool:
    """Tell whether a run is no longer about to change what is live, nor lines up for it."""
    was, now = (_nearness(entry) for entry in (before, after))
    return now < was


def _nearness(entry: Hashable) -> int:
    """Return how near a run is to changing what is live."""
    if not isinstance(entry, Standing):
        return 0
    return 2 if entry.changes_live else int(entry.lines_up)


def steps_back(before: Hashable, after: Hashable) -> bool:
    """Tell whether a run gave up its place, or its turn; each is a `Standing`, or None for a run that is not there."""
    was, now = (entry.rank if isinstance(entry, Standing) else NONE for entry in (before, after))
    return now < was


def ends(before: Hashable, after: Hashable) -> bool:
    """Tell whether a run came to its end, went, or was put off."""
    was_open, is_open = (
        isinstance(entry, Standing) and not _is_waited_for_by_nobody(entry) for entry in (before, after)
    )
    return was_open and not is_open


def _is_waited_for_by_nobody(entry: Standing) -> bool:
    return entry.is_over or entry.is_put_off


def _value(obj: object, *path: str) -> Any:
    for key in path:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _items(obj: object, *path: str) -> Iterable[Json]:
    items = _value(obj, *path)
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
