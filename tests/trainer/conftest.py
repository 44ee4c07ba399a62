"""Fixtures of the trainer's tests: a process set up as in a pod, one world, and one real base trained in seconds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from finetune_trainer.environment import prepare_process, variables
from finetune_trainer.storage import join
from trainer.captured import Production
from trainer.policy import Policy
from trainer.real_base import imported, plain_training
from trainer.replaying import Gate
from trainer.world import World, add_to_pool, index, write_anchor, write_new_pages


@pytest.fixture(scope="session", autouse=True)
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment of a step's process, for as long as the tests run; yields its scratch folder."""
    scratch = tmp_path_factory.mktemp("scratch")
    before = {key: os.environ.get(key) for key in variables(scratch, 1)}
    os.environ["OMP_NUM_THREADS"] = "1"  # models and pages are tiny, and other suites run beside this one
    prepare_process(scratch, os.environ)
    # It reads its folder once, as it is imported: commands that are tested in this process set one of their own.
    import ultralytics.utils

    assert ultralytics.utils.USER_CONFIG_DIR.is_relative_to(scratch)
    yield scratch
    for key, value in before.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that tests only read."""
    world = World(tmp_path_factory.mktemp("world"))
    write_anchor(world.anchor, train=64, val=8, test=24)
    index(world.anchor)
    add_to_pool(world.pool, write_new_pages(world.root / "new"), world.anchor)
    return world


@pytest.fixture
def world(shared_world: World, tmp_path: Path) -> World:
    """A copy of the world, for tests that spoil it."""
    shutil.copytree(shared_world.root / "anchor", tmp_path / "anchor")
    shutil.copytree(shared_world.root / "pool", tmp_path / "pool")
    return World(tmp_path)


@pytest.fixture
def policy(world: World) -> Policy:
    """A policy on that copy, without a run yet."""
    return Policy(world, world.pool)


@pytest.fixture(scope="session")
def best_pt(pod: Path, shared_world: World) -> Path:
    """A best.pt of plain ultralytics training, from random weights, on the anchor."""
    return plain_training(shared_world, pod)


@pytest.fixture(scope="session")
def base(best_pt: Path, shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The imported base, as a run document names it."""
    return imported(best_pt, shared_world, tmp_path_factory.mktemp("import"))


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket on a real S3 server, as a pod reaches it: all by environment."""
    # A file system that another module's server was reached by is remembered by its arguments, which are the same.
    S3FileSystem.clear_instance_cache()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "someone")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(params=["file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place to write to: a folder, and one in a bucket."""
    if request.param == "file":
        return (tmp_path / "with space").as_uri()
    bucket: str = request.getfixturevalue("s3")
    return join(bucket, tmp_path.name)


@pytest.fixture
def gate(policy: Policy, tmp_path: Path) -> Gate:
    """The third gate on a policy, with nothing captured yet."""
    return Gate(policy, Production(tmp_path / "production"))


@pytest.fixture
def full(gate: Gate) -> Gate:
    """Six documents of one page each."""
    gate.capture(*range(7000, 7006))
    return gate
