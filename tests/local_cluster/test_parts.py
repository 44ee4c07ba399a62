"""The pure parts: addresses, credentials, traces, image archives."""

import base64
import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_cluster import kubeconfig, network, node_config, oci, ports, preflight, traces
from local_cluster.control_planes import SERVICE_ADDRESS, SERVICE_RANGE
from local_cluster.errors import ClusterError
from local_cluster.settings import Settings

HOME = Path(__file__).resolve().parents[2] / "local-cluster"


def test_ports_handed_out_together_differ_and_are_below_the_ephemeral_range() -> None:
    free = ports.free_ports(50)
    assert len(set(free)) == 50
    assert all(ports.FIRST <= port <= ports.LAST < 30000 for port in free)


def test_nobody_is_given_a_port_that_somebody_else_was_just_given_and_has_not_bound_yet() -> None:
    """As many processes begin at once, each before the servers of the others listen."""
    draws = "from local_cluster.ports import free_ports\nfor _ in range(40): print(*free_ports(3), sep='\\n')"
    found_by = os.environ | {"PYTHONPATH": str(HOME / "src")}
    command = [sys.executable, "-c", draws]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=found_by) for _ in range(6)]
    given = [port for process in processes for port in process.communicate()[0].split()]
    assert len(set(given)) == len(given) == 6 * 40 * 3


@pytest.mark.parametrize("content", [b"", b"words", b"00001", b"99999"])
def test_ports_are_given_whatever_the_file_says_that_remembers_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = tmp_path / f"finetune-operator-ports-{os.getuid()}"
    place.write_bytes(content)
    first, second = ports.free_ports(2), ports.free_ports(2)
    assert all(ports.FIRST <= port <= ports.LAST for port in (*first, *second))
    assert not {*first} & {*second}
    place.unlink()
    place.symlink_to(tmp_path / "elsewhere")
    assert len(ports.free_ports(2)) == 2
    assert not (tmp_path / "elsewhere").exists(), "a link is not followed"


def test_the_api_servers_service_and_the_nodes_addresses_do_not_meet() -> None:
    pods, services, link = (IPv4Network(text) for text in (network.POD_RANGE, SERVICE_RANGE, "10.213.0.0/30"))
    assert not pods.overlaps(services)
    assert not pods.overlaps(link)
    assert str(services[1]) == SERVICE_ADDRESS


@given(st.ip_addresses(v=4, network="10.214.0.0/16"), st.integers(8, 32))
def test_a_foreign_route_over_the_services_is_found(address: object, length: int) -> None:
    routes = json.dumps([{"dst": str(IPv4Network(f"{address}/{length}", strict=False)), "dev": "tun0"}])
    assert network.taken_ranges(routes)


@pytest.mark.parametrize(
    "route",
    [
        {"dst": "default", "dev": "eth0"},
        {"dst": "192.168.1.0/24", "dev": "eth0"},
        {"dst": network.POD_RANGE, "dev": network.HOST_LINK},
    ],
)
def test_other_routes_and_the_nodes_own_are_no_obstacle(route: dict[str, str]) -> None:
    assert network.taken_ranges(json.dumps([route])) == []


def test_the_token_file_gives_every_user_its_groups() -> None:
    users = [kubeconfig.new_user("ann", "system:masters", "devs"), kubeconfig.new_user("system:kube-proxy")]
    rows = list(csv.reader(io.StringIO(kubeconfig.token_file(users))))
    assert [(row[1], row[3]) for row in rows] == [("ann", "system:masters,devs"), ("system:kube-proxy", "")]
    assert len({row[0] for row in rows}) == 2


def test_a_kubeconfig_names_one_context_with_its_authority_and_token() -> None:
    user = kubeconfig.new_user("ann")
    document = json.loads(kubeconfig.kubeconfig("https://h:1", b"PEM", user, "ctx"))
    assert document["current-context"] == document["contexts"][0]["name"] == "ctx"
    cluster = document["clusters"][0]["cluster"]
    assert (cluster["server"], base64.b64decode(cluster["certificate-authority-data"])) == ("https://h:1", b"PEM")
    assert document["users"][0]["user"] == {"token": user.token}


def test_every_file_of_the_node_is_below_its_state_folder() -> None:
    files = node_config.Files(Path("/state/node"))
    kubelet = json.loads(node_config.kubelet(files))
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{files.socket}"
    for key in ("podLogsDir", "volumePluginDir", "resolvConf"):
        assert kubelet[key].startswith("/state/node/")
    assert str(files.socket) in node_config.containerd(files)


def test_cpu_requests_become_weights_between_pods() -> None:
    kubelet = json.loads(node_config.kubelet(node_config.Files(Path("/state"))))
    assert kubelet["cgroupsPerQOS"] is True
    assert kubelet["cgroupRoot"] == f"/{node_config.CGROUP}"


def test_folders_that_were_missing_are_gone_again_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(traces, "COVERED", (f"{tmp_path}/there/new", f"{tmp_path}/a/b/c"))
    monkeypatch.setattr(traces, "TUNABLES", ())
    traces.record(tmp_path / "traces.json")
    assert (tmp_path / "a/b/c").is_dir()
    assert (tmp_path / "there/new").is_dir()
    traces.undo(tmp_path / "traces.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
    traces.undo(tmp_path / "traces.json")  # A second stop finds nothing to do.


def test_a_folder_that_somebody_began_to_use_is_left_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "COVERED", (f"{tmp_path}/lib",))
    monkeypatch.setattr(traces, "TUNABLES", ())
    traces.record(tmp_path / "traces.json")
    (tmp_path / "lib" / "theirs").write_text("data")
    traces.undo(tmp_path / "traces.json")
    assert (tmp_path / "lib" / "theirs").read_text() == "data"


def _v1_tree(root: Path) -> None:
    for controller in ("cpu", "cpuset", "memory", "unified"):
        (root / controller).mkdir(parents=True)
    (root / "cpuset" / "cpuset.cpus").write_text("0-1\n")
    (root / "cpuset" / "cpuset.mems").write_text("0\n")
    (root / "cpu,cpuacct").symlink_to("cpu")


def test_on_cgroup_v1_every_hierarchy_gets_the_nodes_cgroup_and_loses_it_again(tmp_path: Path) -> None:
    _v1_tree(tmp_path)
    traces.make_cgroups("node", tmp_path)
    assert (tmp_path / "cpuset/node/cpuset.cpus").read_text() == "0-1\n"
    for file in (tmp_path / "cpuset/node").iterdir():
        file.unlink()  # The kernel's own files go with their folder.
    (tmp_path / "memory/node/kubepods/pod1").mkdir(parents=True)
    traces.remove_cgroups("node", tmp_path)
    assert list(tmp_path.glob("*/node")) == []


def test_on_cgroup_v2_the_controllers_are_handed_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    traces.make_cgroups("node", tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory +pids"
    assert (tmp_path / "node").is_dir()


def test_a_cgroup_that_stays_is_named(tmp_path: Path) -> None:
    (tmp_path / "cpu/node").mkdir(parents=True)
    (tmp_path / "cpu/node/busy").write_text("a file keeps the folder, as a process keeps a cgroup")
    with pytest.raises(ClusterError, match=r"cgroups stay: .*cpu/node"):
        traces.remove_cgroups("node", tmp_path, seconds=0.1)


def test_mounts_are_found_below_a_folder_also_with_spaces_and_not_beside_it() -> None:
    mountinfo = (
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:5 / /state/node/my\\040volume rw - tmpfs x rw\n"
        "3 1 0:6 / /state/node2 rw - tmpfs x rw\n"
    )
    assert traces.mounts_below(Path("/state/node"), mountinfo) == ["/state/node/my volume"]


def test_an_image_archive_is_the_same_for_the_same_input_and_complete(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("pause"))
    for name in ("one.tar", "two.tar"):
        oci.write_archive(tmp_path / name, "localhost/x:1", layer, oci.Settings(entrypoint=("/pause",)))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:

        def blob(digest: str) -> bytes:
            member = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            return member.read()

        index = json.loads((archive.extractfile("index.json") or io.BytesIO()).read())
        manifest = json.loads(blob(index["manifests"][0]["digest"]))
        assert blob(manifest["layers"][0]["digest"]) == layer.read_bytes()
        config = json.loads(blob(manifest["config"]["digest"]))
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert len(config["history"]) == 1, "buildah puts no layer on an image that counts fewer entries than layers"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "localhost/x:1"


def test_a_disk_too_small_is_found_before_anything_starts(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", state=tmp_path / "state", home=HOME)
    problems = [finding.problem for finding in preflight.node_findings(settings, disk_gib=10.0**9)]
    assert [text for text in problems if "GiB free, 1e+09 are needed" in text] or "not root" in problems


def test_every_finding_is_told_at_once_with_its_remedy() -> None:
    findings = [preflight.Finding("not root", "sudo"), preflight.Finding("no disk", "free some")]
    with pytest.raises(ClusterError) as caught:
        preflight.require(findings)
    assert (caught.value.problem, caught.value.remedy) == ("not root; no disk", "sudo; free some")
    preflight.require([])
