"""The manifests of `make demo-loop` on a real API server: what its patches make of Deployment and policy."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from finetune_demo import loop, render
from finetune_demo.cluster import Cluster
from finetune_demo.console import Console
from finetune_demo.kube import Kube
from finetune_demo.settings import ROOT, Settings
from finetune_demo.story import Story, load_recipe
from house.api_server import ApiServer
from house.planes import install_crds
from local_cluster import ControlPlane
from local_cluster.settings import settings_from
from local_cluster.tools import build

pytestmark = pytest.mark.control_plane
MOUNTED = render.Images(operator="base", trainer="base", server="base", mounted=True)
BAKED = render.Images(operator="o:1", trainer="t:1", server="s:1", mounted=False)


@pytest.mark.parametrize("images", [MOUNTED, pytest.param(BAKED, marks=pytest.mark.deep)], ids=["mounted", "baked"])
def test_capture_and_triggers_come_beside_what_is_there(
    plane: ControlPlane, tmp_path: Path, images: render.Images
) -> None:
    kube = _kube(plane)
    settings = Settings(ROOT, tmp_path, tmp_path, None)
    tale = Story(kube.console, settings, Cluster(kube, images), load_recipe(kube.console, settings))
    tale.fill("10.0.0.1")
    with closing(ApiServer(plane)) as server:
        install_crds(server)
    for name in ("10-namespaces.yaml", "40-templates.yaml", "50-serving.yaml", "60-policy.yaml"):
        tale.apply(name)
    before = _found(kube)
    loop.Loop(tale).turn_on()
    after = _found(kube)
    assert _env(before).items() <= _env(after).items(), "its own variables stay"
    (place,) = {_env(after)["FINETUNE_CAPTURE_URI"], after["policy"]["spec"]["data"]["production"]["uri"]}
    assert f"{place}/invoices/invoice-detector" == loop.CAPTURED
    for spec in (after["deployment"]["spec"]["template"]["spec"], after["template"]["template"]["spec"]):
        container = spec["containers"][0]
        mount = next(m for m in container["volumeMounts"] if f"file://{m['mountPath']}" == place)
        volume = next(v for v in spec["volumes"] if v["name"] == mount["name"])
        assert not mount.get("readOnly")
        assert not volume["persistentVolumeClaim"].get("readOnly")
        others = [m for m in container["volumeMounts"] if m["name"] == "data" and m is not mount]
        assert [m.get("readOnly") for m in others] == [True] * len(others), "nothing else of the data can be written"
    spec = after["policy"]["spec"]
    assert spec["data"]["pool"] == before["policy"]["spec"]["data"]["pool"] == {"uri": loop.POOL}
    assert spec["podTemplates"] == {"train": "trainer", "cpu": "trainer", "scan": "scan"}
    assert spec["triggers"]["volume"] == {"newSamples": 50}
    loop.Loop(tale).go_by_alerts()
    triggers = _found(kube)["policy"]["spec"]["triggers"]
    assert triggers.keys() == spec["triggers"].keys() - {"volume"} | {"performance"}, "an alert makes the run instead"
    assert triggers["performance"]["newSamples"] == 50
    kube.kubectl("delete", "namespace", "invoices", "finetune-system")
    kube.kubectl("delete", "-f", str(ROOT / "crds"))
    kube.wait("the namespaces are gone", lambda: kube.kubectl("get", "ns").find("invoices") < 0, 180)


def _kube(plane: ControlPlane) -> Kube:
    (kubectl,) = build(settings_from({}), ["kubectl"])
    return Kube(Console(), (str(kubectl), "--kubeconfig", str(plane.kubeconfig)), ())


def _found(kube: Kube) -> dict[str, dict[str, Any]]:
    kinds = {"deployment": "invoice-detector", "policy": "invoice-fields", "template": "scan"}
    names = {"policy": "finetunepolicy", "template": "podtemplate"}
    return {kind: kube.get(names.get(kind, kind), name) or {} for kind, name in kinds.items()}


def _env(manifests: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the variables of the container that serves."""
    (container,) = manifests["deployment"]["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e.get("value") or json.dumps(e["valueFrom"]) for e in container["env"]}
