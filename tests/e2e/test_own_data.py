"""The page about the local cluster, executed in one shell: from somebody's data set to their fine-tune, and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.guide import Machine, lay_out, record_command, write_commands
from e2e.own_data import BLOCKS, NAMES, check_story
from finetune_demo.environment import cluster_command
from finetune_demo.story import Story
from house.crds import ROOT
from house.pages import runnable, session

SECONDS = 1800.0
"""Far above what it takes; the page's own waits are meant for real trainings."""


@pytest.fixture
def reader(stage: Story, tmp_path: Path) -> Iterator[Machine]:
    """Somebody's data on the machine of the stories' cluster. Afterwards the operator watches the stories again."""
    state, kube = stage.settings.state, stage.cluster.kube
    lay_out(state / "invoices", state / "data" / "artifacts" / "base" / "best.pt", tmp_path / "data")
    records = tmp_path / "records"
    records.mkdir()
    kubectl = " ".join(cluster_command(stage.settings, "kubectl"))
    write_commands(tmp_path / "bin", {"record": record_command(kubectl, records)})
    variables = NAMES | {
        "DATA": str(tmp_path / "data"),
        "DISK": "1",  # the images are on the node already
        "EPOCHS": "1",
        "IMAGE_SIZE": str(stage.recipe["serving"]["imageSize"]),
        "FINETUNE_STATE": str(state.parent),
        "FINETUNE_CACHE": str(stage.settings.cache),
    }
    try:
        yield Machine(variables, tmp_path / "bin" / "record", records, ROOT)
    finally:
        kube.kubectl("delete", "namespace", NAMES["NAMESPACE"], "--ignore-not-found")
        kube.kubectl("delete", "persistentvolume", "finetune-s3", "--ignore-not-found")
        stage.install_operator()


def test_own_data_goes_live_on_the_local_cluster(reader: Machine) -> None:
    """Every block ends with 0: images, bucket, overlay and every name are as the page says."""
    reader.run(session(runnable(BLOCKS), after_each=str(reader.record)), SECONDS)
    check_story(reader.states())
