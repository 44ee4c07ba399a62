"""One cluster with baked images for all stories; the demo is the first of them and the others go on from it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.bucket import Bucket, bucket_in_cluster
from e2e.stories import Stories
from finetune_demo import cluster as clusters
from finetune_demo import environment, story
from finetune_demo.console import Console
from finetune_demo.settings import from_environment

SEED = 7
WATCH_SECONDS = 10
"""Some thirty versions go live here; stories of what happens in a watch ask for a longer one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --on-demo: the stories on the cluster of a `make demo` that has ended, for working on them."""
    what = "use the running demo's cluster, with mounted environments or with images baked before; no demo is played"
    parser.addoption("--on-demo", choices=("mounted", "baked"), help=what)


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Iterator[story.Story]:
    """A fresh local cluster on baked images with the operator, the base model live, and nothing else."""
    settings = replace(from_environment(), baked_images=True)
    assert settings.existing is None, "the end-to-end stories run on the local cluster only: unset DEMO_CONTEXT"
    console = Console()
    if kind := request.config.getoption("--on-demo"):
        yield story.resume(console, replace(settings, baked_images=kind == "baked"))
        return
    environment.prepare(console, settings, seed=SEED)
    recipe = story.load_recipe(console, settings)
    tale = story.Story(console, settings, clusters.start(console, settings), recipe, watch_seconds=WATCH_SECONDS)
    tale.fill()
    tale.install_operator()
    tale.open_workbench()
    tale.train_base()
    tale.serve_base()
    yield tale
    clusters.remove(console, settings)


@pytest.fixture(scope="session")
def demo(stage: story.Story, request: pytest.FixtureRequest) -> story.Story:
    """The demo played to its end under load: base, fine-tune live, rollback."""
    if request.config.getoption("--on-demo"):
        return stage
    stage.measure("before", "base_v1")
    stage.start_load()
    stage.fill_pool()
    stage.run_to_live()
    stage.measure("after", "ft_v1.1")
    stage.roll_back()
    stage.measure("back", "base_v1")
    stage.facts["load"] = stage.stop_load()
    return stage


@pytest.fixture
def stories(demo: story.Story) -> Iterator[Stories]:
    """Short stories on the demo's cluster: base_v1 is live and no hold is set before and after each."""
    made = Stories(demo)
    made.to_base()
    yield made
    made.to_base()


@pytest.fixture(scope="module")
def bucket(demo: story.Story) -> Iterator[Bucket]:
    """An S3 server in the cluster, and a PodTemplate for Jobs that may use it."""
    with bucket_in_cluster(demo) as made:
        yield made
