"""The page about own data: its manifests fit the cluster and the examples, its blocks lead to a live fine-tune.

Here a script plays kubelet, trainer and server on a real API server; `make e2e` executes the same page for real.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv4Network
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from e2e.guide import Machine, record_command, write_commands
from e2e.own_data import BLOCKS, NAMES, check_story
from finetune_operator.cluster.kinds import Kind
from house.api_server import ApiServer
from house.crds import ROOT, crds
from house.pages import manifests, runnable, session, unknown_fields
from house.planes import plane_with_crds
from integration.operator.node import ScriptedNode
from integration.operator.world import Operator
from local_cluster import ControlPlane, images, node_config, tools
from local_cluster.control_planes import SERVICE_RANGE
from local_cluster.settings import settings_from
from simulation.stories import stage

MANIFESTS = ROOT / "examples" / "manifests"
OVERLAY = MANIFESTS / "local"
CLASSES = ["number", "date"]

Object = dict[str, Any]


def _documents(text: str) -> dict[str, Object]:
    items = [item for item in yaml.safe_load_all(text) if item]
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in items}


@pytest.fixture(scope="module")
def kubectl() -> str:
    (path,) = tools.build(settings_from({}), ["kubectl"])
    return str(path)


@pytest.fixture(scope="module")
def s3() -> dict[str, Object]:
    return _documents((OVERLAY / "s3.yaml").read_text())


def test_the_bucket_s_image_is_the_one_that_is_built(s3: dict[str, Object]) -> None:
    go_mod = (ROOT / "local-cluster" / "tools" / "s3" / "go.mod").read_text()
    (container,) = s3["Deployment/s3"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == images.s3_image(tools.required_version(go_mod, "github.com/versity/versitygw"))


def test_prometheus_image_is_the_one_that_is_built() -> None:
    go_mod = (ROOT / "local-cluster" / "tools" / "prometheus" / "go.mod").read_text()
    manifest = _documents((OVERLAY / "prometheus.yaml").read_text())
    (container,) = manifest["Deployment/prometheus"]["spec"]["template"]["spec"]["containers"]
    version = tools.required_version(go_mod, "github.com/prometheus/prometheus")
    assert container["image"] == images.prometheus_image(version)


def test_the_bucket_s_address_is_the_service_s_and_is_never_given_to_another(s3: dict[str, Object]) -> None:
    endpoint = urlsplit(s3["Secret/artifact-storage"]["stringData"]["AWS_ENDPOINT_URL"])
    service = s3["Service/s3"]["spec"]
    assert (endpoint.hostname, endpoint.port) == (service["clusterIP"], service["ports"][0]["port"])
    # Kubernetes gives the first 256 addresses of a range of this size to those alone that ask for them.
    assert IPv4Address(service["clusterIP"]) in next(IPv4Network(SERVICE_RANGE).subnets(new_prefix=24))


def test_the_bucket_s_volume_is_on_the_node(s3: dict[str, Object]) -> None:
    volume = s3["PersistentVolume/finetune-s3"]["spec"]
    (term,) = volume["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == [node_config.NODE_NAME]
    shell = "".join(block.text for block in BLOCKS)
    assert f"s|{volume['local']['path']}|" in shell, "the page puts its own folder there"


def test_the_overlay_changes_images_replicas_and_requests_alone(kubectl: str) -> None:
    words = [kubectl, "kustomize", "--load-restrictor=LoadRestrictionsNone", str(OVERLAY)]
    rendered = _documents(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    sources = [(MANIFESTS / name).read_text() for name in ("podtemplates.yaml", "deployment.yaml")]
    examples = _documents("\n---\n".join(sources))
    assert rendered.keys() == examples.keys() - {"PodTemplate/gpu-trainer"}
    assert {name: _without_sizes(item) for name, item in rendered.items()} == {
        name: _without_sizes(examples[name]) for name in rendered
    }
    for name in ("PodTemplate/cpu-trainer", "Deployment/invoice-detector"):
        for container in _containers(rendered[name]):
            assert container["image"].startswith("localhost/finetune-")
            assert not container["resources"]["requests"]["cpu"].isdigit(), "whole cores are not to spare"


def _pod(item: Object) -> Object:
    template: Object = item["template"] if item["kind"] == "PodTemplate" else item["spec"]["template"]
    pod: Object = template["spec"]
    return pod


def _containers(item: Object) -> Iterator[Object]:
    return chain(_pod(item).get("initContainers", ()), _pod(item)["containers"])


def _without_sizes(item: Object) -> Object:
    item = copy.deepcopy(item)
    if item["kind"] == "Service":
        return item
    item.get("spec", {}).pop("replicas", None)
    _pod(item).pop("enableServiceLinks", None)
    for container in _containers(item):
        container["image"] = container["image"].removeprefix("localhost/")
        for name in ("imagePullPolicy", "resources"):
            container.pop(name, None)
    return item


def test_every_block_parses_and_most_are_run() -> None:
    shell = [block for block in BLOCKS if block.language == "sh"]
    done = subprocess.run(["bash", "-n"], input=session(shell), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(runnable(BLOCKS)) >= 4 * sum(block.not_run is not None for block in shell)


def test_every_object_on_the_page_has_only_fields_that_exist() -> None:
    applied = list(manifests(BLOCKS))
    assert {item["kind"] for _, item in applied} == {"FineTunePolicy", "FineTuneRun", "ModelPromotion"}
    bad = {b.line: unknown_fields(item["spec"], crds()[item["kind"]].spec, "spec") for b, item in applied}
    assert {line: fields for line, fields in bad.items() if fields} == {}


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with plane_with_crds("test-guide") as plane:
        yield plane


@pytest.fixture
def operator(plane: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(plane.kubeconfig, tmp_path / "operator.log")
    operator.start()
    yield operator
    operator.close()


@pytest.mark.control_plane
def test_the_page_leads_to_a_live_fine_tune(
    operator: Operator, plane: ControlPlane, kubectl: str, tmp_path: Path
) -> None:
    """Renamed throughout: bucket and overlay are admitted under restricted Pod Security, waits and patch end well."""
    reader = _machine(f"{kubectl} --kubeconfig={plane.kubeconfig}", tmp_path)
    with ScriptedNode(ApiServer(plane), NAMES["NAMESPACE"]), closing(ApiServer(plane)) as server:
        reader.run(session(runnable(BLOCKS), after_each=str(reader.record)), 240)
        left = server.request("GET", "/api/v1/persistentvolumes").body["items"]
    check_story(reader.states())
    assert left == []


def _machine(kubectl: str, folder: Path) -> Machine:
    """A machine on which images, chart and uploads do nothing, and `import` prints a scripted base."""
    records, commands, data = folder / "records", folder / "bin", folder / "data"
    records.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    # The page watches a new version for half a minute.
    shorter = "sed 's/watch: {seconds: 30}/watch: {seconds: 2}/'"
    applies = f'[[ " $* " != *" apply -f - "* ]] || exec {kubectl} "$@" < <({shorter})'
    acts = f'[[ $1 == kubectl ]] || exit 0\nshift\n{applies}\nexec {kubectl} "$@"'
    write_commands(folder / "local-cluster", {"cluster": acts})
    base = f"[[ $1 != import ]] || cat <<'BASE'\n{_base()}\nBASE"
    write_commands(folder / "scripts", {"trainer": base, "environment": f"echo {commands}/uv"})
    downloads = 'target=${@: -1}\n[[ $target != *.onnx ]] || touch "$target"'
    write_commands(commands, {"uv": downloads, "curl": ":", "record": record_command(kubectl, records)})
    for name in ("anchor/images/train", "anchor/images/val", "verified/images"):
        (data / name).mkdir(parents=True)
    (data / "verified" / "images" / "page.jpg").touch()
    path = f"{commands}:{Path(sys.executable).parent}:/usr/bin:/bin"
    variables = NAMES | {"PATH": path, "DATA": str(data), "CLASSES": ", ".join(CLASSES), "IMAGE_SIZE": "64"}
    return Machine(variables, commands / "record", records, folder)


def _base() -> str:
    """The stories' base under the page's names."""
    base = next(item for kind, item in stage() if kind is Kind.MODEL_VERSION)
    base["metadata"] |= {"namespace": NAMES["NAMESPACE"], "name": f"{NAMES['MODEL']}-base-v1"}
    serving = {"imageSize": 64, "confidence": "0.25"}
    base["spec"] |= {"model": NAMES["MODEL"], "classes": CLASSES, "serving": serving}
    return json.dumps(base)
