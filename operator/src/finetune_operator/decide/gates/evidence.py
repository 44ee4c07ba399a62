"""Evidence: what a verdict is bound to, under one digest that a reviewer names."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from ...api.names import sha256_of
from ...api.run import Evidence, GateVerdict, TestSet
from ...api.run_document import RunDocument
from ...api.step_result import EvaluateResult
from ...api.value import canonical_json, complete, plain
from .gate import Standing
from .rows import MAX_COUNT

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def evidence_of(
    run_document: RunDocument,
    result: EvaluateResult,
    gates: tuple[GateVerdict, ...],
    *,
    standing: Standing,
    live: str | None,
    live_sha256: str | None,
    round_: int,
    uri: str,
    provenance: Mapping[str, object],
) -> Evidence:
    """Return the evidence of one evaluation round.

    The digest covers the owner, the round, candidate and base digests, test set, new set and documents of production
    with their worst fields, evaluation settings and evaluator, the gates' limits and verdicts, what was live and what
    was known of it, all measurements but times and what was seen on production for alerts alone, and who made all that:
    what `prepare` counted, and each step's image and manifest.
    """
    bound = {
        "owner": run_document.owner.uid,
        "round": round_,
        "candidate": result.models.candidate.sha256 if result.models.candidate else None,
        "base": result.models.base.sha256,
        "testSet": complete(result.test_set),
        "newSet": complete(result.new_set) if result.new_set else None,
        "classes": run_document.classes,
        "settings": result.settings,
        "evaluator": result.evaluator,
        "limits": complete(run_document.gates) if run_document.gates else None,
        "gates": [plain(gate) for gate in gates],
        "live": live,
        "liveSha256": live_sha256,
        "standing": {
            "version": standing.version,
            "testSet": standing.test_set,
            "isLive": standing.is_live,
            "known": [asdict(earlier) for earlier in standing.known],
        },
        "models": _without_times(complete(result.models)),
        "provenance": dict(provenance),
    }
    if result.production is not None:
        bound["production"] = complete(result.production)
    if result.added is not None:
        bound["added"] = complete(result.added)
    digest = f"sha256:{sha256_of(canonical_json(bound))}"
    return Evidence(
        digest=digest,
        uri=uri,
        live=live,
        live_sha256=live_sha256,
        round=round_,
        test_set=test_set_of(result),
    )


def _without_times(models: dict[str, Any]) -> dict[str, Any]:
    """Return the measurements without how long they took: that is of the machine, and no two times are the same."""
    return {
        name: None if model is None else {key: value for key, value in model.items() if key != "inferenceSeconds"}
        for name, model in models.items()
    }


def test_set_of(result: EvaluateResult) -> TestSet | None:
    """Return the test split as it is recorded; None for a digest or a count that is none."""
    digest, images = result.test_set.digest, result.test_set.images
    if _SHA256.fullmatch(digest) is None or not 0 <= images <= MAX_COUNT:
        return None
    return TestSet(digest=digest, images=images, fields=None if result.added is None else result.added.known)
