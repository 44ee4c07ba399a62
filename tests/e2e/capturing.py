"""Capture in the stories' own server: every page that is answered is kept in the bucket, while a story wants it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.bucket import SECRET, Bucket
from e2e.stories import Stories
from finetune_demo.story import POD_SCRIPTS

DETECTOR = "invoice-detector"
KEEP_ALL = {
    "FINETUNE_CAPTURE_RANDOM": "1",
    "FINETUNE_CAPTURE_PER_HOUR": "100000",
    "FINETUNE_CAPTURE_PER_DAY": "100000",
    "FINETUNE_FEEDBACK_PER_HOUR": "1000",
}


@contextmanager
def capturing(stories: Stories, bucket: Bucket) -> Iterator[None]:
    """Turn capture on for a while; the pods of the end are those of the beginning, drained ones have gone."""
    settings = KEEP_ALL | {"FINETUNE_CAPTURE_URI": bucket.uri}
    secret = (stories.kube.get("secret", SECRET) or {})["data"]
    target = ("set", "env", f"deployment/{DETECTOR}", "--containers=server")
    stories.kube.kubectl(*target, f"--from=secret/{SECRET}", *(f"{name}={value}" for name, value in settings.items()))
    try:
        _rolled(stories)
        yield
    finally:
        stories.kube.kubectl(*target, *(f"{name}-" for name in (*settings, *secret)))
        _rolled(stories)


def _rolled(stories: Stories) -> None:
    stories.kube.kubectl("rollout", "status", f"deployment/{DETECTOR}", "--timeout=180s")
    stories.kube.wait("no pod that ends", lambda: len(stories.kube.items("pods", f"app={DETECTOR}")) == 1, 90)


def people_send(stories: Stories, pages: str, limit: int) -> list[dict[str, Any]]:
    """Send the first pages of a folder of the workbench and report what is not read; return what came of each."""
    host = stories.tale.values["SERVICE_IP"]
    script = ("env", f"PYTHONPATH={POD_SCRIPTS}", "python3", f"{POD_SCRIPTS}/users.py", "--host", host)
    words = ("exec", "workbench", "--", *script, "--pages", pages, "--limit", str(limit))
    return [json.loads(line) for line in stories.kube.kubectl(*words).splitlines()]
