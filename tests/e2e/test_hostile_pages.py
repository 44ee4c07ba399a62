"""A flip while slow documents and hostile pages hold the serving pods: nobody else notices."""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.stories import LENIENT, USUAL, Stories, quick
from server.hostile import hungry_pdf, lying_tiff, pdf_of, slow_pdf

REFUSED = {
    "TooMuchTime": slow_pdf(),
    "TooMuchMemory": hungry_pdf(),
    "TooManyPixels": lying_tiff(),
    "ImageTruncated": b"\x89PNG\r\n\x1a\nand no more",
}
"""What is wrong with a page, by the reason of its 422."""
WHEN_BUSY = {"422 TooMuchTime", "503 Overloaded"}
"""Of documents that take long: the time is over before the memory is, or another slow one has the only turn."""
INNOCENT = "a small PDF"
FLIP_SECONDS = 90
"""From the request to the keys, the new pod's readiness, and its watch of 20 s: hostile pages must not hold it up."""
DRAIN_SECONDS = 25
"""From SIGTERM to the end, as the serving image promises."""
NOTICED_SECONDS = 8
"""Of a container's end, until the pod is gone: kubelet's and the node's own time, and two looks at it."""


def test_a_flip_under_slow_and_hostile_pages_loses_no_request(stories: Stories) -> None:
    """Ordinary pages and an innocent PDF are all answered, by one of two versions; the old pod ends in its promise."""
    stories.patch_policy(**LENIENT, promotion="Manual", watch={"seconds": 20})
    try:
        stories.start("hostile", **quick("hostile"))
        version = stories.until("hostile", "Passed", "Rejected", "Failed")["version"]
        stories.tale.start_load()
        with posting(stories) as answers, drain_watched(stories, "base_v1") as drained:
            time.sleep(10)  # until slow documents hold what draws them
            began = time.monotonic()
            flip = stories.promote("under-fire", version, "base_v1")
            took = time.monotonic() - began
            stories.tale.wait_live(version)
    finally:
        load = stories.tale.stop_load() if stories.kube.get("pod", "load") else {}
        stories.patch_policy(**USUAL, promotion="Automatic")
    print(f"\nflip {took:.1f} s, drain {drained}, load {load}, pages {answers}")
    assert flip["phase"] == "Succeeded", flip
    assert load["failures"] == 0, load["lastFailures"]
    assert {key.partition("/")[2] for key in load["byKindAndVersion"]} == {"base_v1", version}
    assert set(answers.pop(INNOCENT)) == {"200 base_v1", f"200 {version}"}
    for name, said in answers.items():
        assert said, name
        assert set(said) <= {f"422 {name}", *WHEN_BUSY}, (name, said)
    assert "422 TooMuchTime" in answers["TooMuchTime"]
    assert took < FLIP_SECONDS
    assert drained, "no pod of the base was seen to end"
    assert max(drained.values()) < DRAIN_SECONDS + NOTICED_SECONDS


@contextmanager
def posting(stories: Stories) -> Iterator[dict[str, dict[str, int]]]:
    """Post the hostile pages, and an innocent PDF among them, for as long as this lasts; yields what they got."""
    pages = {**REFUSED, INNOCENT: pdf_of(b"0 0 9 9 re f")}
    script = Path(__file__).with_name("page_clients.py").read_text()
    service = stories.kube.get("service", "invoice-detector") or {}
    words = ("exec", "-i", "workbench", "--", "python3", "-c", script, service["spec"]["clusterIP"])
    command = [*stories.kube.kubectl_words, "-n", stories.kube.namespace, *words]
    answers: dict[str, dict[str, int]] = {}
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as clients:
        assert clients.stdin is not None
        clients.stdin.write(json.dumps({name: base64.b64encode(page).decode() for name, page in pages.items()}) + "\n")
        clients.stdin.flush()
        try:
            yield answers
        finally:
            said, _ = clients.communicate(timeout=120)
    assert clients.returncode == 0, "the clients in the workbench pod failed"
    answers.update(json.loads(said))


@contextmanager
def drain_watched(stories: Stories, version: str) -> Iterator[dict[str, float]]:
    """Watch the pods of a version; yields the seconds from each one's deletion to its end, once this is over."""
    seen: dict[str, float] = {}
    drained: dict[str, float] = {}
    stopped = threading.Event()

    def look() -> None:
        now = time.monotonic()
        pods = {pod["metadata"]["name"]: pod["metadata"] for pod in stories.serving(version)}
        for name, meta in pods.items():
            if meta.get("deletionTimestamp"):
                seen.setdefault(name, now)
        drained.update({name: now - seen.pop(name) for name in list(seen) if name not in pods})

    def keep_looking() -> None:
        while not stopped.wait(1):
            look()

    watcher = threading.Thread(target=keep_looking)
    watcher.start()
    try:
        yield drained
    finally:
        stopped.set()
        watcher.join()
        look()
