"""Which results of a step are taken: every figure in range, every digest the one that was asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ...api.meta import Artifact, FileReference
from ...api.run import Attempt, DrawnDocuments, Inputs, NewSetCounts
from ...api.run_document import RunDocument
from ...api.scan import CapturedPages, WaitingPages, WeeklyReports
from ...api.step_result import EvaluateResult, PrepareResult, ScanResult, StepResult, TrainResult
from ...api.uris import LONGEST_URI
from ...api.value import InvalidObject, parse
from ..gates.gate import shared_fields
from ..views import Problem
from .contradictions import contradictions, drawn_otherwise

_SHA256 = re.compile(r"[0-9a-f]{64}")
_RATIO = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_WEEK = re.compile(r"[0-9]{4}-W(0[1-9]|[1-4][0-9]|5[0-3])")
_WEEKS = 8
_DIGESTS = ("pool", "anchor", "testSet", "newSet")
_PRODUCTION = "production"
_MAX_COUNT = 2**31 - 1
_SHOWN = 1000
"""Characters of what contradicts itself that a message has."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What `train` left: the artifact that is served, and the checkpoint."""

    artifact: Artifact
    checkpoint: FileReference
    summary: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What `evaluate` measured, and where its report lies."""

    result: EvaluateResult
    uri: str


def prepared(
    run_document: RunDocument, attempt: Attempt, said: StepResult, fresh_by: str | None = None
) -> Inputs | Problem:
    """Return what was drawn, or why the result is not taken.

    `fresh_by` is the digest of the version whose plan the attempt was told of.
    """
    try:
        result = parse(said.result, PrepareResult)
    except InvalidObject as error:
        return _unreadable("prepare", error)
    new, digests = result.new_set, _digests(run_document)
    of_pool = (result.pool, result.held_out, result.withdrawn, result.outside, result.new, result.corrected)
    of_mix = (result.fresh, result.train, result.old, result.anchor, result.val, result.test)
    documents = (result.production.documents, result.production.labelled) if result.production else ()
    wrong = (
        _misplaced(run_document, result.plan.uri, result.plan.sha256)
        or _out_of_range((*of_pool, *of_mix, new.documents, new.boxes, new.fresh, *documents))
        or (None if _RATIO.fullmatch(result.ratio) else f"ratio {result.ratio[:32]!r} is no number")
        or next((f"digest {key!r} is missing" for key in digests if not _is_sha256(result.digests.get(key))), None)
    )
    if wrong:
        return _invalid("prepare", wrong)
    against_itself = drawn_otherwise(run_document, result, fresh_by=fresh_by, all_new=not attempt.judged)
    if against_itself:
        return _contradictory("prepare", against_itself)
    return Inputs(
        plan=result.plan,
        pool=result.pool,
        held_out=result.held_out,
        withdrawn=result.withdrawn,
        outside=result.outside,
        new=result.new,
        corrected=result.corrected,
        fresh=result.fresh,
        train=result.train,
        old=result.old,
        anchor=result.anchor,
        val=result.val,
        test=result.test,
        new_set=NewSetCounts(documents=new.documents, boxes=new.boxes, fresh=new.fresh, live=fresh_by),
        ratio=result.ratio,
        digests={key: result.digests[key] for key in digests},
        production=_drawn_documents(result) if _PRODUCTION in digests else None,
    )


def _drawn_documents(result: PrepareResult) -> DrawnDocuments | None:
    drawn = result.production
    return None if drawn is None else DrawnDocuments(documents=drawn.documents, labelled=drawn.labelled)


def _digests(run_document: RunDocument) -> tuple[str, ...]:
    """Return what `prepare` fixes by digest; documents of production only where Gate 3 is asked for."""
    asked = run_document.gates is not None and run_document.gates.production is not None
    return (*_DIGESTS, _PRODUCTION) if asked else _DIGESTS


def trained(run_document: RunDocument, inputs: Inputs, said: StepResult, known: Mapping[str, str]) -> Trained | Problem:
    """Return what was trained, or why the result is not taken.

    `known` has the names of other versions by digest. An artifact names its run, so that no training makes their bytes.
    """
    try:
        result = parse(said.result, TrainResult)
    except InvalidObject as error:
        return _unreadable("train", error)
    artifact, checkpoint = result.artifact, result.checkpoint
    wrong = (
        _misplaced(run_document, artifact.uri, artifact.sha256)
        or _misplaced(run_document, checkpoint.uri, checkpoint.sha256)
        or _out_of_range((result.epochs, result.batch, result.images, result.seconds, min(artifact.bytes, _MAX_COUNT)))
        or (f"its artifact is {known[artifact.sha256]}, byte by byte" if artifact.sha256 in known else None)
    )
    if wrong:
        return _invalid("train", wrong)
    against_itself = [] if result.images == inputs.train else [_other_mix(result, inputs)]
    against_itself += _resumed_otherwise(result, said.attempt)
    if against_itself:
        return _contradictory("train", against_itself)
    summary = f"{result.epochs} epochs over {result.images} images in {result.seconds} s on {result.device[:64]}"
    if result.resumed:
        newest = result.resumed[0]
        summary += f", resumed after epoch {newest.epoch} of attempt {newest.attempt}"
    return Trained(artifact, checkpoint, summary)


def _other_mix(result: TrainResult, inputs: Inputs) -> str:
    return f"it trained on {result.images} images, and the mix has {inputs.train}"


def _resumed_otherwise(result: TrainResult, attempt: int) -> list[str]:
    """Return what cannot be of the attempts that a training says it went on from (R211)."""
    attempts = [attempt, *(before.attempt for before in result.resumed)]
    epochs = [result.epochs, *(before.epoch for before in result.resumed), 0]
    steps = (("attempts", attempts), ("epochs", epochs))
    return [
        f"it went on from {what} {numbers[1:]}, and has {numbers[0]}"
        for what, numbers in steps
        if any(later <= earlier for later, earlier in pairwise(numbers))
    ]


def evaluated(
    run_document: RunDocument,
    inputs: Inputs,
    candidate: Artifact,
    attempt: Attempt,
    said: StepResult,
    *,
    fresh_by: str | None = None,
    live_fields: int | None = None,
) -> Evaluated | Problem:
    """Return what was measured, if it was measured on the models and samples that were asked for.

    `fresh_by` is the digest of the version whose plan the evaluation was told of; `live_fields`, how many fields the
    live version has by its record, None where there is none.
    """
    try:
        result = parse(said.result, EvaluateResult)
    except InvalidObject as error:
        return _unreadable("evaluate", error)
    wrong = _of_other_bytes(run_document, inputs, candidate, attempt, result)
    wrong += _counted_otherwise(inputs, result, fresh_by)
    wrong += _listed_otherwise(inputs, result)
    wrong += _of_other_fields(run_document, result, live_fields)
    if wrong:
        return Problem("EvidenceMismatch", f"evaluate measured something else than it was asked: {'; '.join(wrong)}")
    wrong = contradictions(run_document, result, all_fresh=fresh_by is None)
    if wrong:
        return _contradictory("evaluate", wrong)
    if said.manifest is None:
        return _invalid("evaluate", "it names no manifest")
    misplaced = _misplaced(run_document, said.manifest.uri, said.manifest.sha256)
    if misplaced:
        return _invalid("evaluate", misplaced)
    return Evaluated(result, said.manifest.uri)


def _of_other_bytes(
    run_document: RunDocument, inputs: Inputs, candidate: Artifact, attempt: Attempt, result: EvaluateResult
) -> list[str]:
    """Return which models and samples are not those that were asked for."""
    base, models = run_document.base.artifact.sha256, result.models
    live = None if attempt.live == base else attempt.live
    new_set, production = result.new_set, result.production
    expected = (
        ("candidate", candidate.sha256, models.candidate.sha256 if models.candidate else None),
        ("base", base, models.base.sha256),
        ("live version", live, models.live.sha256 if models.live else None),
        ("test set", inputs.digests.get("testSet"), result.test_set.digest),
        ("new samples", inputs.digests.get("newSet"), new_set.digest if new_set else None),
        ("production documents", inputs.digests.get(_PRODUCTION), production.digest if production else None),
    )
    return [
        f"{what} {_short(measured)}, not {_short(asked)}" for what, asked, measured in expected if asked != measured
    ]


def _of_other_fields(run_document: RunDocument, result: EvaluateResult, live_fields: int | None) -> list[str]:
    """Return that figures are of other fields than base and live version have (R238), or the run fewer (R262)."""
    all_, base, known = len(run_document.classes), run_document.base.fields, shared_fields(run_document, result)
    if live_fields is not None and live_fields > all_:
        return [f"{all_} fields, and the live version has {live_fields}"]
    most = min(all_, base or all_, live_fields or all_)
    if known == most or (known < most and result.models.live is not None and live_fields is None):
        return []
    return [f"the first {known} of {all_} fields, and base and live version have {most}"]


def _counted_otherwise(inputs: Inputs, result: EvaluateResult, fresh_by: str | None) -> list[str]:
    """Return what the evaluation counts otherwise than `prepare`, or than can be (R81)."""
    drawn, new_set, measured = inputs.new_set, result.new_set, result.models
    if drawn is None or new_set is None:
        return []  # prepared by the last release, or refused already
    pairs = [
        ("test images", inputs.test, result.test_set.images),
        ("documents of new samples", drawn.documents, new_set.documents),
    ]
    models = (("candidate", measured.candidate), ("base", measured.base), ("live version", measured.live))
    # What was appended since is counted apart.
    boxes = drawn.boxes - (0 if result.added is None else result.added.new_boxes)
    pairs += [(f"boxes of new samples for {n}", boxes, m.pool.boxes if m.pool else 0) for n, m in models if m]
    if fresh_by is None or fresh_by == drawn.live:
        # Without a plan that tells, all of them are fresh; with the same plan, as many as before.
        pairs.append(("fresh documents", drawn.documents if fresh_by is None else drawn.fresh, new_set.fresh))
    elif not 0 <= new_set.fresh <= drawn.documents:
        pairs.append(("fresh documents at most", drawn.documents, new_set.fresh))
    documents, seen = inputs.production, result.production
    if documents is not None and seen is not None:
        pairs.append(("documents of production", documents.documents, seen.drawn))
        if seen.labelled > documents.labelled:
            pairs.append(("labelled documents of production at most", documents.labelled, seen.labelled))
    return [f"{counted} {what}, not {asked}" for what, asked, counted in pairs if asked != counted]


def _listed_otherwise(inputs: Inputs, result: EvaluateResult) -> list[str]:
    """Return what `prepare` said of the pool otherwise than it was when the plan was drawn (R315)."""
    listed = result.pool
    if listed is None or inputs.outside is None:
        return []  # measured or prepared by an earlier release
    counts = (
        ("samples of the pool", inputs.pool, listed.samples),
        ("withdrawn pages", inputs.withdrawn, listed.withdrawn),
        ("samples outside the base", inputs.outside, listed.outside),
    )
    wrong = [f"{counted} {what}, not {said}" for what, said, counted in counts if said != counted]
    pool = inputs.digests.get("pool")
    return wrong if listed.digest == pool else [*wrong, f"pool {_short(listed.digest)}, not {_short(pool)}"]


def manifest_digest(said: StepResult) -> str | None:
    """Return the digest of the manifest that a result names, if it is one."""
    return said.manifest.sha256 if said.manifest is not None and _is_sha256(said.manifest.sha256) else None


def verified(run_document: RunDocument, said: StepResult) -> EvaluateResult | Problem:
    """Return what was measured of an imported base; whose digest it is, is looked at afterwards."""
    try:
        result = parse(said.result, EvaluateResult)
    except InvalidObject as error:
        return _unreadable("verify", error)
    if not _is_sha256(result.test_set.digest):
        return _invalid("verify", f"the test set's digest {result.test_set.digest[:80]!r} is none")
    wrong = contradictions(run_document, result, all_fresh=True)
    return _contradictory("verify", wrong) if wrong else result


def scanned(
    said: StepResult, *, captures: bool | None, classes: int | None, all_outside: bool, all_new: bool
) -> ScanResult | Problem:
    """Return what was counted of pool and captured pages, or why the result is not taken.

    `captures`: pages are captured; `classes`: how many fields there are; None: nobody knows. `all_outside`: no plan of
    a base told what is not outside, and `all_new`: none of a judged run what is not new.
    """
    try:
        result = parse(said.result, ScanResult)
    except InvalidObject as error:
        return _unreadable("scan", error)
    pages = result.pages
    counts = (result.pool, result.held_out, result.withdrawn, result.outside, result.new, result.corrected)
    of_pages = (pages.random, pages.uncertain, pages.reported) if pages is not None else ()
    waiting = WaitingPages(pages=0) if result.waiting is None else result.waiting
    more = (result.by_image, result.answered or 0, result.expired_days, *(week.documents for week in result.reports),
            waiting.pages, *waiting.fields)  # fmt: skip
    wrong = (
        _out_of_range((*counts, *of_pages, *more))
        or (None if _is_sha256(result.listing) else f"listing {result.listing[:80]!r} is no digest")
        or (None if pages is None or _is_dated(pages) else f"{str(pages.oldest)[:32]!r} is not the oldest day of pages")
        or (None if _are_weeks(result.reports) else "reports are not of at most 8 weeks, each once, the newest last")
    )
    if wrong:
        return _invalid("scan", wrong)
    may_train = result.pool - result.held_out
    checks = (
        (result.held_out <= result.pool, "more samples held out than there are"),
        (max(result.outside, result.new) <= may_train, "more samples outside the base, or new, than may train"),
        (result.corrected <= result.new, "more corrected samples than new ones"),
        (result.by_image <= result.pool, "more samples known by their image than there are"),
        (not all_outside or result.outside == may_train, "samples that a base without plan knows"),
        (not all_new or (result.new, result.corrected) == (may_train, 0), "not all is new, and nothing was judged"),
        (max(waiting.fields, default=0) <= waiting.pages, "more pages that wait for one field than for any"),
        (
            classes is None or result.waiting is None or len(waiting.fields) == classes,
            "pages that wait for other fields",
        ),
        ((pages is None) == (result.waiting is None), "pages that wait where none are captured, or none at all"),
        (captures is None or captures == (pages is not None), "captured pages where none are captured, or none at all"),
    )
    against_itself = [text for holds, text in checks if not holds]
    return _contradictory("scan", against_itself) if against_itself else result


def _is_dated(pages: CapturedPages) -> bool:
    """Tell whether there is an oldest day, and it is one, exactly where there are pages."""
    if pages.oldest is None:
        return not pages.random + pages.uncertain + pages.reported
    return _DAY.fullmatch(pages.oldest) is not None and bool(pages.random + pages.uncertain + pages.reported)


def _are_weeks(reports: tuple[WeeklyReports, ...]) -> bool:
    weeks = [entry.week for entry in reports]
    return len(weeks) <= _WEEKS and weeks == sorted(set(weeks)) and all(map(_WEEK.fullmatch, weeks))


def _misplaced(run_document: RunDocument, uri: str, sha256: str) -> str | None:
    """Return what is wrong with the place of bytes that a step wrote: only the owner's own prefix is its to write."""
    prefix = run_document.artifacts.uri + "/"
    if not uri.startswith(prefix) or ".." in uri.split("/") or len(uri) > LONGEST_URI:
        return f"{uri[:200]!r} is not under {prefix!r}"
    return None if _is_sha256(sha256) else f"sha256 {sha256[:80]!r} is no digest"


def _out_of_range(counts: tuple[int, ...]) -> str | None:
    return next((f"{count} is no count" for count in counts if not 0 <= count <= _MAX_COUNT), None)


def _is_sha256(text: str | None) -> bool:
    return text is not None and _SHA256.fullmatch(text) is not None


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"


def _unreadable(step: str, error: InvalidObject) -> Problem:
    return Problem("ResultInvalid", f"the result of {step} does not fit the contract: {error}")


def _contradictory(step: str, wrong: list[str]) -> Problem:
    text = "; ".join(wrong)[:_SHOWN]
    return Problem("ResultContradictory", f"the result of {step} contradicts itself: {text}")


def _invalid(step: str, wrong: str) -> Problem:
    return Problem("ResultInvalid", f"the result of {step} is not taken: {wrong}")
