"""A collection of an API server as a watch tells of it: to list it ten times a second takes a twentieth of a core."""

import http.client
import threading
from types import TracebackType
from typing import Self

from house.api_server import ApiServer, Object

PAUSE = 0.2
"""Seconds until a watch that ended, or could not begin, begins anew."""


class Followed:
    """The objects of a collection, by name; what is written to them in between may be noted before the watch tells."""

    def __init__(self, server: ApiServer, path: str) -> None:
        self._server, self._path = server, path
        self._objects: dict[str, Object] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.interrupt()
        self._thread.join(60)
        self._server.close()

    def all(self) -> list[Object]:
        """Return what is there, as far as is known."""
        with self._lock:
            return list(self._objects.values())

    def note(self, item: Object) -> None:
        """Take an object as it was answered, unless it is gone, or a newer one is known."""
        metadata = item.get("metadata") or {}
        with self._lock:
            known = self._objects.get(metadata.get("name", ""))
            if known is not None and known["metadata"]["uid"] == metadata["uid"]:
                self._keep(item)

    def _keep(self, item: Object) -> None:
        known = self._objects.get(item["metadata"]["name"])
        if known is None or _version(known) < _version(item):
            self._objects[item["metadata"]["name"]] = item

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                self._once()
            except (OSError, ValueError, http.client.HTTPException):
                self._server.close()  # it opens anew by itself
            self._over.wait(PAUSE)

    def _once(self) -> None:
        """List, and watch from there until the API server ends it."""
        listed = self._server.request("GET", self._path)
        if not listed.accepted:
            return
        with self._lock:
            self._objects = {item["metadata"]["name"]: item for item in listed.body.get("items") or ()}
        since = listed.body["metadata"]["resourceVersion"]
        for event in self._server.events(f"{self._path}?watch=1&resourceVersion={since}"):
            if event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
                return
            with self._lock:
                if event["type"] == "DELETED":
                    self._objects.pop(event["object"]["metadata"]["name"], None)
                else:
                    self._keep(event["object"])


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])
