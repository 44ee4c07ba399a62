"""What the documentation shows is accepted, and comes back with the operator's own defaults."""

from typing import Any

import pytest
import yaml

from finetune_operator.api.model_version import VersionSpec
from finetune_operator.api.policy import PolicySpec
from finetune_operator.api.promotion import PromotionSpec
from finetune_operator.api.run import RunSpec
from finetune_operator.api.value import parse
from house.api_server import ApiServer
from house.crds import ROOT
from house.samples import SAMPLES, sample

pytestmark = pytest.mark.control_plane

TYPES: dict[str, Any] = {
    "FineTunePolicy": PolicySpec,
    "FineTuneRun": RunSpec,
    "ModelVersion": VersionSpec,
    "ModelPromotion": PromotionSpec,
}
EXAMPLES: tuple[tuple[str, dict[str, Any]], ...] = tuple(
    (f"{path.name}-{manifest['kind']}-{manifest['metadata']['name']}", manifest)
    for path in sorted((ROOT / "examples" / "manifests").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
)
OURS = tuple((name, manifest) for name, manifest in EXAMPLES if manifest["kind"] in TYPES)


@pytest.mark.parametrize("manifest", [manifest for _, manifest in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_an_example_is_accepted_as_it_stands(server: ApiServer, manifest: dict[str, Any]) -> None:
    answer = server.create(manifest, dry_run=True)
    assert answer.accepted, answer.message


@pytest.mark.parametrize("manifest", [manifest for _, manifest in OURS], ids=[name for name, _ in OURS])
def test_the_api_server_fills_in_the_defaults_that_the_operator_assumes(
    server: ApiServer, manifest: dict[str, Any]
) -> None:
    kind = TYPES[manifest["kind"]]
    stored = server.create(manifest, dry_run=True).body
    assert parse(stored["spec"], kind) == parse(manifest["spec"], kind)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_complete_object_is_stored_without_losing_a_field(server: ApiServer, name: str) -> None:
    manifest = sample(name)
    answer = server.create(manifest, dry_run=True)
    assert answer.accepted, answer.message
    assert answer.body["spec"] == manifest["spec"]
