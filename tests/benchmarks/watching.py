"""A watch that notes when each object was first and next seen, cheap enough not to disturb what it measures."""

import http.client
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from local_cluster import ControlPlane

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass
class Seen:
    """When objects came to be seen, in seconds of the monotonic clock: `added` and, the first time, `changed`."""

    added: dict[str, float] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    """Names that were added a second time."""


class Watch:
    """Watches a collection from now on, metadata alone, on a connection and a thread of its own."""

    def __init__(self, plane: ControlPlane, path: str, selector: str = "") -> None:
        self.seen = Seen()
        self._changed = threading.Condition()
        config = json.loads(plane.kubeconfig.read_text())
        headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Accept": METADATA_ONLY}
        address = urlsplit(plane.url)
        assert address.hostname is not None
        context = ssl.create_default_context(cafile=str(plane.certificate_authority))
        self._connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=600, context=context)
        query = f"?watch=true&timeoutSeconds=600&labelSelector={selector}"
        self._connection.request("GET", path + query, headers=headers)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        answer = self._connection.getresponse()
        while line := answer.readline():
            now = time.monotonic()
            event = json.loads(line)
            self._note(event["type"], str(event["object"]["metadata"].get("name", "")), now)

    def _note(self, kind: str, name: str, now: float) -> None:
        with self._changed:
            if kind == "ADDED":
                if name in self.seen.added:
                    self.seen.again.append(name)
                self.seen.added.setdefault(name, now)
            elif kind == "MODIFIED":
                self.seen.changed.setdefault(name, now)
            self._changed.notify_all()

    def wait_for(self, added: int = 0, changed: int = 0, seconds: float = 600) -> Seen:
        """Return what was seen once so many objects were added and changed. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: len(self.seen.added) >= added and len(self.seen.changed) >= changed, seconds
            ):
                raise TimeoutError(
                    f"after {seconds:.0f} s {len(self.seen.added)} of {added} were added "
                    f"and {len(self.seen.changed)} of {changed} changed"
                )
            return self.seen
