"""The one question to a Prometheus, against a real HTTP server that is away, slow, or lies in each way there is."""

import asyncio
import json
import math
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from finetune_operator.cluster.prometheus import MOST_BYTES, PAUSE, Address, NoAnswer, Prometheus, Sample

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ONE = {"metric": {"alertname": "A"}, "value": [1700000000.0, "1"]}


def vector(*result: Any, **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": list(result)}, **more})


def says(text: str, status: int = 200, **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, headers=headers)

    return answer


@dataclass
class Asking:
    """A Prometheus behind a real server, and the requests that it saw."""

    handler: Handler
    address: dict[str, Path] = field(default_factory=dict)
    path: str = ""
    seen: list[web.Request] = field(default_factory=list)
    now: float = 0.0

    async def each(self, times: int, pause: float = 0.0) -> list[tuple[Sample, ...] | str]:
        async def serve(request: web.Request) -> web.StreamResponse:
            self.seen.append(request)
            return await self.handler(request)

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", serve)
        answers: list[tuple[Sample, ...] | str] = []
        async with TestServer(app) as server:
            url = f"http://127.0.0.1:{server.port}{self.path}"
            prometheus = Prometheus(Address(url=url, **self.address), lambda: self.now, seconds=20)
            for _ in range(times):
                try:
                    answers.append(await prometheus.ask('up{namespace="ml"}'))
                except NoAnswer as error:
                    answers.append(f"{error.problem.reason}: {error.problem.message}")
                self.now += pause
            await prometheus.close()
        return answers

    def once(self) -> tuple[Sample, ...] | str:
        return asyncio.run(self.each(1))[0]


def test_an_instant_vector_is_read() -> None:
    asking = Asking(says(vector(ONE)), path="/prometheus/")
    assert asking.once() == (Sample({"alertname": "A"}, (1700000000.0, "1")),)
    (request,) = asking.seen
    assert (request.method, request.path) == ("GET", "/prometheus/api/v1/query")
    assert request.query == {"query": 'up{namespace="ml"}'}
    assert request.headers["Accept-Encoding"] == "identity"


def test_nothing_is_an_answer() -> None:
    assert Asking(says(vector())).once() == ()


@pytest.mark.parametrize(("value", "finite"), [("NaN", False), ("+Inf", False), ("much", False), ("0.25", True)])
def test_values_are_read_as_they_are(value: str, finite: bool) -> None:
    answer = Asking(says(vector({"metric": {}, "value": [1, value]}))).once()
    assert isinstance(answer, tuple)
    assert [math.isfinite(sample.number) for sample in answer] == [finite]


LIES = {
    "HTML": "<html>sign in</html>",
    "empty": "",
    "a list": "[]",
    "no data": '{"status":"success"}',
    "an error": '{"status":"error","errorType":"execution","error":"x"}',
    "a matrix": vector(ONE).replace("vector", "matrix"),
    "no value": vector({"metric": {}}),
    "a label that is no text": vector({"metric": {"a": 1}, "value": [1, "1"]}),
    "a value that is no text": vector({"metric": {}, "value": [1, 1]}),
    "in part": vector(ONE, warnings=["1 store is away"]),
    "too long": vector(*[ONE] * (MOST_BYTES // 50)),
}


@pytest.mark.row("D205")
@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_answer_is_a_problem_in_words(lie: str) -> None:
    answer = Asking(says(LIES[lie])).once()
    assert isinstance(answer, str)
    assert answer.startswith("PrometheusAnswerInvalid: what Prometheus answers cannot be used: it ")
    assert answer.endswith("; the platform names it in the chart (prometheus.url)")


@pytest.mark.row("D205")
@pytest.mark.parametrize("status", [204, 400, 401, 403, 404, 422, 500, 503])
def test_another_status_than_200_is_a_refusal(status: int) -> None:
    answer = Asking(says(vector(ONE), status)).once()
    assert str(answer).startswith(f"PrometheusRefused: Prometheus answers with HTTP status {status}; ")
    assert "prometheus." in str(answer)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    asking = Asking(says("", status, Location="/elsewhere"))
    answer = asking.once()
    assert str(answer).startswith(f"PrometheusRefused: Prometheus answers with HTTP status {status}; redirects are not")
    assert len(asking.seen) == 1


def test_an_answer_without_an_end_is_cut_off() -> None:
    sent = 0

    async def for_ever(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 64 * MOST_BYTES:
            await response.write(b" " * 65536)
            sent += 65536
        return response

    asking = Asking(for_ever)
    answer = asking.once()
    assert str(answer).startswith(("PrometheusAnswerInvalid", "PrometheusUnreachable"))
    assert sent < 64 * MOST_BYTES


class Hasty(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward: who waits for an answer that does not come has waited long enough."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def hangs(_: web.Request) -> web.StreamResponse:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Hasty)
    loop.ahead += 30
    await asyncio.sleep(30)
    return web.Response()


async def breaks(request: web.Request) -> web.StreamResponse:
    """In the middle of its answer."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.row("D205")
@pytest.mark.parametrize(("handler", "words"), [(hangs, "no answer within 20 s"), (breaks, "the connection broke")])
def test_after_silence_nobody_waits_for_it_for_a_while(handler: Handler, words: str) -> None:
    """Thirty-two workers and a Prometheus that hangs: decisions go on."""
    asking = Asking(handler)
    with asyncio.Runner(loop_factory=Hasty) as runner:
        answers = runner.run(asking.each(4, pause=PAUSE / 3 + 0.1))
    named = "the platform names it in the chart (prometheus.url)"
    assert set(answers) == {f"PrometheusUnreachable: Prometheus does not answer: {words}; {named}"}
    assert len(asking.seen) == 2


def test_an_answer_ends_the_silence() -> None:
    gives: list[Handler] = [breaks, says(vector(ONE)), says(vector(ONE))]

    async def by_turns(request: web.Request) -> web.StreamResponse:
        return await gives.pop(0)(request)

    asking = Asking(by_turns)
    first, second, third = asyncio.run(asking.each(3, pause=PAUSE))
    assert isinstance(first, str)
    assert second == third == (Sample({"alertname": "A"}, (1700000000.0, "1")),)


def test_trouble_is_logged_once_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    gives: list[Handler] = [says("", 500), says("", 500), says(vector()), says(vector()), breaks]

    async def by_turns(request: web.Request) -> web.StreamResponse:
        return await gives.pop(0)(request)

    caplog.set_level("INFO", "finetune_operator")
    asyncio.run(Asking(by_turns).each(5, pause=PAUSE))
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "Prometheus answers with HTTP status 500",
        "Prometheus answers again",
        "Prometheus does not answer: the connection broke",
    ]


def test_only_one_asks_while_it_is_silent() -> None:
    async def all_at_once() -> int:
        asked = 0

        async def count(request: web.Request) -> web.StreamResponse:
            nonlocal asked
            asked += 1
            return await breaks(request)

        app = web.Application()
        app.router.add_get("/api/v1/query", count)
        now = 0.0
        async with TestServer(app) as server:
            prometheus = Prometheus(Address(url=f"http://127.0.0.1:{server.port}"), lambda: now)
            with pytest.raises(NoAnswer):
                await prometheus.ask("up")
            now, asked = PAUSE, 0
            await asyncio.gather(*(prometheus.ask("up") for _ in range(32)), return_exceptions=True)
            await prometheus.close()
        return asked

    assert asyncio.run(all_at_once()) == 1


def test_nobody_there_is_said() -> None:
    async def ask() -> str:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            prometheus = Prometheus(Address(url=f"http://127.0.0.1:{unused.getsockname()[1]}"))
            with pytest.raises(NoAnswer) as caught:
                await prometheus.ask("up")
            await prometheus.close()
        return caught.value.problem.message

    assert "it cannot be connected to" in asyncio.run(ask())


def test_a_token_and_headers_are_read_anew_for_each_question(tmp_path: Path) -> None:
    """Mounted Secrets rotate while the operator runs."""
    token, headers = tmp_path / "token", tmp_path / "headers"
    token.write_text("first\n")
    headers.write_text("X-Scope-OrgID: invoices\n\nX-From:  the operator \n")

    async def rotate(_: web.Request) -> web.StreamResponse:
        token.write_text("second")
        headers.write_text("X-Scope-OrgID: others")
        return web.Response(text=vector())

    asking = Asking(rotate, {"token_file": token, "headers_file": headers})
    asyncio.run(asking.each(2))
    first, second = (request.headers for request in asking.seen)
    assert (first["Authorization"], first["X-Scope-OrgID"], first["X-From"]) == (
        "Bearer first",
        "invoices",
        "the operator",
    )
    assert (second["Authorization"], second["X-Scope-OrgID"], "X-From" in second) == ("Bearer second", "others", False)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("token_file", None, "prometheus.tokenFile is of no use: it cannot be read"),
        ("token_file", "", "prometheus.tokenFile is of no use: it is empty"),
        ("token_file", "two words", "or holds more than one token"),
        ("headers_file", "no colon", "prometheus.headersFile is of no use: line 1 is not 'Name: value'"),
        ("headers_file", "Good: 1\nB ad: 2", "line 2 is not"),
        ("headers_file", "Name: a\x01b", "line 1 is not"),
        ("ca_file", "anything", "prometheus.caFile is of no use: it holds no certificate in PEM"),
        ("ca_file", "\n", "prometheus.caFile is of no use: it holds no certificate in PEM"),
        ("ca_file", None, "prometheus.caFile is of no use: it cannot be read"),
    ],
)
def test_a_file_that_is_of_no_use_is_said_without_its_text(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    path = tmp_path / "file"
    if text is not None:
        path.write_text(text)
    asking = Asking(says(vector()), {name: path})
    answer = asking.once()
    assert words in str(answer)
    assert asking.seen == []
    assert not (text or "").strip() or str(text) not in str(answer)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "server.crt", folder / "server.key"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *names, "-keyout", key, "-out", made], check=True, capture_output=True
    )
    return made, key


def test_whom_to_trust_is_said_by_the_ca_file(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    async def ask(ca: Path | None) -> tuple[Sample, ...] | str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        app = web.Application()
        app.router.add_get("/api/v1/query", says(vector()))
        server = TestServer(app, scheme="https")
        await server.start_server(ssl=context)
        prometheus = Prometheus(Address(url=f"https://127.0.0.1:{server.port}", ca_file=ca))
        try:
            return await prometheus.ask("up")
        except NoAnswer as error:
            return error.problem.message
        finally:
            await prometheus.close()
            await server.close()

    assert asyncio.run(ask(certificate[0])) == ()
    assert "its certificate is not trusted" in str(asyncio.run(ask(None)))
