"""The tools' pins decide what is built, and where it is found again."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cluster import tools
from local_cluster.errors import ClusterError
from local_cluster.settings import Settings

HOME = Path(__file__).resolve().parents[2] / "local-cluster"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Pins of the checkout, copied so that a test may change them."""
    shutil.copytree(HOME / "tools", tmp_path / "home" / "tools")
    return Settings(cache=tmp_path / "cache", state=tmp_path / "state", home=tmp_path / "home")


@given(st.lists(st.integers(0, 99), min_size=2, max_size=4))
def test_a_go_version_is_read_with_and_without_its_prefix(numbers: list[int]) -> None:
    text = ".".join(map(str, numbers))
    assert tools.parse_version(f"go{text}") == tools.parse_version(f"{text}\n") == tuple(numbers)


def test_a_go_that_prints_no_version_is_never_new_enough(settings: Settings) -> None:
    assert tools.parse_version("devel") < tools.needed_go(settings)


def test_every_tool_has_pins_with_checksums(settings: Settings) -> None:
    for tool in (*tools.TOOLS, tools.S3_SERVER, *tools.PROMETHEUS_TOOLS):
        pins = settings.home / "tools" / tool.module
        own_code = (pins / "main.go").exists()
        assert own_code or tool.package in (pins / "go.mod").read_text()
        assert own_code or (pins / "go.sum").read_text()


def test_the_s3_server_and_prometheus_are_built_by_name_alone() -> None:
    assert not {tools.S3_SERVER, *tools.PROMETHEUS_TOOLS} & set(tools.find_tools([]))
    assert tools.find_tools(["promtool", "prometheus"]) == tools.PROMETHEUS_TOOLS
    assert tools.find_tools(["versitygw"]) == (tools.S3_SERVER,)


def test_kubernetes_reports_the_version_that_is_pinned() -> None:
    flags = tools.linker_flags(tools.find_tools(["kubelet"])[0], "require k8s.io/kubernetes v1.36.3\n")
    assert "gitVersion=v1.36.3" in flags
    assert "gitMajor=1" in flags
    assert "gitMinor=36" in flags


def test_pins_that_name_no_version_are_refused_with_a_remedy() -> None:
    with pytest.raises(ClusterError, match="requires no k8s"):
        tools.required_version("module x\n", "k8s.io/kubernetes")


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_changed_pins_are_built_anew_and_others_are_not(settings: Settings, changed: str) -> None:
    etcd, helm = tools.find_tools(["etcd", "helm"])
    before = tools.bin_dir(settings, etcd), tools.bin_dir(settings, helm)
    with (settings.home / "tools" / "etcd" / changed).open("a") as pins:
        pins.write("// changed\n")
    assert tools.bin_dir(settings, etcd) != before[0]
    assert tools.bin_dir(settings, helm) == before[1]


def test_what_is_built_already_is_not_built_again(settings: Settings) -> None:
    (etcd,) = tools.find_tools(["etcd"])
    built = tools.bin_dir(settings, etcd) / "etcd"
    built.parent.mkdir(parents=True)
    built.write_text("built")
    said: list[str] = []
    assert tools.build(settings, ["etcd"], said.append) == (built,)
    assert said == []
    assert tools.tool_path(settings, "etcd") == built


def test_a_tool_that_is_not_built_says_how_to_build_it(settings: Settings) -> None:
    with pytest.raises(ClusterError) as caught:
        tools.tool_path(settings, "helm")
    assert "tools build helm" in caught.value.remedy


def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match="no tool called 'docker'") as caught:
        tools.find_tools(["docker"])
    assert "kubelet" in caught.value.remedy


def test_a_failed_build_leaves_nothing_that_looks_built(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = settings.home / "fail"
    broken.write_text("#!/bin/sh\necho no proxy >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(tools, "go_command", lambda *_: broken)
    with pytest.raises(ClusterError, match="no proxy") as caught:
        tools.build(settings, ["etcd"], lambda _: None)
    assert "GOPROXY" in caught.value.remedy
    (etcd,) = tools.find_tools(["etcd"])
    assert [path.name for path in tools.bin_dir(settings, etcd).iterdir()] == ["etcd.log"]
