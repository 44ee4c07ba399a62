"""Evidence: what a verdict is bound to, under one digest that a reviewer names."""

from collections.abc import Mapping

from ...api.contract import EvaluateResult, RunDocument
from ...api.names import sha256_of
from ...api.run import Evidence, GateVerdict
from ...api.value import canonical_json, complete, plain


def evidence_of(
    run_document: RunDocument,
    result: EvaluateResult,
    gates: tuple[GateVerdict, ...],
    *,
    live: str | None,
    live_sha256: str | None,
    round_: int,
    uri: str,
    provenance: Mapping[str, object],
) -> Evidence:
    """Return the evidence of one evaluation round.

    The digest covers the owner, the round, candidate and base digests, test-set and new-set digests,
    evaluation settings and evaluator, the gates' limits and verdicts, what was live, all measurements, and who made
    all that: what `prepare` counted, and each step's image and manifest.
    """
    bound = {
        "owner": run_document.owner.uid,
        "round": round_,
        "candidate": result.models.candidate.sha256 if result.models.candidate else None,
        "base": result.models.base.sha256,
        "testSet": result.test_set.digest,
        "newSet": result.new_set.digest if result.new_set else None,
        "settings": result.settings,
        "evaluator": result.evaluator,
        "limits": complete(run_document.gates) if run_document.gates else None,
        "gates": [plain(gate) for gate in gates],
        "live": live,
        "liveSha256": live_sha256,
        "models": complete(result.models),
        "provenance": dict(provenance),
    }
    digest = f"sha256:{sha256_of(canonical_json(bound))}"
    return Evidence(digest=digest, uri=uri, live=live, live_sha256=live_sha256, round=round_)
