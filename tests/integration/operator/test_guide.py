"""The guide's blocks against a real API server and the operator, where a script plays trainer, server and kubelet."""

import json
import sys
from pathlib import Path

import pytest

from e2e.guide import Machine, check_story, kubectl_command, record_command, write_commands
from finetune_operator.cluster.kinds import Kind
from house.api_server import ApiServer
from house.crds import ROOT
from house.pages import GUIDE, blocks_of, manifests, runnable, session
from local_cluster import ControlPlane
from local_cluster.settings import settings_from
from local_cluster.tools import build
from simulation.stories import stage
from simulation.trainer_script import Trainer

from .node import ScriptedNode
from .world import Operator

pytestmark = pytest.mark.control_plane
BLOCKS = blocks_of(GUIDE)


@pytest.mark.long
@pytest.mark.parametrize(
    ("namespace", "trainer"),
    [
        pytest.param("guide-pass", Trainer(), marks=pytest.mark.deep),
        ("guide-review", Trainer(rate="0.500000")),  # every block: the patch that decides a review acts here alone
    ],
    ids=["gates-pass", "a-gate-asks-for-review"],
)
def test_the_guide_leads_to_a_live_fine_tune_and_back(
    operator: Operator, plane: ControlPlane, tmp_path: Path, namespace: str, trainer: Trainer
) -> None:
    """Objects, waits, the patch that decides a review, rollback and release do what the guide says, in its order."""
    (kubectl,) = build(settings_from({}), ["kubectl"])
    reader = _machine(f"{kubectl} --kubeconfig={plane.kubeconfig}", tmp_path, namespace)
    with ScriptedNode(ApiServer(plane), namespace, trainer):
        reader.run(session(runnable(BLOCKS), after_each=str(reader.record)), 240)
    check_story(reader.states())


def _machine(kubectl: str, folder: Path, namespace: str) -> Machine:
    """A reader's machine in a folder of its own: no images, no chart, no data; `import` prints a scripted base."""
    records, commands = folder / "records", folder / "bin"
    records.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    quiet = f'[[ " $* " == *" --raw "* ]] && exit 0\n{kubectl_command(kubectl, Path(sys.executable))}'
    names = {"kubectl": quiet, "record": record_command(kubectl, records)}
    write_commands(commands, names | dict.fromkeys(("helm", "docker", "aws"), ":"))
    write_commands(folder / "scripts", {"trainer": f"[[ $1 != import ]] || cat <<'BASE'\n{_base(namespace)}\nBASE"})
    for split in ("train", "val"):
        (folder / "data" / "anchor" / "images" / split).mkdir(parents=True)
    variables = {
        "PATH": f"{commands}:/usr/bin:/bin",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "of-nothing",
        "DATA": str(folder / "data"),
        "IMAGE_SIZE": "64",
        "NAMESPACE": namespace,
        "TRAIN_TEMPLATE": "cpu-trainer",  # the other asks for a RuntimeClass that is not here
    }
    return Machine(variables, commands / "record", records, folder)


def _base(namespace: str) -> str:
    """The stories' base with the classes and settings of the guide's policy."""
    (policy,) = [item for _, item in manifests(BLOCKS) if item["kind"] == "FineTunePolicy"]
    base = next(item for kind, item in stage() if kind is Kind.MODEL_VERSION)
    base["metadata"]["namespace"] = namespace
    base["spec"] |= {"classes": policy["spec"]["classes"], "serving": {"imageSize": 64, "confidence": "0.25"}}
    return json.dumps(base)
