"""What alerts rest on, for real: the operator's page as it is scraped, and commands of runbooks on an API server."""

import os
import re
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from house.pages import DOCS, blocks
from house.rules import rules
from house.selectors import expressions, selectors
from local_cluster import ControlPlane
from local_cluster.settings import settings_from
from local_cluster.tools import build
from simulation.stories import run
from simulation.trainer_script import Trainer

from .node import ScriptedNode
from .test_scans import capture
from .test_stories import base_live, tuned_live
from .world import Operator, Space, eventually

pytestmark = pytest.mark.control_plane

RUNBOOKS = sorted((DOCS / "operate" / "runbooks").glob("*.md"))
OF_SERVERS = ("finetune_field_", "finetune_detection_", "finetune_inference_", "finetune_documents_", "finetune_model_")
WHILE_IT_FLIES = {
    "finetune_flight_phase_since_timestamp_seconds",
    "finetune_promotion_pending_since_timestamp_seconds",
}
BAD = re.compile(
    r"error parsing|unknown (command|flag|shorthand)|syntax error|command not found|unbound variable"
    r"|the server doesn't have a resource type \"(?!service|pod)"  # Prometheus' operator is not on this plane
)


def scraped(operator: Operator) -> list[tuple[str, Mapping[str, str], float]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.metrics}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return [(one.name, one.labels, one.value) for family in families for one in family.samples]


def in_review(space: Space, node: ScriptedNode) -> None:
    """Bring a base live, have its pages captured, and a run wait for a person."""
    base_live(space)
    capture(space)
    node.answer = Trainer(candidate="0.951000")
    space.apply(run())
    eventually(lambda: space.phase("first") == "InReview", seconds=60, what="it waits for a person")
    eventually(lambda: (space.policy_status().get("scan") or {}).get("counted"), seconds=60, what="it is scanned")


def test_the_operators_own_page_has_all_that_rules_ask_of_it(
    operator: Operator, space: Space, node: ScriptedNode
) -> None:
    in_review(space, node)
    page = scraped(operator)
    seen = {"deployment": "invoice-detector", "model": "invoice-fields", "namespace": space.namespace}
    base = seen | {"version": "base_v1"}
    figures = {name: value for name, labels, value in page if labels == base}
    assert figures["finetune_baseline_inference_duration_seconds"] == 0.0214
    assert ("finetune_baseline_confidence", base | {"source": "test"}, 0.912345) in page, "an import"
    review = {"decision": "Approve", "evidence": space.there("finetuneruns", "first")["status"]["evidence"]["digest"]}
    by = {"by": "ann@example.com", "reason": "looked at the figures"}
    assert space.patch("finetuneruns", "first", {"spec": {"review": review | by}}).accepted
    eventually(lambda: space.phase("first") == "Promoted", seconds=90, what="the fine-tune is live")
    after = scraped(operator)
    tuned = seen | {"version": "ft_v1.1"}
    assert ("finetune_baseline_confidence", tuned | {"source": "production"}, 0.8612) in after
    assert any(
        name == "finetune_baseline_field_detection_ratio" and labels.items() >= tuned.items()
        for name, labels, _ in after
    )
    page += after
    asked = {
        one.name
        for _, text in expressions(rules("clusterWide=true")["groups"])
        for one in selectors(text)
        if not one.is_recorded
        and not one.name.startswith(OF_SERVERS)
        and not any(name == one.name and one.fits(labels) for name, labels, _ in page)
    }
    assert asked <= WHILE_IT_FLIES


def test_commands_of_runbooks_work_as_they_are_written(
    operator: Operator, space: Space, node: ScriptedNode, plane: ControlPlane, tmp_path: Path
) -> None:
    capture(space)
    tuned_live(space)
    stub = tmp_path / "scripts" / "trainer"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\necho "trainer $*"\n')
    stub.chmod(0o755)
    (kubectl,) = build(settings_from({}), ["kubectl"])
    path = f"{kubectl.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig), "PATH": path}
    for page in RUNBOOKS:
        text = "".join(block.text for block in blocks(page.read_text()) if block.language == "sh")
        here = re.sub(r"NAMESPACE=ml\b", f"NAMESPACE={space.namespace}", text)
        done = subprocess.run(
            ["bash", "-u", "-c", here], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert not BAD.search(done.stderr), (page.stem, done.stderr)
        if "scripts/trainer" in text:
            assert f"file:///production/{space.namespace}/invoice-detector" in done.stdout, (page.stem, done.stdout)
    (back,) = [one["spec"] for one in space.all("modelpromotions") if one["metadata"]["name"].startswith("back-")]
    assert (back["policy"], back["version"], back["from"]) == ("invoice-fields", "base_v1", "ft_v1.1")
