"""First tries work: what clients send when nobody has told them how."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from openapi_spec_validator import validate

from finetune_server.errors import RequestError
from finetune_server.web.envelope import unwrapped
from server.support import (
    DEADLINE,
    Answer,
    ServerProcess,
    StartServer,
    connect,
    encode,
    page_with,
    pdf,
    peak_bytes,
    predict_head,
    receive_answer,
)

PAGE = encode(page_with("red", at=(32, 48)))
JPEG = encode(page_with("red", at=(32, 48)), ".jpg")


def names_of(answer: Answer) -> list[str]:
    return [field["field"] for field in answer.json["fields"]]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (JPEG, "image/jpg"),
        (JPEG, "image/pjpeg"),
        (JPEG, "IMAGE/JPEG"),
        (JPEG, "image/*"),
        (JPEG, "*/*"),
        (JPEG, "image/png"),
        (PAGE, "image/x-png"),
        (PAGE, "application/octet-stream"),
        (PAGE, "binary/octet-stream"),
        (PAGE, "application/x-www-form-urlencoded"),
        (PAGE, "text/plain;charset=UTF-8"),
        (PAGE, ""),
        (PAGE, None),
        (pdf((144, 144)), "application/x-pdf"),
        (pdf((144, 144)), "image/pdf"),
        (encode(page_with("red", at=(32, 48)), ".bmp"), "image/x-ms-bmp"),
        (encode(page_with("red", at=(32, 48)), ".tiff"), "image/tif"),
    ],
)
def test_the_bytes_decide_whatever_the_type_says(server: ServerProcess, body: bytes, content_type: str | None) -> None:
    answer = server.request("POST", "/predict", body, content_type)
    assert answer.status == 200, answer.content
    assert names_of(answer) == ["red"]


def form(*parts: tuple[str, bytes], boundary: str = "xyz") -> tuple[bytes, str]:
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


FILE = 'name="file"; filename="page.png"'


@pytest.mark.parametrize(
    "parts",
    [
        [(FILE, PAGE)],
        [('name="image"; filename=""', PAGE)],
        [('name="anything"', PAGE)],
        [('name="note"', b"for you"), (FILE, PAGE)],
        [(FILE + "\r\nContent-Type: text/plain", PAGE)],
    ],
)
def test_a_form_with_one_file_is_a_page(server: ServerProcess, parts: list[tuple[str, bytes]]) -> None:
    answer = server.predict(*form(*parts))
    assert answer.status == 200, answer.content
    assert names_of(answer) == ["red"]


@pytest.mark.parametrize(
    ("parts", "status", "reason"),
    [
        ([(FILE, PAGE), (FILE, PAGE)], 422, "FormInvalid"),
        ([(FILE, PAGE), ('name="page"', b"2")], 422, "FormInvalid"),
        ([(FILE, b"")], 400, "BodyEmpty"),
        ([(FILE, b"hello")], 415, "MediaTypeUnsupported"),
        ([], 422, "FormInvalid"),
    ],
)
def test_a_form_without_one_page_says_what_to_send(
    server: ServerProcess, parts: list[tuple[str, bytes]], status: int, reason: str
) -> None:
    answer = server.predict(*form(*parts))
    assert (answer.status, answer.reason) == (status, reason)


def test_a_broken_form_is_refused(server: ServerProcess) -> None:
    body, content_type = form((FILE, PAGE))
    assert server.predict(b"nonsense" + body, content_type).status == 400
    assert server.predict(body, "multipart/form-data").reason == "MediaTypeUnsupported"
    assert server.predict(body, "multipart/mixed; boundary=xyz").reason == "MediaTypeUnsupported"


def send(server: ServerProcess, body: bytes, *headers: str) -> tuple[int, dict[str, str]]:
    with connect(server) as connection:
        lines = ["POST /predict HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)
        return receive_answer(connection)


def test_a_gzip_body_is_taken(server: ServerProcess) -> None:
    packed = gzip.compress(PAGE)
    assert send(server, packed, "Content-Encoding: gzip")[0] == 200
    assert send(server, packed, "Content-Encoding: x-gzip")[0] == 200
    assert send(server, PAGE, "Content-Encoding: identity")[0] == 200
    assert send(server, gzip.compress(PAGE[:20]) + gzip.compress(PAGE[20:]), "Content-Encoding: gzip")[0] == 200
    body, content_type = form((FILE, PAGE))
    assert send(server, gzip.compress(body), "Content-Encoding: gzip", f"Content-Type: {content_type}")[0] == 200


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (PAGE, "br", 415),
        (PAGE, "gzip", 400),
        (gzip.compress(PAGE)[:-20], "gzip", 400),
        (gzip.compress(bytes(30_000_000)), "gzip", 413),
    ],
)
def test_a_coding_that_is_not_taken_is_named(server: ServerProcess, body: bytes, coding: str, status: int) -> None:
    assert send(server, body, f"Content-Encoding: {coding}")[0] == status


GZIP = ("gzip", "")
FORM = ("", "multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    ("story", "body", "wrapping", "refused"),
    [
        ("a million members", gzip.compress(b"") * 1_000_000, GZIP, (400, "BodyNotGzip")),
        ("a million members with zeros between", (gzip.compress(b"") + bytes(9)) * 700_000, GZIP, (400, "BodyNotGzip")),
        ("what begins like parts", b"--b\r\n\r\n" + b"\r\n--b_" * 3_000_000 + b"\r\n--b--", FORM, (422, "FormInvalid")),
        ("two million parts", b"--b\r\n\r\n\r\n" * 2_000_000 + b"--b--\r\n", FORM, (422, "FormInvalid")),
    ],
)
def test_what_a_body_is_wrapped_in_costs_no_more_than_its_bytes(
    story: str, body: bytes, wrapping: tuple[str, str], refused: tuple[int, str]
) -> None:
    started = time.process_time()
    with pytest.raises(RequestError) as caught:
        unwrapped(body, *wrapping, 20 * 2**20)
    assert (caught.value.status, caught.value.reason) == refused, story
    assert time.process_time() - started < 1, story


def test_of_bodies_that_grow_when_they_are_opened_few_are_open_at_once(
    model_dir: Path, start_server: StartServer
) -> None:
    body = gzip.compress(encode(page_with("red", at=(0, 0)))[:8] + bytes(19 * 2**20))
    head = predict_head(body, "image/png", "Content-Encoding: gzip")
    server = start_server(model_dir, FINETUNE_MAX_IN_FLIGHT="4", FINETUNE_MAX_DOCUMENTS="4")
    server.wait_ready()
    before = peak_bytes(server)
    with ExitStack() as stack:
        sent = [stack.enter_context(connect(server)) for _ in range(40)]
        for connection in sent:
            connection.settimeout(60)
            connection.sendall(head + body)
        statuses = {receive_answer(connection)[0] for connection in sent}
    assert statuses == {422, 503}
    assert peak_bytes(server) < before + 250 * 2**20, "they are 760 MB together"
    assert server.predict(body, "image/png").status == 415


@pytest.mark.parametrize("piece", [1000, 16 * 1024, 100_000])
def test_gzip_of_many_members_is_taken_however_they_lie(piece: int) -> None:
    content = np.random.default_rng(2).integers(0, 256, 300_000, np.uint8).tobytes()
    pieces = [content[at : at + piece] for at in range(0, len(content), piece)]
    for between in (b"", bytes(5), bytes(40_000)):
        body = between.join(gzip.compress(part) for part in pieces) + between
        assert unwrapped(body, *GZIP, len(content)) == (content, None)
        with pytest.raises(RequestError, match="larger than"):
            unwrapped(body, *GZIP, len(content) - 1)
    with pytest.raises(RequestError, match="before its end"):
        unwrapped(b"".join(gzip.compress(part) for part in pieces)[:-1], *GZIP, len(content))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"GIF89a" + bytes(20), "GIF"),
        (gzip.compress(PAGE), "Content-Encoding: gzip"),
        (b"PK\x03\x04" + bytes(20), "zip"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"iVBORw0KGgo=", "base64"),
        (b"data:image/png;base64,iVBORw0KGgo=", "data URL"),
        (b'{"image": ""}', "JSON"),
        (b"<svg/>", "SVG"),
        (b"?", "no kind"),
    ],
)
def test_every_415_says_what_it_is_and_what_to_send(server: ServerProcess, body: bytes, word: str) -> None:
    answer = server.predict(body, "application/octet-stream")
    assert (answer.status, answer.reason) == (415, "ContentUnsupported")
    message = answer.json["error"]["message"]
    assert word in message
    assert "curl" in message
    assert "PDF" in message


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize(
    "arguments",
    [
        ["-F", "file=@{}"],
        ["-F", "file=<{}"],
        ["--data-binary", "@{}"],
        ["-T", "{}", "-X", "POST"],
        ["--data-binary", "@{}", "-H", "Content-Type:"],
        ["--data-binary", "@{}", "-H", "Transfer-Encoding: chunked"],
    ],
)
def test_curl_is_understood(server: ServerProcess, tmp_path: Path, arguments: list[str]) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(PAGE)
    command = ["curl", "-sS", *(a.format(page) for a in arguments), f"http://127.0.0.1:{server.port}/predict"]
    said = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE).stdout
    assert b'"field":"red"' in said, said


def test_the_description_for_machines_is_valid_and_complete(server: ServerProcess) -> None:
    description = server.get("/openapi.json").json
    validate(description)
    assert set(description["paths"]) == {
        "/predict", "/feedback", "/version", "/readyz", "/livez", "/metrics", "/openapi.json",
    }  # fmt: skip


PAGES = [page_with(colour, at=(32, 48)) for colour in ("red", "green", "blue")]


def many(server: ServerProcess, body: bytes, pages: str) -> Answer:
    return server.request("POST", f"/predict?pages={pages}", body)


def tiff_of(*pages: np.ndarray) -> bytes:
    ok, data = cv2.imencodemulti(".tiff", list(pages))
    assert ok
    return bytes(data)


DOCUMENTS = {
    "pdf": pdf((144, 144), (144, 144), (144, 144), colours=("red", "green", "blue")),
    "tiff": tiff_of(*PAGES),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize(
    ("pages", "numbers"),
    [
        ("all", [1, 2, 3]),
        ("2", [2]),
        ("1-2", [1, 2]),
        ("2-", [2, 3]),
        ("3,1", [3, 1]),
        ("1-2,2-3", [1, 2, 3]),
        ("ALL", [1, 2, 3]),
    ],
)
def test_the_pages_of_a_document_are_answered_each(
    server: ServerProcess, kind: str, pages: str, numbers: list[int]
) -> None:
    answer = many(server, DOCUMENTS[kind], pages)
    assert answer.status == 200, answer.content
    assert [page["number"] for page in answer.json["pages"]] == numbers
    colours = ("red", "green", "blue")
    assert [[f["field"] for f in page["fields"]] for page in answer.json["pages"]] == [
        [colours[n - 1]] for n in numbers
    ]
    assert all(page["page"]["width"] > 0 for page in answer.json["pages"])
    assert answer.json["model"]["version"] == "ft_v1.1"


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_page_of_a_document_is_chosen_by_number(server: ServerProcess, kind: str) -> None:
    assert names_of(server.request("POST", "/predict?page=3", DOCUMENTS[kind])) == ["blue"]
    answer = server.request("POST", "/predict?page=4", DOCUMENTS[kind])
    assert (answer.status, answer.reason) == (422, "PageOutOfRange")
    assert many(server, DOCUMENTS[kind], "2-4").reason == "PageOutOfRange"
    assert many(server, DOCUMENTS[kind], "9-").reason == "PageOutOfRange"


@pytest.mark.parametrize("body", [PAGE, JPEG], ids=["png", "jpeg"])
def test_an_image_is_a_document_of_one_page(server: ServerProcess, body: bytes) -> None:
    (page,) = many(server, body, "all").json["pages"]
    assert (page["number"], [f["field"] for f in page["fields"]]) == (1, ["red"])
    assert many(server, body, "2").reason == "PageOutOfRange"


@pytest.mark.parametrize("pages", ["", "0", "one", "3-1", "1-2-3", "-2", "1,,2", "99999999", "%D9%A1", "all,1"])
def test_pages_that_cannot_be_meant_are_refused(server: ServerProcess, pages: str) -> None:
    answer = many(server, PAGE, pages)
    assert (answer.status, answer.reason) == (400, "QueryInvalid")


def test_page_and_pages_are_not_given_together(server: ServerProcess) -> None:
    assert server.request("POST", "/predict?page=1&pages=1", PAGE).reason == "QueryInvalid"


def test_a_bad_page_does_not_hide_the_others(server: ServerProcess) -> None:
    document = pdf((144, 144), (14_400, 14_400), (144, 144))
    first, bad, last = many(server, document, "all").json["pages"]
    assert first["fields"]
    assert last["fields"]
    assert bad.keys() == {"number", "error"}
    assert bad["error"]["reason"] == "TooManyPixels"


def test_more_pages_than_are_read_at_once_are_refused_by_the_limits_name(server: ServerProcess) -> None:
    answer = many(server, pdf(*[(36, 36)] * 60), "all")
    assert (answer.status, answer.reason) == (422, "TooManyPages")
    assert "FINETUNE_MAX_PAGES" in answer.json["error"]["message"]
    assert many(server, pdf(*[(36, 36)] * 60), "1-3").status == 200
