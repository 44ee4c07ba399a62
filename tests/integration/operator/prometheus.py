"""A Prometheus of few words: what fires in which namespace, and what it answers there instead."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_NAMESPACE = re.compile(r'namespace="([^"]+)"')


@dataclass
class FewWords:
    """By namespace: the names of alerts that fire there, and the text of an answer that is none."""

    url: str = ""
    firing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, question: str) -> str:
        """Return the body for a question; it fails where a question does not name one namespace."""
        self.asked.append(question)
        (namespace,) = set(_NAMESPACE.findall(question))
        if namespace in self.instead:
            return self.instead[namespace]
        place = {"namespace": namespace, "deployment": "invoice-detector"}
        series: list[dict[str, Any]] = [
            {"metric": {"__name__": name, **place}, "value": [1, "1"]}
            for name in ("finetune_model_info", "namespace_deployment_version:finetune_documents:increase30m")
        ]
        series += [
            {"metric": {"alertname": name, "field": "total", **place}, "value": [1, "1800"]}
            for name in self.firing.get(namespace, ())
        ]
        return json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}})


@contextmanager
def few_words() -> Iterator[FewWords]:
    """Serve it on loopback."""
    words = FewWords()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (question,) = parse_qs(urlsplit(self.path).query)["query"]
            body = words.answer(question).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield words
    finally:
        server.shutdown()
        server.server_close()
