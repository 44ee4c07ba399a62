"""Somebody writes to the bucket: an evaluator that finds a planted manifest measures all the same."""

import hashlib
import json
from pathlib import Path
from typing import Any

from e2e.stories import LENIENT, USUAL, Stories, quick

BETTER = "0.999999"


def test_an_evaluator_that_finds_a_planted_manifest_measures_all_the_same(stories: Stories) -> None:
    """Complete manifests with better figures lie wherever the evaluation could look; the verdict is of its own."""
    name = "planted"
    root = stories.tale.settings.state / "data" / "artifacts"
    stories.patch_policy(**LENIENT)
    stories.start(name, **quick(name))
    stories.until(name, "Evaluating")
    stories.kube.wait("an evaluation is planned", lambda: bool(_evaluations(stories, name)), 60, every=0.2)
    run = stories.kube.get("finetunerun", name) or {}
    own = root / run["metadata"]["namespace"] / run["metadata"]["uid"]
    attempt = _evaluations(stories, name)[0]
    of = f"attempt-{attempt['attempt']}"
    places = [
        own / of / "evaluate-round-1",
        own / "evaluations" / f"evaluate-{of}-round-1-{attempt['nonce']}",
    ]
    planted = _manifest(run, attempt["attempt"])
    for place in places:
        _plant(place, planted, own)
    status = stories.until(name)
    stories.patch_policy(**USUAL)
    assert status["phase"] == "Promoted", status.get("message")
    figures = {figure["name"]: figure["value"] for figure in status["figures"]}
    assert BETTER not in figures.values(), figures
    written = root / status["evidence"]["uri"].removeprefix("file:///data/artifacts/")
    emitted = json.loads(written.read_text())["emitted"]
    assert emitted["result"]["models"]["candidate"]["map50"] == figures["candidateMap50"]
    measured = next(a for a in reversed(status["attempts"]) if a["step"] == "evaluate")
    assert measured["manifest"] == hashlib.sha256(written.read_bytes()).hexdigest()
    assert measured["imageId"], "the kubelet says which image measured"


def _evaluations(stories: Stories, name: str) -> list[dict[str, Any]]:
    return [a for a in stories.run_status(name).get("attempts", ()) if a["step"] == "evaluate"]


def _manifest(run: dict[str, Any], attempt: int) -> str:
    uid, candidate = run["metadata"]["uid"], run["status"]["candidate"]["sha256"]
    models = {"candidate": {"sha256": candidate, "map50": BETTER}}
    emitted = {
        "schema": "finetune-operator.io/step-result/v1",
        "step": "evaluate",
        "owner": uid,
        "attempt": attempt,
        "outcome": "Succeeded",
        "result": {"models": models},
    }
    manifest = {
        "schema": "finetune-operator.io/step-manifest/v1",
        "step": "evaluate",
        "owner": uid,
        "attempt": attempt,
        "round": 1,
        "files": [],
        "emitted": emitted,
    }
    return json.dumps(manifest)


def _plant(place: Path, manifest: str, own: Path) -> None:
    """Leave a manifest there, in folders that the evaluator may write to as well."""
    place.mkdir(parents=True, exist_ok=True)
    for folder in (place, *place.parents):
        if folder == own:
            break
        if folder.stat().st_uid == 0:
            folder.chmod(0o777)
    (place / "manifest.json").write_text(manifest)
