"""Bad input gets one line that says what is wrong, one that mends it, and exit status 1."""

from pathlib import Path

import pytest

from local_cluster import cli, control_planes
from local_cluster.errors import ClusterError
from local_cluster.settings import Settings, default_state, own, settings_from


def test_folders_come_from_the_environment() -> None:
    settings = settings_from({"FINETUNE_CACHE": "/c", "FINETUNE_STATE": "/s"})
    assert (settings.cache, settings.node_state, settings.control_plane_state("a")) == (
        Path("/c"),
        Path("/s/node"),
        Path("/s/control-planes/a"),
    )


def test_without_an_environment_the_cache_is_below_home_and_users_do_not_share_state() -> None:
    assert settings_from({"HOME": "/home/ann"}).cache == Path("/home/ann/.cache/finetune-operator")
    assert default_state(1000) != default_state(0)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FINETUNE_CACHE", "cache", "not an absolute path"),
        ("FINETUNE_STATE", "./state", "not an absolute path"),
        ("FINETUNE_STATE", "/" + "a" * 60, "too long for Unix sockets"),
    ],
)
def test_a_folder_that_cannot_work_is_refused(variable: str, value: str, says: str) -> None:
    with pytest.raises(ClusterError, match=says) as caught:
        settings_from({variable: value})
    assert variable in caught.value.remedy


def test_a_state_folder_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "victim")
    with pytest.raises(ClusterError, match="belongs to another user"):
        own(tmp_path / "state")


def test_a_state_folder_of_ours_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    own(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a/../b", "x" * 41])
def test_a_name_that_would_not_work_as_a_folder_and_context_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a control plane"):
        control_planes.check_name(name)


@pytest.mark.parametrize("name", ["a", "a-1", "x" * 40])
def test_a_plain_name_is_taken(name: str) -> None:
    assert control_planes.check_name(name) == name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tools", "build", "docker"], "no tool called 'docker'"),
        (["control-plane", "up", "Not_A_Name"], "cannot name a control plane"),
        (["image", "import", "/nowhere.tar"], "no image archive /nowhere.tar"),
        (["image", "build", "/nowhere", "/", "a:1", "--build-arg", "A"], "--build-arg A has no value"),
        (["image", "build", "/nowhere", "/", "a:1"], "the Dockerfile /nowhere does not exist"),
        (["image", "s3"], "the node is not running"),
        (["image", "prometheus"], "the node is not running"),
    ],
)
def test_a_bad_command_says_what_and_how_to_mend_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    environ = {"FINETUNE_CACHE": str(tmp_path), "FINETUNE_STATE": "/tmp/finetune-test-none"}
    assert cli.main(arguments, environ) == 1
    printed = capsys.readouterr().err
    assert says in printed
    assert "remedy: " in printed


def test_the_node_is_told_absent_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["node", "status"], {"FINETUNE_STATE": "/tmp/finetune-test-none"}) == 1
    assert capsys.readouterr().out.strip() == "absent"


def test_stopping_a_control_plane_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    control_planes.down(Settings(tmp_path, tmp_path, tmp_path), "never-started")
