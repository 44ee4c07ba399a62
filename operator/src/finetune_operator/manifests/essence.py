"""What of a pod decides what its trainer does: compared with what was asked for, whoever made the object.

A namespace editor can make Jobs and pods under any name, with any labels and any controller reference. What they
cannot do is change a pod template or a pod that is there: so a Job or a pod that runs what we would run is as good
as ours, and one that does not is nobody we listen to. API servers add defaults, and admission adds labels,
placement, sidecars, tokens: none of that is compared.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..api import names
from ..api.names import sha256_of
from ..api.value import canonical_json

Json = Mapping[str, Any]

FORM: Final = "v1"
"""Changes with what is compared: a fingerprint of another form says nothing about a Job."""

_DEFAULTED: Final = frozenset(
    ("apiVersion", "volumeMode", "type", "fsType", "cachingMode", "kind", "pool", "user", "keyring",
     "iscsiInterface", "storageMode", "divisor", "sizeLimit", "storage")
)  # fmt: skip
"""Texts of a volume or an environment variable that an API server fills in or writes another way (1024Mi as 1Gi)."""

_ADDED_ENVIRONMENT: Final = frozenset(
    ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_STS_REGIONAL_ENDPOINTS",
     "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AZURE_CLIENT_ID",
     "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "GOOGLE_CLOUD_PROJECT")
)  # fmt: skip
"""What cloud providers' admission adds to a pod with a workload identity. Others could load code or move storage."""

_TOKENS: Final = ("/var/run/secrets/", "/run/secrets/")
"""Where admission mounts tokens; nothing is loaded from there."""

_NAMESPACES: Final = ("hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace")


def fingerprint(job: Json) -> str:
    """Return a digest of what the Job's trainer is to do, and of the attempt that it says it is of."""
    spec = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    labels = (job.get("metadata") or {}).get("labels") or {}
    essence = {**_essence(spec), "nonce": labels.get(names.NONCE_LABEL, "")}
    return f"{FORM}:{sha256_of(canonical_json(essence))}"


def is_comparable(fingerprints: str) -> bool:
    """Tell whether this release can compare a Job with a fingerprint."""
    return fingerprints.startswith(f"{FORM}:")


def difference(pod_spec: Json, template_spec: Json) -> str | None:
    """Return what of a pod is not as the pod template of its Job says; None where it does what that says."""
    if pod_spec.get("ephemeralContainers"):
        return "it has ephemeral containers"
    pod, template = _essence(pod_spec), _essence(template_spec)
    theirs, ours = pod["trainer"], template["trainer"]
    for part in ("image", "command", "args", "workingDir", "terminationMessagePath", "envFrom", "hooks"):
        if theirs[part] != ours[part]:
            return f"{part} of container {names.TRAINER_CONTAINER!r} differs"
    return (
        _environment(theirs["env"], ours["env"])
        or _mounts(theirs["mounts"], ours["mounts"])
        or _volumes(pod["volumes"], template["volumes"])
        or _rest(pod, template)
    )


def _environment(theirs: Json, ours: Json) -> str | None:
    for name in sorted(ours.keys() | theirs.keys()):
        if name in ours and theirs.get(name) != ours[name]:
            return f"environment variable {name} differs"
        if name not in ours and name not in _ADDED_ENVIRONMENT:
            return f"environment variable {name} was added"
    return None


def _mounts(theirs: list[list[str]], ours: list[list[str]]) -> str | None:
    for mount in ours:
        if mount not in theirs:
            return f"the mount at {mount[0]} differs"
    for mount in theirs:
        if mount not in ours and not mount[0].startswith(_TOKENS):
            return f"a mount at {mount[0]} was added"
    return None


def _volumes(theirs: Json, ours: Json) -> str | None:
    return next((f"volume {name!r} differs" for name in sorted(ours) if theirs.get(name) != ours[name]), None)


def _rest(pod: Json, template: Json) -> str | None:
    neighbours = {str(n) for n in template["neighbours"]}
    for neighbour in pod["neighbours"]:
        if str(neighbour) not in neighbours:
            return f"container {neighbour['name']!r} has a volume of the trainer"
    for part in ("namespaces", "serviceAccount", "hostAliases", "nameservers"):
        if pod[part] != template[part]:
            return f"{part} differ" if part.endswith("s") else f"{part} differs"
    return None


def _essence(spec: Json) -> dict[str, Any]:
    containers = [c for c in spec.get("containers") or () if isinstance(c, Mapping)]
    trainer: Json = next((c for c in containers if c.get("name") == names.TRAINER_CONTAINER), {})
    mounted = {str(m.get("name")) for m in trainer.get("volumeMounts") or ()}
    volumes = {str(v.get("name")): v for v in spec.get("volumes") or ()}
    others = [c for c in (*(spec.get("initContainers") or ()), *containers) if c is not trainer]
    return {
        "trainer": _container(trainer),
        "volumes": {
            name: _leaves({k: v for k, v in volume.items() if k != "name"})
            for name, volume in volumes.items()
            if name in mounted
        },
        "neighbours": [
            {"name": str(c.get("name")), **{k: c.get(k) for k in ("image", "command", "args")}}
            for c in others
            if any(str(m.get("name")) in mounted for m in c.get("volumeMounts") or ())
        ],
        "namespaces": [name for name in _NAMESPACES if spec.get(name)],
        "serviceAccount": spec.get("serviceAccountName") or "default",
        "hostAliases": spec.get("hostAliases") or [],
        "nameservers": (spec.get("dnsConfig") or {}).get("nameservers") or [],
    }


def _container(container: Json) -> dict[str, Any]:
    return {
        **{part: container.get(part) or "" for part in ("image", "workingDir", "terminationMessagePath")},
        **{part: list(container.get(part) or ()) for part in ("command", "args")},
        "env": {
            str(e.get("name")): e.get("value") or _leaves(e.get("valueFrom") or {}) for e in container.get("env") or ()
        },
        "envFrom": [_leaves(source) for source in container.get("envFrom") or ()],
        "mounts": sorted(
            [str(m.get("mountPath")), str(m.get("name")), str(m.get("subPath") or ""), str(m.get("subPathExpr") or "")]
            for m in container.get("volumeMounts") or ()
        ),
        "hooks": list(_hooks(container)),
    }


def _hooks(container: Json) -> Iterator[list[str]]:
    """Yield the commands that run in the container beside its own."""
    lifecycle = container.get("lifecycle") or {}
    hooks = [lifecycle.get("postStart"), lifecycle.get("preStop")]
    hooks += [container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    for hook in hooks:
        if isinstance(hook, Mapping) and hook.get("exec"):
            yield list((hook["exec"] or {}).get("command") or ())


def _leaves(value: object) -> list[str]:
    """Return the paths of all texts in `value`, and of what it is made of, without what an API server fills in."""
    return sorted(_paths(value, ""))


def _paths(value: object, path: str) -> Iterator[str]:
    match value:
        case Mapping():
            for key, part in value.items():
                if key in _DEFAULTED:
                    continue
                if not path and isinstance(part, Mapping):
                    yield f".{key}"
                yield from _paths(part, f"{path}.{key}")
        case list() | tuple():
            for number, part in enumerate(value):
                yield from _paths(part, f"{path}[{number}]")
        case str() if value:
            yield f"{path}={value}"
        case _:
            pass
