"""The real API server, by kubernetes.aio: plain dicts, time limits, and errors translated in one place."""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from ..api import names
from . import errors
from .kinds import Kind
from .port import Object
from .projection import project
from .watched import selector

MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
JSON: Final = "application/json"
PAGE: Final = 500
ADMISSION_SECONDS: Final = 5.0
"""A write may take so much longer: a webhook has up to 30 s, and the API server's word of it is no silence."""

MOST_SECONDS: Final = 60.0
"""However long an API server asks to be left alone, it is asked again after so long."""

Verb = Literal["get", "list", "create", "patch_status", "annotate", "apply", "delete", "log"]
READS: Final[frozenset[Verb]] = frozenset(("get", "list", "log"))
TOO_LARGE: Final = ("etcdserver: request is too large", "trying to send message larger than max")
"""What etcd and its client say of an object that is larger than etcd takes (1.5 MiB, and 2): words without a reason."""
RequestObserver = Callable[[Verb, Kind, str, float], None]
"""Called after every request with verb, kind, the status code (or `error`) and seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the HTTP status, the body's bytes, and how many seconds to wait, where that was said."""

    status: int
    body: bytes
    after: float = 0.0


async def load_configuration(kubeconfig: Path | None, context: str | None, connections: int) -> Configuration:
    """Return the client's configuration: from `kubeconfig`, or the pod's service account when it is None."""
    configuration = Configuration(connection_pool_maxsize=connections)
    # With the environment trusted, aiohttp looks for proxies and netrc files in a thread, at every request.
    configuration.client_session_kwargs = {"trust_env": False}
    if kubeconfig is None:
        kube_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        await kube_config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(kubeconfig), context=context, client_configuration=configuration, persist_config=False
        )
    return configuration


Login = Callable[[], Awaitable["Connection"]]


class KubeCluster:
    """One API server behind the port `Cluster`; also pages through whole kinds for the cache."""

    def __init__(self, client: ApiClient, *, timeout: float = 30.0, observer: RequestObserver | None = None) -> None:
        self._client = client
        self._timeout = timeout
        self._observer = observer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """Return the object, or None; always asked anew, so `fresh` says nothing here."""
        del fresh
        answer = await self._send("get", kind, "GET", _path(kind, namespace, name))
        return None if answer.status == 404 else _object(answer)

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """Return the objects of a namespace that carry all `labels`, sorted by name; `fresh` says nothing here."""
        del fresh
        objects: list[Object] = []
        async for page, _ in self.pages(kind, namespace, labels or {}):
            objects.extend(page)
        return tuple(sorted(objects, key=_name))

    async def find(self, kind: Kind, namespace: str, reference: str, value: str) -> tuple[str, ...]:
        """Return the names of the objects with that reference, sorted; all objects are listed for it."""
        objects = await self.list(kind, namespace)
        return tuple(_name(obj) for obj in objects if (reference, value) in project(kind, obj).references)

    async def digests(self, kind: Kind, namespace: str, ref: str, value: str) -> tuple[tuple[str, Hashable], ...]:
        """Return name and digest of the objects with that reference: of all of them, asked for anew."""
        projections = ((_name(obj), project(kind, obj)) for obj in await self.list(kind, namespace))
        return tuple((name, entry.digest) for name, entry in projections if (ref, value) in entry.references)

    async def pages(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str], limit: int | None = None
    ) -> AsyncIterator[tuple[Sequence[Object], int]]:
        """Yield pages (of `limit` objects) with the resourceVersion of the whole list; `namespace` None means all.

        All pages are of one moment. Raises Unavailable when the list expired half-way.
        """
        token = ""
        while True:
            query = {"limit": str(limit or PAGE), "continue": token, "labelSelector": selector(labels)}
            url = f"{_path(kind, namespace)}?{urlencode({k: v for k, v in query.items() if v})}"
            answer = await self._send("list", kind, "GET", url)
            if answer.status == 404:
                raise errors.NotFound(f"the API server does not serve {_resource(kind)}: install the CRDs")
            page = _object(answer)
            yield page.get("items") or [], int(page["metadata"].get("resourceVersion") or 0)
            token = page["metadata"].get("continue") or ""
            if not token:
                return

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """Create. Raises AlreadyExists for a taken name, Invalid, Forbidden."""
        url = f"{_path(kind, namespace)}?fieldManager={names.FIELD_MANAGER}"
        return _object(await self._send("create", kind, "POST", url, manifest))

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, patch: Object
    ) -> Object:
        """Merge-patch the status subresource of exactly that uid at exactly that resourceVersion.

        The API server checks the resourceVersion alone and overlooks the uid here (tried on 1.36). That is enough:
        no two objects ever have the same resourceVersion, so an object created again is refused.
        """
        url = f"{_path(kind, namespace, name)}/status?fieldManager={names.FIELD_MANAGER}-status"
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version}, **patch}
        return _object(await self._send("patch_status", kind, "PATCH", url, body, MERGE_PATCH))

    async def annotate(
        self, kind: Kind, namespace: str, name: str, uid: str, resource_version: str, annotations: Mapping[str, str]
    ) -> Object:
        """Merge-patch metadata.annotations of exactly that uid at exactly that resourceVersion."""
        url = f"{_path(kind, namespace, name)}?fieldManager={names.FIELD_MANAGER}-record"
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version, "annotations": dict(annotations)}}
        return _object(await self._send("annotate", kind, "PATCH", url, body, MERGE_PATCH))

    async def apply(self, kind: Kind, namespace: str, name: str, manifest: Object) -> Object:
        """Server-side apply under the operator's field manager, never forced."""
        url = f"{_path(kind, namespace, name)}?fieldManager={names.FIELD_MANAGER}&force=false"
        return _object(await self._send("apply", kind, "PATCH", url, manifest, APPLY_PATCH))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> bool:
        """Delete exactly that uid, its children first; tell whether nothing of that name was there any more.

        In the background, children would live on for as long as somebody else's finalizer keeps the object.
        """
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground",
                "preconditions": {"uid": uid}}  # fmt: skip
        try:
            answer = await self._send("delete", kind, "DELETE", _path(kind, namespace, name), body)
        except errors.Conflict:
            return False  # another object has the name by now: the one that was meant is gone
        if answer.status == 404:
            return _status_of(answer).get("reason") == "NotFound"  # else a webhook denies, by a code of its own
        _object(answer)
        return False

    async def log_tail(self, namespace: str, pod: str, container: str, lines: int, limit_bytes: int) -> str:
        """Return the end of a container's log; empty when there is none to be had."""
        query = urlencode({"container": container, "tailLines": lines, "limitBytes": limit_bytes})
        try:
            answer = await self._send("log", Kind.POD, "GET", f"{_path(Kind.POD, namespace, pod)}/log?{query}")
        except errors.ClusterError:
            return ""
        return answer.body.decode("utf-8", errors="replace") if answer.status == 200 else ""

    async def _send(
        self, verb: Verb, kind: Kind, method: str, path: str, body: Object | None = None, content: str = JSON
    ) -> Answer:
        """Send one request. Raises a ClusterError for everything but 2xx and the 404 of an object."""
        started = time.perf_counter()
        outcome = "error"
        try:
            seconds = self._timeout + (0.0 if method == "GET" else ADMISSION_SECONDS)
            answer = await self._exchange(method, path, body, content, seconds)
            outcome = str(answer.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise errors.Unavailable(f"{method} {path.partition('?')[0]}: {error or type(error).__name__}") from error
        finally:
            if self._observer is not None:
                self._observer(verb, kind, outcome, time.perf_counter() - started)
        if answer.status < 300 or (answer.status == 404 and verb in {"get", "delete", "list", "log"}):
            return answer
        raise translate(answer, verb)

    async def _exchange(self, method: str, path: str, body: Object | None, content: str, seconds: float) -> Answer:
        configuration = self._client.configuration
        headers = {"Accept": JSON, "Content-Type": content, "User-Agent": names.FIELD_MANAGER}
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            headers["Authorization"] = token
        response = await self._client.rest_client.request(  # type: ignore[no-untyped-call]
            method, configuration.host + path, headers=headers, body=body, _request_timeout=seconds
        )
        return Answer(response.status, await response.read(), _seconds(response.getheader("Retry-After")))


def translate(answer: Answer, verb: Verb) -> errors.ClusterError:
    """Return the error for a refusal; its message is the API server's own."""
    status = _status_of(answer)
    message = str(status.get("message") or f"HTTP {answer.status}")
    reason = str(status.get("reason") or "")
    by_admission = _refused_by_admission(message)
    if by_admission is not None:
        return by_admission
    if answer.status == 409:
        manager = _conflicting_manager(status) if verb == "apply" else None
        if manager is not None:
            return errors.FieldConflict(message, manager)
        return errors.AlreadyExists(message) if reason == "AlreadyExists" else errors.Conflict(message)
    if answer.status == 422 and _is_other_uid(status):
        return errors.Conflict(message)  # another object has the name by now
    if answer.status == 429:
        return errors.Throttled(message, answer.after)
    if answer.status >= 500:
        is_own = answer.status == 500 and verb not in READS
        return (_failed_within(message, reason) if is_own else None) or errors.Unavailable(message)
    return BY_STATUS.get(answer.status, errors.Invalid)(message)


BY_STATUS: Final[Mapping[int, type[errors.ClusterError]]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    410: errors.Unavailable,
}
"""What a status code means by itself."""


def _seconds(text: str | None) -> float:
    """Return what the header Retry-After says, as API servers have it; 0 for anything else, a minute at most."""
    return min(float(text), MOST_SECONDS) if text and text.isdecimal() and text.isascii() and len(text) < 9 else 0.0


def _refused_by_admission(message: str) -> errors.ClusterError | None:
    """Return the refusal of an admission webhook, whatever code it chose: 500 when it is away, any when it denies.

    The words are those of k8s.io/apiserver, in pkg/admission/plugin/webhook and pkg/quota.
    """
    if "failed calling webhook" in message or "resource quota evaluation timed out" in message:
        return errors.AdmissionUnavailable(message)
    if message.startswith("admission webhook ") and "denied the request" in message:
        return errors.Forbidden(message)
    return None


def _failed_within(message: str, reason: str) -> errors.ClusterError | None:
    """Return what is wrong with one write that the API server failed on by itself; None where it may be any write."""
    if any(words in message for words in TOO_LARGE):
        return errors.Invalid(f"{message} (the object is: take labels, variables or the like from it)")
    if reason == "InternalError":
        return errors.AdmissionBroken(f"{message}{_of_a_mutation(message)}")
    return None


def _of_a_mutation(message: str) -> str:
    """Return whose doing an internal error is that says nothing but what does not fit (jsonpatch, encoding/json)."""
    known = ("operation does not apply", "cannot unmarshal")
    return " (a mutating webhook or policy made that of it)" if any(words in message for words in known) else ""


def _status_of(answer: Answer) -> dict[str, Any]:
    try:
        status = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return {}
    return status if isinstance(status, dict) else {}


def _causes(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (status.get("details") or {}).get("causes") or []


def _conflicting_manager(status: Mapping[str, Any]) -> str | None:
    """Return who owns the field that an apply ran into: `conflict with "helm" using apps/v1` -> helm."""
    for cause in _causes(status):
        if cause.get("reason") == "FieldManagerConflict":
            named = re.search(r'conflict with "([^"]*)"', str(cause.get("message", "")))
            return named.group(1) if named else "another field manager"
    return None


def _is_other_uid(status: Mapping[str, Any]) -> bool:
    return any(cause.get("field") == "metadata.uid" for cause in _causes(status))


def _object(answer: Answer) -> Object:
    try:
        body = msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise errors.Unavailable(f"the API server's answer is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise errors.Unavailable("the API server's answer is no object")
    return body


def _resource(kind: Kind) -> str:
    group, version, plural = kind.value
    return f"{plural}.{version}.{group}" if group else plural


def _path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    group, version, plural = kind.value
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    middle = "" if namespace is None else f"/namespaces/{quote(namespace, safe='')}"
    tail = "" if name is None else f"/{quote(name, safe='')}"
    return f"{root}{middle}/{plural}{tail}"


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and who we are, for clients other than ours."""

    server: str
    ca_path: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None


async def connection_of(configuration: Configuration) -> Connection:
    """Return the connection that `configuration` stands for, with a token that is valid now."""
    bearer = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return Connection(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        # From a kubeconfig the prefix is "Bearer", from a pod's service account "bearer".
        token=bearer.partition(" ")[2] if bearer else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


async def connect(
    kubeconfig: Path | None, context: str | None, *, seconds: float, connections: int, observer: RequestObserver | None
) -> tuple[KubeCluster, Login]:
    """Return a client of the API server, whose requests may take `seconds`, and the login for others."""
    configuration = await load_configuration(kubeconfig, context, connections)
    kube = KubeCluster(ApiClient(configuration), timeout=seconds, observer=observer)
    return kube, partial(connection_of, configuration)
