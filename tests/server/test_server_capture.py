"""Pages from production: what is kept, that it is what was answered, and that nobody waits for it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from finetune_server.capture.records import day_of, decimal, new_prediction
from finetune_server.pages.pixels import pixels_digest
from house.deep import first_of
from house.messages import problems
from server.hostile import slow_pdf
from server.s3 import CREDENTIALS, Bucket
from server.support import (
    ServerProcess,
    StartServer,
    decode,
    encode,
    install_model,
    page_with,
    pdf,
    peak_bytes,
    sha256,
    tiny_model,
    wait_until,
)

PAGE = encode(page_with("red", at=(32, 48)))
BELOW = "ml/invoice-detector"
ALL = {"FINETUNE_CAPTURE_RANDOM": "1", "FINETUNE_CAPTURE_PER_HOUR": "100000", "FINETUNE_CAPTURE_PER_DAY": "1000000"}
NONE_DRAWN = {**ALL, "FINETUNE_CAPTURE_RANDOM": "0"}
KINDS = {"pages": "production-page", "reports": "production-report", "windows": "production-window"}

Files = dict[str, bytes]


def capture_of(server: ServerProcess, what: str, **labels: str) -> float:
    """A series of capture, summed over the labels that are not given."""
    return summed(server.metrics(), f"capture_{what}", **labels)


def summed(samples: dict[str, float], what: str, **labels: str) -> float:
    """A series of a scrape, summed over the labels that are not given."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(v for k, v in samples.items() if k.startswith(f"finetune_{what}{{") and all(w in k for w in wanted))


def wait_stored(server: ServerProcess, pages: int) -> None:
    wait_until(lambda: capture_of(server, "pages_total", outcome="Stored") == pages)


def folder(files: Files, name: str) -> list[tuple[str, Any]]:
    """The files of a folder of any day, each held to its contract."""
    entries = [(path, json.loads(content)) for path, content in sorted(files.items()) if f"/{name}/" in path]
    for path, content in entries:
        assert problems(KINDS[name], content) == [], path
    return entries


def records(files: Files) -> list[Any]:
    return [record for _, record in folder(files, "pages")]


def on_disk(root: Path) -> Files:
    below = root / BELOW
    return {f"/{path.relative_to(below)}": path.read_bytes() for path in below.rglob("*") if path.is_file()}


@pytest.fixture
def start(tmp_path: Path, start_server: StartServer) -> Any:
    """Starts a ready server that captures below a folder, or where `environment` says."""

    def ready(**environment: str) -> ServerProcess:
        defaults = {"FINETUNE_CAPTURE_URI": (tmp_path / "kept").as_uri(), "FINETUNE_DRAIN_QUIET_SECONDS": "0.2"}
        server = start_server(install_model(tmp_path / "model", tiny_model()), **{**defaults, **ALL, **environment})
        server.wait_ready()
        return server

    return ready


def test_a_page_is_kept_on_s3_as_it_came_with_all_that_was_answered(bucket: Bucket, start: Any) -> None:
    server = start(FINETUNE_CAPTURE_URI=f"s3://{bucket.name}/whole/", **bucket.environment)
    answer = server.predict(PAGE, query="?document=invoice-17").json
    wait_stored(server, 1)
    files = bucket.files(f"whole/{BELOW}")
    assert problems("production", owner := json.loads(files["/capture.json"])) == []
    assert (owner["namespace"], owner["deployment"]) == ("ml", "invoice-detector")
    ((path, record),) = folder(files, "pages")
    day = record["at"][:10]
    assert path == f"/days/{day}/pages/random/{answer['prediction']}.json"
    assert files[f"/days/{day}/files/{sha256(PAGE)}"] == PAGE
    assert record["page"] == {**answer["page"], "pixels": pixels_digest(decode(PAGE))}
    assert answer["page"] == {"width": 128, "height": 128, "sha256": sha256(PAGE), "number": 1, "dpi": None}
    assert (record["bytes"], record["kind"], record["renderer"]) == (len(PAGE), "image/png", None)
    assert (record["document"], record["model"]) == ("invoice-17", answer["model"])
    assert (record["stratum"], record["probability"]) == ("Random", "1")
    fields = [
        {"field": f["field"], "confidence": decimal(f["confidence"], 6), "box": [decimal(c, 3) for c in f["box"]]}
        for f in answer["fields"]
    ]
    assert record["fields"] == fields
    assert record["missing"] == ["green", "blue"]


def test_a_document_lies_there_once_and_its_pages_have_pixels_of_their_own(tmp_path: Path, start: Any) -> None:
    server = start()
    document = pdf((100, 100), (80, 60), (50, 50), colours=("red", "green", "blue"))
    answer = server.predict(document, "application/pdf", "?pages=all&dpi=72&document=d").json
    wait_stored(server, 3)
    files = on_disk(tmp_path / "kept")
    assert [files[p] for p in files if "/files/" in p] == [document]
    by_id = {record["prediction"]: record for record in records(files)}
    assert [by_id[page["prediction"]]["page"]["number"] for page in answer["pages"]] == [1, 2, 3]
    for record in by_id.values():
        assert record["renderer"].startswith("pypdfium2 ")
        assert (record["kind"], record["page"]["dpi"], record["bytes"]) == ("application/pdf", 72, len(document))
    assert len({record["page"]["pixels"] for record in by_id.values()}) == 3
    first = by_id[answer["pages"][0]["prediction"]]
    assert first["page"]["pixels"] == pixels_digest(decode(document))


def test_nothing_is_kept_unless_asked_for(tmp_path: Path, start: Any) -> None:
    server = start(FINETUNE_CAPTURE_URI="")
    assert server.predict(PAGE).json["prediction"]
    assert capture_of(server, "pages_total") == 0
    assert not (tmp_path / "kept").exists()


def test_a_page_is_uncertain_when_it_lacks_an_expected_field_or_its_best_box_is_near_the_limit(
    tmp_path: Path, start: Any
) -> None:
    server = start(**NONE_DRAWN, FINETUNE_EXPECTED_FIELDS="red")
    sure, faint = page_with("red", at=(32, 48)), page_with("red", at=(32, 48))
    faint[faint > 0] = 166  # 0.65, where 0.6 is the limit
    answers = [server.predict(encode(page)).json for page in (sure, faint, page_with("blue", at=(32, 48)))]
    wait_stored(server, 2)
    kept = {record["prediction"]: record for record in records(on_disk(tmp_path / "kept"))}
    assert kept.keys() == {answer["prediction"] for answer in answers[1:]}
    assert {(r["stratum"], r["probability"]) for r in kept.values()} == {("Uncertain", "0")}
    assert [kept[answer["prediction"]]["missing"] for answer in answers[1:]] == [[], ["red"]]


def test_page_2_of_a_named_document_misses_nothing(tmp_path: Path, start: Any) -> None:
    server = start(**NONE_DRAWN, FINETUNE_EXPECTED_FIELDS="red,green")
    sure = {name: page_with(name, at=(32, 48)) for name in ("red", "green", "blue")}
    document = pdf((144, 144), (144, 144), colours=("red", "green"))
    server.predict(document, "application/pdf", "?pages=all&dpi=72&document=whole")
    server.predict(encode(sure["red"]), query="?document=page-by-page")
    server.predict(encode(sure["blue"]), query="?document=page-by-page")
    wait_stored(server, 1)
    server.predict(encode(sure["blue"]))
    wait_stored(server, 2)
    assert sorted((r["document"] or "", r["missing"]) for r in records(on_disk(tmp_path / "kept"))) == [
        ("", ["red", "green"]),
        ("page-by-page", ["green"]),  # its first page: nobody knows yet that there are more
    ]


def test_what_waits_is_written_in_the_drain_and_the_window_with_it(tmp_path: Path, start: Any) -> None:
    server = start()
    for number in range(20):
        assert server.predict(encode(page_with("red", at=(number, 48)))).status == 200
    server.terminate()
    assert server.wait_end() == 0
    files = on_disk(tmp_path / "kept")
    assert len(records(files)) == 20
    windows = [window for _, window in folder(files, "windows")]  # two, where ten minutes of the clock are full
    assert total(window["answered"] for window in windows) == {"pages": 20, "documents": 20}
    kept = {"selected": 20, "stored": 20, "queue": 0, "cap": 0, "storage": 0}
    assert total(window["strata"]["Random"] for window in windows) == kept
    for window in windows:
        assert window["probability"] == {"configured": "1", "lowest": "1", "last": "1"}


def total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """The sum of counts with the same names."""
    summed_up: dict[str, int] = {}
    for count in counts:
        summed_up = {name: summed_up.get(name, 0) + number for name, number in count.items()}
    return summed_up


def test_a_cap_lowers_the_probability_that_is_recorded_and_stops_uncertain_pages(tmp_path: Path, start: Any) -> None:
    server = start(FINETUNE_CAPTURE_PER_HOUR="20")
    for number in range(120):
        assert server.predict(encode(page_with("red", at=(number % 100, 48)))).status == 200
    server.terminate()
    assert server.wait_end() == 0
    files = on_disk(tmp_path / "kept")
    kept = records(files)
    drawn = [float(r["probability"]) for r in kept if r["stratum"] == "Random"]
    assert 5 < len(drawn) <= 10
    assert min(drawn) < 1 == max(drawn)
    assert len([r for r in kept if r["stratum"] == "Uncertain"]) == 10
    windows = [window for _, window in folder(files, "windows")]
    lost = sum(window["strata"]["Uncertain"]["cap"] for window in windows)
    assert lost == 120 - len(kept)
    assert capped_total(windows) == 120
    assert min(float(window["probability"]["lowest"]) for window in windows) < 1


def capped_total(windows: list[Any]) -> int:
    return sum(counts["selected"] for window in windows for counts in window["strata"].values())


class Refusing(BaseHTTPRequestHandler):
    """A store that takes nothing."""

    status = 507

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD = do_POST = _refuse  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
        pass


@contextmanager
def refusing(status: int) -> Iterator[str]:
    handler = type("Handler", (Refusing,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{store.server_port}"
        store.shutdown()


@contextmanager
def silent() -> Iterator[str]:
    """A store that takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def away() -> Iterator[str]:
    """A store that is not there."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def memory_of(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


STORES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "slow": silent,
    "away": away,
    "full": lambda: refusing(507),
    "refusing": lambda: refusing(403),
}


@pytest.mark.parametrize("kind", first_of(STORES, 2))
def test_no_answer_fails_or_is_late_and_memory_is_bounded_while_the_store_is(kind: str, start: Any) -> None:
    body = encode(page_with("red", at=(32, 48), width=1000, height=1000), ".bmp")  # 3 MB, and as much in pixels
    with STORES[kind]() as endpoint:
        at_store = {"FINETUNE_CAPTURE_URI": "s3://models/lost", "AWS_ENDPOINT_URL": endpoint, **CREDENTIALS}
        drain = {"FINETUNE_DRAIN_SECONDS": "600"}
        server = start(**at_store, **drain, FINETUNE_CAPTURE_QUEUE_BYTES=str(20 * 1024 * 1024))
        server.predict(body, "image/bmp")
        before, slowest = memory_of(server), 0.0
        for _ in range(60):
            started = time.monotonic()
            assert server.predict(body, "image/bmp").status == 200
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 20, "a page that waits for the store waits for a minute"
        assert server.status_of_readyz() == 200
        lost = capture_of(server, "pages_total", outcome="Queue")
        assert lost >= 50, "20 MB are six of them"
        assert capture_of(server, "queue_bytes") <= 20 * 1024 * 1024
        assert memory_of(server) - before < 150 * 1024 * 1024
        report = server.request("POST", "/feedback", b'{"document": "d"}', "application/json")
        assert (report.status, report.json["kept"]) == (202, {"report": False, "page": False})
        assert report.json["reason"] in ("StorageSlow", "StorageUnavailable")
        server.terminate()
        assert server.wait_end() == 0, "the queue's 8 s follow the quiet time of a drain, which may last for minutes"


def test_pages_of_reports_that_wait_for_the_store_are_held_by_the_queue_alone(start: Any) -> None:
    document = pdf((1200, 1200))  # 18 MB of pixels at 150 dpi
    form = b'--b\r\nContent-Disposition: form-data; name="report"\r\n\r\n{"document": "d"}\r\n--b\r\n'
    form += b'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + document + b"\r\n--b--\r\n"

    def report(server: ServerProcess) -> str:
        answer = server.request("POST", "/feedback", form, "multipart/form-data; boundary=b", timeout=60)
        return str(answer.json["reason"])

    with silent() as endpoint, ThreadPoolExecutor(16) as clients:
        at_store = {"FINETUNE_CAPTURE_URI": "s3://models/lost", "AWS_ENDPOINT_URL": endpoint, **CREDENTIALS}
        server = start(**at_store, FINETUNE_CAPTURE_QUEUE_BYTES=str(2**20))
        assert report(server) == "StorageSlow"
        before = peak_bytes(server)
        assert set(clients.map(report, [server] * 16)) <= {"StorageSlow", "StorageUnavailable"}
        assert peak_bytes(server) < before + 100 * 2**20, "they are 300 MB together"


def test_a_page_is_kept_once_nothing_is_answered(start: Any) -> None:
    server = start(FINETUNE_DOCUMENT_SECONDS="3")
    slow = threading.Thread(target=server.predict, args=(slow_pdf(), "application/pdf"))
    slow.start()
    wait_until(lambda: summed(server.metrics(), "requests_in_flight") == 1)
    assert server.predict(PAGE).status == 200
    time.sleep(0.5)
    samples = server.metrics()
    stored = summed(samples, "capture_pages_total", outcome="Stored")
    assert stored == 0 or summed(samples, "requests_in_flight") == 0
    slow.join()
    wait_stored(server, 1)


def test_what_the_store_lost_is_in_the_window_once_it_is_back(tmp_path: Path, start: Any) -> None:
    kept = tmp_path / "kept"
    kept.write_text("not a folder yet")
    server = start(FINETUNE_CAPTURE_QUEUE_BYTES=str(1024 * 1024))
    for number in range(30):
        server.predict(encode(page_with("red", at=(number, 48))))
    lost = capture_of(server, "pages_total", outcome="Queue")
    assert lost > 10
    kept.unlink()
    wait_stored(server, 30 - int(lost))
    server.terminate()
    assert server.wait_end() == 0
    windows = [window for _, window in folder(on_disk(kept), "windows")]
    counts = [window["strata"]["Random"] for window in windows]
    assert sum(c["queue"] for c in counts) == lost
    assert sum(c["selected"] for c in counts) == 30 == lost + sum(c["stored"] for c in counts)


def test_a_place_of_another_deployment_is_refused_and_the_server_serves_on(tmp_path: Path, start: Any) -> None:
    owner = tmp_path / "kept" / BELOW / "capture.json"
    owner.parent.mkdir(parents=True)
    owner.write_text('{"schema": "finetune-operator.io/production/v1", "namespace": "ml", "deployment": "other"}')
    server = start()
    assert server.predict(PAGE).status == 200
    wait_until(lambda: capture_of(server, "pages_total", outcome="PrefixShared") == 1)
    assert capture_of(server, "refused") == 1
    assert server.status_of_readyz() == 200
    assert "PrefixShared" in server.log.read_text()
    answer = server.request("POST", "/feedback", b'{"document": "d"}', "application/json").json
    assert (answer["kept"], answer["reason"]) == ({"report": False, "page": False}, "PrefixShared")
    assert [path.name for path in owner.parent.rglob("*")] == ["capture.json"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FINETUNE_CAPTURE_URI", "https://store/kept", "Use file://, s3://, gs://"),
        ("FINETUNE_CAPTURE_URI", "s3://me:secret@kept/x", "credentials by the pod"),
        ("FINETUNE_CAPTURE_RANDOM", "1.5", "number from 0 to 1"),
        ("FINETUNE_TRUSTED_PROXIES", "gateway", "addresses or networks"),
        ("FINETUNE_POD", "../pod", "the pod's name"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_a_remedy(
    name: str, value: str, words: str, model_dir: Path, start_server: StartServer
) -> None:
    server = start_server(model_dir, **{name: value})
    assert server.wait_end() == 10
    message = server.last_message()
    assert name in message
    assert words in message
    assert "secret" not in message


def test_an_id_says_on_which_day_it_was_made() -> None:
    before = str(datetime.now(UTC).date())
    ids = [new_prediction() for _ in range(100)]
    days = {before, str(datetime.now(UTC).date())}
    assert len(set(ids)) == 100
    assert all(len(name) == 32 and day_of(name) in days for name in ids)
    assert day_of("f" * 32)  # from elsewhere: any day, no error


def test_pages_of_a_large_document_that_would_not_fit_into_the_queue_are_lost_and_counted(
    tmp_path: Path, start: Any
) -> None:
    server = start(FINETUNE_CAPTURE_QUEUE_BYTES=str(1024 * 1024))
    document = pdf(*[(200, 200)] * 12)  # 480 KB of pixels each at 144 dpi
    assert len(server.predict(document, "application/pdf", "?pages=all&dpi=144").json["pages"]) == 12
    wait_until(lambda: capture_of(server, "pages_total") == 12)
    assert capture_of(server, "pages_total", outcome="Queue") >= 10
    wait_until(lambda: capture_of(server, "queue_bytes") == 0)
