"""Reports: truthful about what was kept, once a document, bounded by client; the page may come along."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from finetune_server.web.feedback import checked_document
from server.support import (
    DEADLINE,
    Answer,
    ServerProcess,
    StartServer,
    encode,
    install_model,
    page_with,
    pdf,
    sha256,
    tiny_model,
)
from server.test_server_capture import ALL, NONE_DRAWN, folder, on_disk, records, wait_stored

PAGE = encode(page_with("red", at=(32, 48)))
KEPT = {"report": True, "page": True}
WITHOUT_PAGE = {"report": True, "page": False}
NOT_UNCERTAIN = {**NONE_DRAWN, "FINETUNE_CAPTURE_UNCERTAIN": "0"}


@pytest.fixture
def start(tmp_path: Path, start_server: StartServer) -> Any:
    def ready(**environment: str) -> ServerProcess:
        defaults = {"FINETUNE_CAPTURE_URI": (tmp_path / "kept").as_uri()}
        server = start_server(install_model(tmp_path / "model", tiny_model()), **{**defaults, **environment})
        server.wait_ready()
        return server

    return ready


def report(server: ServerProcess, said: dict[str, Any], file: bytes | None = None) -> Answer:
    text = json.dumps(said).encode()
    if file is None:
        return server.request("POST", "/feedback", text, "application/json")
    form = b'--b\r\nContent-Disposition: form-data; name="report"\r\n\r\n' + text
    form += b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="page"\r\n\r\n' + file + b"\r\n--b--\r\n"
    return server.request("POST", "/feedback", form, "multipart/form-data; boundary=b")


def counted(server: ServerProcess) -> float:
    return next(value for name, value in server.metrics().items() if name.startswith("finetune_feedback_total"))


def test_a_report_is_kept_with_what_is_known_of_its_answer(tmp_path: Path, start: Any) -> None:
    server = start(**NOT_UNCERTAIN)
    answer = server.predict(PAGE, query="?document=invoice-17").json
    said = report(
        server, {"prediction": answer["prediction"], "fields": ["red"], "missing": ["blue"], "comment": "no!"}
    )
    assert (said.status, said.json["kept"], said.json["reason"]) == (202, WITHOUT_PAGE, "PageNotSent")
    ((path, kept),) = folder(on_disk(tmp_path / "kept"), "reports")
    assert path.endswith(f"/{kept['id']}.json")
    assert (kept["subject"], kept["document"]) == ("document:invoice-17", "invoice-17")
    assert kept["page"] == {"sha256": sha256(PAGE), "number": 1}
    assert (kept["fields"], kept["missing"], kept["comment"]) == (["red"], ["blue"], "no!")
    assert (kept["model"], kept["record"]) == (answer["model"], None)


def test_a_page_that_comes_along_is_kept_as_reported_with_its_boxes_and_not_counted_again(
    tmp_path: Path, start: Any
) -> None:
    server = start(**NOT_UNCERTAIN)
    document = pdf((100, 100), (100, 100), colours=("red", "green"))
    answer = server.predict(document, "application/pdf", "?page=2&dpi=144&document=d").json
    pages = [v for k, v in server.metrics().items() if k.startswith("finetune_documents_total")]
    said = report(server, {"prediction": answer["prediction"], "page": answer["page"], "fields": ["red"]}, document)
    assert (said.status, said.json) == (202, {"accepted": True, "kept": KEPT})
    assert [v for k, v in server.metrics().items() if k.startswith("finetune_documents_total")] == pages
    files = on_disk(tmp_path / "kept")
    (record,) = records(files)
    assert (record["stratum"], record["document"], record["prediction"]) == ("Reported", "d", answer["prediction"])
    assert (record["page"]["number"], record["page"]["dpi"]) == (2, 144)
    assert [field["field"] for field in record["fields"]] == ["green"]
    assert folder(files, "reports")[0][1]["record"] == record["prediction"]
    assert [content for path, content in files.items() if "/files/" in path] == [document]


@pytest.mark.parametrize("along", [True, False])
@pytest.mark.parametrize("named", ["prediction", "page"])
def test_a_page_that_was_captured_before_stays_in_its_stratum(
    tmp_path: Path, start: Any, along: bool, named: str
) -> None:
    server = start(**ALL)
    answer = server.predict(PAGE).json
    wait_stored(server, 1)
    said = report(server, {named: answer[named]}, PAGE if along else None)
    assert said.json["kept"] == KEPT
    assert "reason" not in said.json
    assert [record["stratum"] for record in records(on_disk(tmp_path / "kept"))] == ["Random"]


def test_reports_of_one_document_count_once_whatever_they_name(tmp_path: Path, start: Any) -> None:
    server = start(**NOT_UNCERTAIN)
    answer = server.predict(PAGE, query="?document=d").json
    for said in ({"prediction": answer["prediction"]}, {"page": answer["page"]}, {"document": "d", "fields": ["red"]}):
        assert report(server, said).json["kept"]["report"]
    assert report(server, {"document": "d", "fields": ["red"]}).json["kept"]["report"], "sent again"
    assert counted(server) == 1
    kept = [content for _, content in folder(on_disk(tmp_path / "kept"), "reports")]
    assert {content["subject"] for content in kept} == {"document:d"}
    assert len(kept) == 2, "a report that is sent again, or names its answer otherwise, is the same file"


def test_a_document_is_one_however_its_accents_are_written(tmp_path: Path, start: Any) -> None:
    server = start(**NOT_UNCERTAIN)
    composed, apart = "Müller-7", "Mu\N{COMBINING DIAERESIS}ller-7"
    assert report(server, {"document": apart, "fields": ["red"]}).status == 202
    assert report(server, {"document": composed, "fields": ["red"]}).status == 202
    assert counted(server) == 1
    assert [checked_document(name) for name in (apart, composed, "\N{MUSICAL SYMBOL HALF NOTE}" * 256)] == [
        composed, composed, "\N{MUSICAL SYMBOL HALF NOTE}" * 256,
    ]  # fmt: skip


def test_without_capture_a_report_is_counted_and_said_not_to_be_kept(start: Any) -> None:
    server = start(FINETUNE_CAPTURE_URI="")
    said = report(server, {"document": "d"}, PAGE).json
    assert (said["kept"], said["reason"]) == ({"report": False, "page": False}, "CaptureOff")
    assert counted(server) == 1


def test_a_client_may_send_so_many_reports_an_hour_and_no_header_makes_it_another(start: Any) -> None:
    server = start(FINETUNE_CAPTURE_URI="", FINETUNE_FEEDBACK_PER_HOUR="3")
    answers = []
    for number in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        headers = {"Content-Type": "application/json", "X-Forwarded-For": f"10.0.0.{number}"}
        connection.request("POST", "/feedback", b'{"document": "d%d"}' % number, headers)
        response = connection.getresponse()
        answers.append((response.status, response.getheader("retry-after")))
        connection.close()
    assert answers == [(202, None)] * 3 + [(429, "600")] * 2
    assert counted(server) == 3


def test_a_trusted_proxy_says_who_its_client_is(start: Any) -> None:
    server = start(FINETUNE_CAPTURE_URI="", FINETUNE_FEEDBACK_PER_HOUR="1", FINETUNE_TRUSTED_PROXIES="127.0.0.0/8")
    statuses = []
    clients = ("10.0.0.1", "10.0.0.2", "10.0.0.1", "2001:db8::1", "2001:db8::2")
    with_ports = ("10.0.0.2:40001", "10.0.0.3:40001", "10.0.0.3:40002", "[2001:db8::3]:40001")
    for client in clients + with_ports:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        headers = {"Content-Type": "application/json", "X-Forwarded-For": f"6.6.6.6, {client}"}
        connection.request("POST", "/feedback", b'{"document": "d"}', headers)
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [202, 202, 429, 202, 429, 429, 202, 429, 429]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "name the prediction, the page or the document"),
        ({"prediction": "7"}, "32 hexadecimal digits"),
        ({"page": {"sha256": "short"}}, "as an answer has it"),
        ({"page": {"sha256": "0" * 64, "number": 0}}, "page.number"),
        ({"page": {"sha256": "0" * 64, "number": True}}, "page.number"),
        ({"document": "d", "missing": ["colour"]}, "missing must be a list from red, green, blue"),
        ({"document": "d", "comment": ""}, "comment must be"),
        ({"document": "\ud800"}, "document must be"),
        ({"document": "d", "label": 1}, "label is unknown"),
        ({"document": "d", "\ud800": 1}, "\\ud800 is unknown"),
    ],
)
def test_a_report_that_cannot_be_used_says_why(server: ServerProcess, said: dict[str, Any], words: str) -> None:
    answer = report(server, said)
    assert (answer.status, answer.reason) == (422, "FeedbackInvalid")
    assert words in answer.json["error"]["message"]


def test_another_file_than_the_reported_page_is_refused(server: ServerProcess) -> None:
    answer = report(server, {"page": {"sha256": "0" * 64}}, PAGE)
    assert (answer.status, answer.reason) == (422, "FeedbackInvalid")
    known = server.predict(PAGE).json
    other = encode(page_with("blue", at=(0, 0)))
    assert report(server, {"prediction": known["prediction"]}, other).status == 422


def test_a_report_of_an_answer_is_of_the_page_that_was_answered(tmp_path: Path, start: Any) -> None:
    server = start(**NOT_UNCERTAIN)
    document = pdf((100, 100), (100, 100), colours=("red", "green"))
    answer = server.predict(document, "application/pdf", "?page=2&dpi=144").json
    digest, known = sha256(document), {"prediction": answer["prediction"]}
    for other in ({"number": 1}, {"dpi": 72}, {"number": 3, "dpi": 144}):
        refused = report(server, {**known, "page": {"sha256": digest, **other}}, document)
        assert (refused.status, refused.reason) == (422, "FeedbackInvalid"), other
    by_page = report(server, {"page": {"sha256": digest, "number": 2, "dpi": 72}}, document)
    assert by_page.json["kept"] == KEPT
    by_prediction = report(server, {**known, "page": {"sha256": digest}}, document)
    assert by_prediction.json["kept"] == KEPT
    kept = {record["prediction"] == answer["prediction"]: record for record in records(on_disk(tmp_path / "kept"))}
    assert [(kept[own]["page"]["number"], kept[own]["page"]["dpi"]) for own in (True, False)] == [(2, 144), (2, 72)]
    assert kept[True]["page"]["width"] == answer["page"]["width"]


def test_the_document_may_be_named_in_the_form(tmp_path: Path, start: Any) -> None:
    server = start(**ALL)
    form = b'--b\r\nContent-Disposition: form-data; name="document"\r\n\r\ninvoice-17'
    form += b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="p"\r\n\r\n' + PAGE + b"\r\n--b--\r\n"
    assert server.predict(form, "multipart/form-data; boundary=b").status == 200
    wait_stored(server, 1)
    assert records(on_disk(tmp_path / "kept"))[0]["document"] == "invoice-17"
    too_long = server.predict(PAGE, query="?document=" + "d" * 257)
    assert (too_long.status, too_long.reason) == (422, "DocumentInvalid")
