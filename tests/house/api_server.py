"""A plain, synchronous client of a control plane of the local cluster, for tests that try what it takes and refuses."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from local_cluster import ControlPlane

Object = dict[str, Any]
REPEATABLE: Final = frozenset(("GET", "PUT", "DELETE"))
CLOSED: Final = (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError)
IDLE_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 120.0
"""To delete 300 objects in one request takes longer than half a minute where two cores are shared."""


@dataclass(frozen=True)
class Answer:
    """An answer of the API server: the status code and the parsed body."""

    status: int
    body: Object

    @property
    def accepted(self) -> bool:
        """The request was carried out."""
        return self.status < 300

    @property
    def message(self) -> str:
        """What the API server says about a refusal, as kubectl would print it."""
        return str(self.body.get("message", ""))

    @property
    def causes(self) -> tuple[str, ...]:
        """Every cause of a refusal, as `field: message`."""
        causes = self.body.get("details", {}).get("causes", ())
        return tuple(f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in causes)


class ApiServer:
    """One kept-alive connection to a control plane, as its administrator.

    The API server closes one that has been idle for a minute and a half. A request that changes nothing when it is
    sent twice is then sent again, once, on a new connection; whether a POST or PATCH was carried out is not known,
    so none of these goes out on a connection that has been idle for long.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        config = json.loads(plane.kubeconfig.read_text())
        self._token = config["users"][0]["user"]["token"]
        context = ssl.create_default_context(cafile=str(plane.certificate_authority))
        address = urlsplit(plane.url)
        assert address.hostname is not None
        self._connection = http.client.HTTPSConnection(
            address.hostname, address.port, timeout=ANSWER_SECONDS, context=context
        )
        self._used = time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def beside(self) -> "ApiServer":
        """Return another connection to the same control plane."""
        return ApiServer(self._plane)

    def events(self, path: str) -> Iterator[Object]:
        """Yield the events of a watch, to which the connection belongs until it ends; `interrupt` ends it."""
        self._connection.request("GET", path, None, self._headers("application/json"))
        answer = self._connection.getresponse()
        while line := answer.readline():
            yield parsed(line)

    def interrupt(self) -> None:
        """Have whoever waits for an answer, in another thread, find the connection closed."""
        connected = self._connection.sock
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _headers(self, content: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Content-Type": content, "Accept": "application/json"}

    def request(self, method: str, path: str, body: Object | None = None, content: str = "application/json") -> Answer:
        """Send one request."""
        headers = self._headers(content)
        text = json.dumps(body) if body is not None else None
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connection.close()  # it opens anew by itself
        try:
            return self._exchange(method, path, text, headers)
        except CLOSED:
            self._connection.close()
            if method not in REPEATABLE:
                raise
        return self._exchange(method, path, text, headers)

    def _exchange(self, method: str, path: str, text: str | None, headers: dict[str, str]) -> Answer:
        self._connection.request(method, path, text, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        self._used = time.monotonic()
        return Answer(answer.status, parsed(body))

    def create(self, manifest: Object, *, dry_run: bool = False) -> Answer:
        """Create an object; a dry run is checked in full and stored nowhere."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("POST", collection(manifest) + query, manifest)

    def replace(self, manifest: Object, *, dry_run: bool = False) -> Answer:
        """Replace an object (PUT): what `manifest` lacks is removed."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("PUT", f"{collection(manifest)}/{manifest['metadata']['name']}{query}", manifest)

    def merge_status(self, manifest: Object, status: Object) -> Answer:
        """Merge-patch the status subresource."""
        path = f"{collection(manifest)}/{manifest['metadata']['name']}/status"
        return self.request("PATCH", path, {"status": status}, "application/merge-patch+json")

    def delete(self, manifest: Object) -> Answer:
        """Delete an object."""
        return self.request("DELETE", f"{collection(manifest)}/{manifest['metadata']['name']}")


def parsed(body: bytes) -> Object:
    """Read the body of an answer; one that is no JSON object is the message of an empty one.

    For seconds after its CRD was created, the paths of a kind are answered by "404 page not found" in plain text.
    """
    try:
        read = json.loads(body or b"{}")
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"message": body.decode(errors="replace").strip()}


PLURALS = {
    "ConfigMap": "configmaps",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Deployment": "deployments",
    "FineTunePolicy": "finetunepolicies",
    "FineTuneRun": "finetuneruns",
    "Job": "jobs",
    "ModelPromotion": "modelpromotions",
    "ModelVersion": "modelversions",
    "Namespace": "namespaces",
    "Pod": "pods",
    "PodTemplate": "podtemplates",
    "Service": "services",
}


def collection(manifest: Object) -> str:
    """Return the path of the collection that an object belongs to; namespaced ones default to `default`."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    if kind in {"CustomResourceDefinition", "Namespace"}:
        return f"{root}/{PLURALS[kind]}"
    return f"{root}/namespaces/{manifest['metadata'].get('namespace', 'default')}/{PLURALS[kind]}"
