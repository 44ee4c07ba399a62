"""What of a pod decides what its trainer does: compared with what was asked for, whoever made the object.

A namespace editor can make Jobs and pods under any name, with any labels and any controller reference. What they
cannot do is change a pod template or a pod that is there: so a Job or a pod that runs what we would run is as good
as ours, and one that does not is nobody we listen to. API servers add defaults, and admission adds labels,
placement, sidecars, tokens: none of that is compared.
"""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..api import names
from ..api.names import sha256_of
from ..api.value import canonical_json
from ..decide.text import plain

Json = Mapping[str, Any]

FORM: Final = "v1"
"""Changes with what is compared: a fingerprint of another form says nothing about a Job."""

_REWRITTEN: Final = frozenset(("divisor", "sizeLimit", "storage", "defaultMode", "expirationSeconds", "pullPolicy"))
"""Parts of a volume or an environment variable that an API server writes another way (1024Mi as 1Gi), or fills in."""

_DEFAULTS: Final[Mapping[str, frozenset[str]]] = {
    "apiVersion": frozenset(("v1",)),
    "volumeMode": frozenset(("Filesystem",)),
    "type": frozenset(("",)),
    "fsType": frozenset(("ext4", "xfs")),
    "cachingMode": frozenset(("ReadWrite",)),
    "kind": frozenset(("Shared",)),
    "pool": frozenset(("rbd",)),
    "user": frozenset(("admin",)),
    "keyring": frozenset(("/etc/ceph/keyring",)),
    "iscsiInterface": frozenset(("default",)),
    "storageMode": frozenset(("ThinProvisioned",)),
}
"""What an API server fills in where nothing is said; said otherwise it is another volume."""

_FREE: Final = frozenset(("volumeAttributes", "options"))
"""Words for a storage driver, under names of its own: no API server fills any in."""

_ADDED_ENVIRONMENT: Final = frozenset(
    ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_STS_REGIONAL_ENDPOINTS",
     "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AZURE_CLIENT_ID",
     "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "GOOGLE_CLOUD_PROJECT")
)  # fmt: skip
"""What cloud providers' admission adds to a pod with a workload identity. Others could load code or move storage."""

_TOKENS: Final = ("/var/run/secrets/", "/run/secrets/")
"""Where admission mounts tokens; nothing is loaded from there."""

_NAMESPACES: Final = ("hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace")
_ALIKE: Final = ("image", "command", "args", "workingDir", "terminationMessagePath", "envFrom", "hooks", "runs")
"""Parts of a container to which admission adds nothing."""


def fingerprint(job: Json) -> str:
    """Return a digest of what the Job's trainer is to do, and of the attempt that it says it is of."""
    spec = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    labels = marks(job)
    essence = {**_essence(spec, _shared(spec)), "nonce": labels.get(names.NONCE_LABEL, "")}
    return f"{FORM}:{sha256_of(canonical_json(essence))}"


def marks(job: Json) -> Mapping[str, str]:
    """Return the labels that say which attempt a Job is of: of its pod template, which does not change once it ran."""
    template = (((job.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels") or {}
    labels: Mapping[str, str] = (job.get("metadata") or {}).get("labels") or {}
    return template if names.STEP_LABEL in template else labels


def compared(spec: Json) -> frozenset[str]:
    """Return the names of the containers that are compared: the trainer, and who can change what it reads or does."""
    return frozenset(_essence(spec, _shared(spec))["containers"])


def difference(pod_spec: Json, template_spec: Json) -> str | None:
    """Return what of a pod is not as the pod template of its Job says; None where it does what that says."""
    if pod_spec.get("ephemeralContainers"):
        return "it has ephemeral containers"
    # Tokens that admission mounts into every container are no volumes of the trainer's own.
    mounted = _shared(template_spec)
    pod, template = _essence(pod_spec, mounted), _essence(template_spec, mounted)
    return (
        _containers(pod["containers"], template["containers"])
        or _volumes(pod["volumes"], template["volumes"])
        or _rest(pod, template)
    )


def additions(pod_spec: Json, template_spec: Json) -> str:
    """Return what a pod has beside what the pod template of its Job says, in a few words; empty where it is nothing."""
    asked = {str(c.get("name")) for c in _all(template_spec)}
    said = [f"container {plain(str(c.get('name')))}" for c in _all(pod_spec) if str(c.get("name")) not in asked]
    theirs, ours = _trainer(pod_spec), _trainer(template_spec)
    for part, key, words in (("env", "name", "variable"), ("volumeMounts", "mountPath", "mount")):
        known = {entry.get(key) for entry in ours.get(part) or ()}
        said += [f"{words} {plain(str(e.get(key)))}" for e in theirs.get(part) or () if e.get(key) not in known]
    return f"admission added {', '.join(said)}" if said else ""


def _containers(theirs: Json, ours: Json) -> str | None:
    """Compare the trainer, and those that share a volume or processes with it: what they leave it reads, or is."""
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours:
            return f"container {name!r} has a volume of the trainer, or sees its processes"
        if name not in theirs:
            return f"container {name!r} is missing"
        why = _container_differs(theirs[name], ours[name])
        if why is not None:
            return f"{why} (container {name!r})"
    return None


def _container_differs(theirs: Json, ours: Json) -> str | None:
    for part in _ALIKE:
        if theirs[part] != ours[part]:
            return f"{part} differs"
    return _environment(theirs["env"], ours["env"]) or _mounts(theirs["mounts"], ours["mounts"])


def _environment(theirs: list[list[Any]], ours: list[list[Any]]) -> str | None:
    """Compare in order: of two with one name the later counts, and a value can quote an earlier one."""
    known = {name for name, _ in ours}
    for name, _ in theirs:
        if name not in known and name not in _ADDED_ENVIRONMENT:
            return f"environment variable {plain(name)} was added"
    kept = [variable for variable in theirs if variable[0] in known]
    if kept == ours:
        return None
    pairs = zip((*kept, None), (*ours, None), strict=False)
    name = next((a or b or ("",))[0] for a, b in pairs if a != b)
    return f"environment variable {plain(name)} differs"


def _mounts(theirs: list[list[str]], ours: list[list[str]]) -> str | None:
    for mount in ours:
        if mount not in theirs:
            return f"the mount at {plain(mount[0])} differs"
    for mount in theirs:
        if mount not in ours and not _is_token(mount[0], [place for place, *_ in ours]):
            return f"a mount at {plain(mount[0])} was added"
    return None


def _is_token(place: str, ours: list[str]) -> bool:
    """Tell whether admission may mount something there: where tokens lie, and neither over nor in what is ours."""
    return place.startswith(_TOKENS) and not any(_within(place, mine) or _within(mine, place) for mine in ours)


def _within(place: str, folder: str) -> bool:
    # In most images /var/run is a link to /run, and two slashes at the beginning are one.
    place, folder = (f"/{path.lstrip('/')}".removeprefix("/var") for path in (place, folder))
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def _volumes(theirs: Json, ours: Json) -> str | None:
    return next((f"volume {name!r} differs" for name in sorted(ours) if theirs.get(name) != ours[name]), None)


def _rest(pod: Json, template: Json) -> str | None:
    for part in template.keys() - {"containers", "volumes"}:
        if pod[part] != template[part]:
            return f"{part} of the pod differs"
    return None


def _all(spec: Json) -> Iterator[Json]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _trainer(spec: Json) -> Json:
    return next((c for c in spec.get("containers") or () if c.get("name") == names.TRAINER_CONTAINER), {})


def _essence(spec: Json, mounted: set[str]) -> dict[str, Any]:
    """Return what is compared of a pod's spec, with the containers that have one of the volumes `mounted`.

    Where processes are shared, in the pod or with its node, whoever sees the trainer's can write into its files, and
    say its last words.
    """
    main, before = spec.get("containers") or (), spec.get("initContainers") or ()
    trainer, all_see = _trainer(spec), bool(spec.get("shareProcessNamespace") or spec.get("hostPID"))
    containers = {names.TRAINER_CONTAINER: _container(trainer, "beside")}
    for runs, some in (("before", before), ("beside", main)):
        sharing = [c for c in some if c is not trainer and (all_see or mounted & _mounted(c))]
        for number, container in enumerate(sharing):
            # What runs before runs in order: who fetches, then who checks what was fetched.
            turn = f"{runs} {number}" if runs == "before" else runs
            containers[str(container.get("name"))] = _container(container, turn)
    dns = spec.get("dnsConfig") or {}
    return {
        "containers": containers,
        "volumes": {
            str(volume.get("name")): _leaves({k: v for k, v in volume.items() if k != "name"})
            for volume in spec.get("volumes") or ()
            if str(volume.get("name")) in mounted
        },
        "restartPolicy": spec.get("restartPolicy") or "Always",
        "namespaces": [name for name in _NAMESPACES if spec.get(name)],
        "serviceAccount": spec.get("serviceAccountName") or "default",
        "hostname": [spec.get("hostname") or "", spec.get("subdomain") or ""],
        "hostAliases": spec.get("hostAliases") or [],
        "enableServiceLinks": spec.get("enableServiceLinks") is not False,
        "resourceClaims": _leaves(spec.get("resourceClaims") or []),
        "dnsPolicy": spec.get("dnsPolicy") or "ClusterFirst",
        "nameservers": dns.get("nameservers") or [],
        "searches": dns.get("searches") or [],
    }


def _shared(spec: Json) -> set[str]:
    """Return the trainer's volumes, with those of whoever shares one with it, and so on."""
    shared = _mounted(_trainer(spec))
    while True:
        theirs = (mounted for mounted in map(_mounted, _all(spec)) if mounted & shared)
        more = shared.union(*theirs)
        if more == shared:
            return shared
        shared = more


def _mounted(container: Json) -> set[str]:
    """Return the names of a container's volumes."""
    parts = (*(container.get("volumeMounts") or ()), *(container.get("volumeDevices") or ()))
    return {str(part.get("name")) for part in parts}


def _container(container: Json, runs: str) -> dict[str, Any]:
    return {
        **{part: container.get(part) or "" for part in ("image", "workingDir")},
        **{part: list(container.get(part) or ()) for part in ("command", "args")},
        "terminationMessagePath": container.get("terminationMessagePath") or "/dev/termination-log",
        "env": [
            [str(e.get("name")), e.get("value") or _leaves(e.get("valueFrom") or {})]
            for e in container.get("env") or ()
        ],
        "envFrom": [_leaves(source) for source in container.get("envFrom") or ()],
        "mounts": sorted(
            [posixpath.normpath(str(m.get("mountPath") or m.get("devicePath"))), str(m.get("name")),
             str(m.get("subPath") or ""), str(m.get("subPathExpr") or "")]
            for m in (*(container.get("volumeMounts") or ()), *(container.get("volumeDevices") or ()))
        ),
        "hooks": list(_hooks(container)),
        "runs": [runs, container.get("restartPolicy") or ""],
    }  # fmt: skip


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


def _paths(value: object, path: str, *, free: bool = False) -> Iterator[str]:
    match value:
        case Mapping():
            for key, part in value.items():
                if not free and (key in _REWRITTEN or (isinstance(part, str) and part in _DEFAULTS.get(key, ()))):
                    continue
                if not path and isinstance(part, Mapping):
                    yield f".{key}"
                yield from _paths(part, f"{path}.{key}", free=free or key in _FREE)
        case list() | tuple():
            for number, part in enumerate(value):
                yield from _paths(part, f"{path}[{number}]", free=free)
        case bool() if value:
            yield f"{path}=true"
        case int() | str() if value:
            yield f"{path}={value}"
        case _:
            pass
