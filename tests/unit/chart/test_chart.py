"""What the chart installs: the CRDs as they are, exactly the rights that the operator uses, a restricted pod."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_operator.cluster.prometheus import Address
from finetune_operator.cluster.rbac import RULES
from finetune_operator.controller.config import configure
from house.chart import CHART, Refused, Render
from house.crds import crds
from house.pages import DOCS, blocks_of

Manifest = dict[str, Any]
Rights = dict[tuple[str, str], frozenset[str]]

CLUSTER_WIDE: Rights = {
    ("", "namespaces"): frozenset(("list", "watch")),
    ("apiextensions.k8s.io", "customresourcedefinitions"): frozenset(("list", "watch")),
}


def _of_kind(manifests: list[Manifest], kind: str) -> Iterator[Manifest]:
    return (manifest for manifest in manifests if manifest["kind"] == kind)


def _the(manifests: list[Manifest], kind: str) -> Manifest:
    (only,) = _of_kind(manifests, kind)
    return only


def _rights(role: Manifest) -> Rights:
    rights: dict[tuple[str, str], frozenset[str]] = {}
    for rule in role["rules"]:
        assert "resourceNames" not in rule
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                rights[group, resource] = rights.get((group, resource), frozenset()) | frozenset(rule["verbs"])
    return rights


def _pod(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = _the(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def _env(manifests: list[Manifest]) -> dict[str, Any]:
    (container,) = _pod(manifests)["containers"]
    return {item["name"]: item.get("value") for item in container["env"]}


def test_the_crds_in_the_chart_are_those_of_crds() -> None:
    copies = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}
    assert copies == {crd.path.name: crd.path.read_bytes() for crd in crds().values()}, "run: make format"


def test_the_rendered_crds_are_kept_on_uninstall_and_from_pruning_and_otherwise_unchanged(render: Render) -> None:
    rendered = {manifest["metadata"]["name"]: manifest for manifest in _of_kind(render(), "CustomResourceDefinition")}
    for crd in crds().values():
        manifest = rendered.pop(crd.manifest["metadata"]["name"])
        assert manifest["metadata"].pop("annotations") == {
            "helm.sh/resource-policy": "keep",
            "argocd.argoproj.io/sync-options": "Prune=false",
        }
        assert manifest == crd.manifest
    assert rendered == {}


def test_crds_can_be_left_out_and_left_to_helm(render: Render) -> None:
    assert not list(_of_kind(render("crds.install=false"), "CustomResourceDefinition"))
    for manifest in _of_kind(render("crds.keep=false"), "CustomResourceDefinition"):
        assert "annotations" not in manifest["metadata"]


def test_by_default_the_operator_may_do_exactly_what_it_does_and_only_in_the_release_namespace(render: Render) -> None:
    manifests = render("rbac.aggregate=false")
    role = _the(manifests, "Role")
    assert role["metadata"]["namespace"] == "ml"
    assert _rights(role) == RULES
    assert not list(_of_kind(manifests, "ClusterRole"))
    assert _env(manifests)["FINETUNE_NAMESPACES"] == "ml"


def test_each_watched_namespace_has_a_role_bound_to_the_one_account(render: Render) -> None:
    manifests = render("watchNamespaces={a,b}")
    account = _the(manifests, "ServiceAccount")["metadata"]
    for kind in ("Role", "RoleBinding"):
        assert [manifest["metadata"]["namespace"] for manifest in _of_kind(manifests, kind)] == ["a", "b"]
    for binding in _of_kind(manifests, "RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["name"], "namespace": "ml"}]
    assert _env(manifests)["FINETUNE_NAMESPACES"] == "a,b"


@pytest.mark.parametrize(
    ("settings", "watched"),
    [
        (("watch.a=true", "watch.b=true"), "a,b"),
        (("watchNamespaces={a}", "watch.b=true"), "a,b"),
        (("watchNamespaces={a,b}", "watch.b=false"), "a"),
        (("watchNamespaces={a}", "watch.a=true"), "a"),
        (("watch.a=false",), "ml"),
    ],
)
def test_a_namespace_joins_and_leaves_without_naming_the_others(
    render: Render, settings: tuple[str, ...], watched: str
) -> None:
    manifests = render(*settings)
    assert _env(manifests)["FINETUNE_NAMESPACES"] == watched
    for kind in ("Role", "RoleBinding"):
        assert ",".join(manifest["metadata"]["namespace"] for manifest in _of_kind(manifests, kind)) == watched


def test_cluster_wide_it_may_also_follow_namespaces_and_kinds(render: Render) -> None:
    manifests = render("clusterWide=true", "rbac.aggregate=false")
    assert _rights(_the(manifests, "ClusterRole")) == {**RULES, **CLUSTER_WIDE}
    assert not list(_of_kind(manifests, "Role"))
    assert _env(manifests)["FINETUNE_NAMESPACES"] == ""


@pytest.mark.parametrize("mode", ["clusterWide=false", "clusterWide=true"])
def test_no_role_has_a_wildcard_or_touches_secrets(render: Render, mode: str) -> None:
    manifests = render(mode)
    for role in (*_of_kind(manifests, "Role"), *_of_kind(manifests, "ClusterRole")):
        for (group, resource), verbs in _rights(role).items():
            assert "*" not in {group, resource, *verbs}
            assert resource not in {"secrets", "pods/exec", "serviceaccounts/token"}
            assert not verbs & {"escalate", "bind", "impersonate", "deletecollection"}


def test_editors_can_create_runs_but_not_say_what_goes_live(render: Render) -> None:
    roles = {role["metadata"]["name"]: _rights(role) for role in _of_kind(render(), "ClusterRole")}
    assert set(roles["r-finetune-operator-edit"]) == {("finetune-operator.io", "finetuneruns")}
    for resource in ("finetunepolicies", "modelversions", "modelpromotions"):
        assert "create" in roles["r-finetune-operator-admin"]["finetune-operator.io", resource]
        assert roles["r-finetune-operator-view"]["finetune-operator.io", resource] == {"get", "list", "watch"}


def test_the_pod_passes_the_restricted_standard(render: Render) -> None:
    pod = _pod(render())
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all({"emptyDir"} == volume.keys() - {"name"} for volume in pod["volumes"])
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert container["resources"]["limits"]["memory"]


def test_never_two_operators_at_a_time(render: Render) -> None:
    spec = _the(render(), "Deployment")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_probes_and_metrics_are_at_the_contract_s_ports(render: Render) -> None:
    manifests = render()
    (container,) = _pod(manifests)["containers"]
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    env = _env(manifests)
    assert ports == {"probes": env["FINETUNE_PROBE_PORT"], "metrics": env["FINETUNE_METRICS_PORT"]}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "probes"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "probes"}
    service = _the(manifests, "Service")["spec"]
    assert service["ports"][0]["targetPort"] == "metrics"
    assert (
        service["selector"].items() <= _the(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_image_is_the_chart_s_version_unless_a_tag_or_digest_is_given(render: Render) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    digest = "sha256:" + "a" * 64
    for settings, image in (
        ((), f"finetune-operator:{version}"),
        (("image.repository=mine", "image.tag=v7"), "mine:v7"),
        (("image.tag=v7", f"image.digest={digest}"), f"finetune-operator@{digest}"),
    ):
        assert _pod(render(*settings))["containers"][0]["image"] == image


def test_a_mounted_environment_can_stand_in_for_the_image(render: Render) -> None:
    manifests = render(
        "command={/venv/bin/python,-m,finetune_operator}",
        "extraEnv[0].name=PYTHONPATH,extraEnv[0].value=/code",
        "extraVolumes[0].name=venv,extraVolumes[0].persistentVolumeClaim.claimName=venv",
        "extraVolumeMounts[0].name=venv,extraVolumeMounts[0].mountPath=/venv",
    )
    pod = _pod(manifests)
    (container,) = pod["containers"]
    assert container["command"] == ["/venv/bin/python", "-m", "finetune_operator"]
    assert _env(manifests)["PYTHONPATH"] == "/code"
    assert {"name": "venv", "mountPath": "/venv"} in container["volumeMounts"]
    assert {"name": "venv", "persistentVolumeClaim": {"claimName": "venv"}} in pod["volumes"]


FILES = ("prometheus.tokenFile=/secret/token", "prometheus.headersFile=/secret/headers", "prometheus.caFile=/ca.crt")


def test_nobody_is_asked_for_alerts_unless_the_platform_names_a_prometheus(render: Render) -> None:
    assert [name for name in _env(render()) if "PROMETHEUS" in name] == []
    for setting in FILES:
        with pytest.raises(Refused, match=r"prometheus\.url is needed"):
            render(setting)


def test_the_prometheus_reaches_the_operator_as_an_address_and_paths(render: Render) -> None:
    env = {name: str(value) for name, value in _env(render("prometheus.url=https://prom:9090/x", *FILES)).items()}
    assert configure(env).prometheus == Address(
        url="https://prom:9090/x",
        ca_file=Path("/ca.crt"),
        token_file=Path("/secret/token"),
        headers_file=Path("/secret/headers"),
    )
    bare = {name: str(value) for name, value in _env(render("prometheus.url=http://prom")).items()}
    assert configure(bare).prometheus == Address(url="http://prom")


REFUSED = {
    "prometheus.url=prom:9090": "url",
    "prometheus.url=http://user:word@prom": "url",
    "prometheus.url=http://prom/?a=b": "url",
    "prometheus.tokenFile=token": "tokenFile",
    "prometheus.token=abc": "token",
    "clusterWide=yes": "clusterWide",
    "clusterwide=true": "clusterwide",
    "image.repository=": "repository",
    "image.digest=latest": "digest",
    "logLevel=loud": "logLevel",
    "watchNamespaces={UPPER}": "watchNamespaces",
    "watch.UPPER=true": "watch",
    "watch.a=yes": "watch",
    "replicas=2": "replicas",
    "terminationGracePeriodSeconds=0": "terminationGracePeriodSeconds",
}


@pytest.mark.parametrize(("setting", "field"), REFUSED.items())
def test_a_bad_value_is_refused_by_name(render: Render, setting: str, field: str) -> None:
    with pytest.raises(Refused, match=field):
        render(setting)


def test_contradictions_are_refused_with_a_remedy(render: Render) -> None:
    for setting in ("watchNamespaces={a}", "watch.a=true"):
        with pytest.raises(Refused, match="leave watchNamespaces and watch empty"):
            render("clusterWide=true", setting)
    with pytest.raises(Refused, match=r"serviceAccount\.name is needed"):
        render("serviceAccount.create=false")


def _values_of_pages() -> dict[str, Manifest]:
    """The values of the chart that pages show, and those in the Argo CD Application, by page and line."""
    known, shown = yaml.safe_load((CHART / "values.yaml").read_text()), {}
    for block in blocks_of(sorted((DOCS / "operate").glob("*.md"))):
        parsed = yaml.safe_load(block.text) if block.language == "yaml" else None
        if isinstance(parsed, dict) and parsed.get("kind") == "Application":
            parsed = parsed["spec"]["source"]["helm"]["valuesObject"]
        if isinstance(parsed, dict) and parsed.keys() <= known.keys():
            shown[f"{block.page} line {block.line}"] = parsed
    return shown


SHOWN = _values_of_pages()


def test_pages_of_three_kinds_show_values() -> None:
    assert {name.split()[0].split("/")[-1] for name in SHOWN} == {"alerts.md", "git.md", "prometheus.md"}


@pytest.mark.parametrize("name", SHOWN)
def test_values_that_a_page_shows_are_taken_and_set_something(helm: str, render: Render, name: str) -> None:
    words = [helm, "template", "r", str(CHART), "--namespace", "ml", "--values", "-"]
    done = subprocess.run(words, input=yaml.safe_dump(SHOWN[name]), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(filter(None, yaml.load_all(done.stdout, yaml.CSafeLoader))) != render()


def test_helm_lints_the_chart(helm: str) -> None:
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
