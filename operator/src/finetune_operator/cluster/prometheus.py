"""A Prometheus by its HTTP API: one question, a bounded answer in a bounded time, or a problem in words."""

import logging
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from ..decide.views import Problem

MOST_BYTES: Final = 1 << 20
"""An answer of a thousand fields has a quarter of it."""

SECONDS: Final = 5.0
"""How long one question may take in all."""

PAUSE: Final = 30.0
"""How long nobody asks after one that got no answer: a decision must not wait for a Prometheus that hangs."""

AT_ONCE: Final = 8
"""Connections; more questions wait, within their time."""

NAMES_IT: Final = "the platform names it in the chart (prometheus.url)"

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")

log = logging.getLogger(__name__)


class NoAnswer(Exception):
    """Why nothing is known; `problem` is fit for a condition, and the same as long as the trouble is the same."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the Prometheus is, and the mounted files that say who asks; they are read anew for each question."""

    url: str
    ca_file: Path | None = None
    token_file: Path | None = None
    headers_file: Path | None = None


class Sample(msgspec.Struct, frozen=True):
    """One series of an answer: its labels, and the moment and text of its value."""

    metric: dict[str, str]
    value: tuple[float, str]

    @property
    def number(self) -> float:
        """The value; NaN where it is no number. Never raises."""
        try:
            return float(self.value[1])
        except ValueError:
            return float("nan")


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str
    result: list[msgspec.Raw]


class _Answer(msgspec.Struct, frozen=True):
    status: str
    data: _Data | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Prometheus:
    """The one Prometheus of the operator. Never follows a redirect, and looks at no proxy of the environment."""

    address: Address
    steady: Callable[[], float] = time.monotonic
    seconds: float = SECONDS
    _session: aiohttp.ClientSession | None = None
    _silent: Problem | None = None
    """What was wrong when nothing answered last; nobody asks before `_again`."""
    _again: float = 0.0
    _said: str = ""
    """What the log has of its trouble."""
    _trust: tuple[bytes, ssl.SSLContext] | None = field(default=None, repr=False)

    async def ask(self, expression: str) -> tuple[Sample, ...]:
        """Return the instant vector that `expression` comes to. Raises NoAnswer."""
        if self._silent is not None:
            if self.steady() < self._again:
                raise NoAnswer(self._silent)
            # One asks, the others go on with what is known: they come by here until it has an answer.
            self._again = self.steady() + PAUSE
        try:
            samples = _vector(await self._get(expression))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._silent, self._again = _silence(error, self.seconds), self.steady() + PAUSE
            self._log(self._silent.message)
            raise NoAnswer(self._silent) from error
        except NoAnswer as error:
            self._silent = None
            self._log(error.problem.message)
            raise
        self._silent = None
        self._log("")
        return samples

    def _log(self, problem: str) -> None:
        """Say what is wrong, once; nothing is "", and said after something was."""
        if problem != self._said:
            self._said = problem
            log.warning("%s", problem) if problem else log.info("Prometheus answers again")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, expression: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE),
                timeout=aiohttp.ClientTimeout(total=self.seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        url, headers = f"{self.address.url.rstrip('/')}/api/v1/query", self._headers()
        async with self._session.get(
            url, params={"query": expression}, headers=headers, allow_redirects=False, ssl=self._tls()
        ) as response:
            if response.status != 200:
                raise NoAnswer(_refusal(response.status))
            return await _read(response.content)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.address.headers_file is not None:
            for number, line in enumerate(_text(self.address.headers_file, "headersFile").splitlines(), start=1):
                if not line.strip():
                    continue
                read = _HEADER.fullmatch(line.strip())
                if read is None:
                    raise NoAnswer(_unusable("headersFile", f"line {number} is not 'Name: value'"))
                headers[read[1]] = read[2]
        if self.address.token_file is not None:
            token = _text(self.address.token_file, "tokenFile").strip()
            if _TOKEN.fullmatch(token) is None:
                raise NoAnswer(_unusable("tokenFile", "it is empty, or holds more than one token"))
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _tls(self) -> ssl.SSLContext | bool:
        """Return whom to trust: the CA file as it is now, or the system's CAs."""
        if self.address.ca_file is None:
            return True
        text = _text(self.address.ca_file, "caFile")
        if self._trust is None or self._trust[0] != text.encode():
            try:
                # Of nothing at all Python would make the system's CAs.
                self._trust = text.encode(), ssl.create_default_context(cadata=text.strip() or "nothing")
            except (ssl.SSLError, ValueError) as error:
                raise NoAnswer(_unusable("caFile", "it holds no certificate in PEM")) from error
        return self._trust[1]


async def _read(content: aiohttp.StreamReader) -> bytes:
    parts, size = [], 0
    while part := await content.read(MOST_BYTES + 1 - size):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise NoAnswer(_invalid(f"it is longer than {MOST_BYTES} bytes"))
    return b"".join(parts)


def _vector(body: bytes) -> tuple[Sample, ...]:
    """Return the samples of an answer; one in part is none. Raises NoAnswer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer(_invalid("it is not the JSON of Prometheus' HTTP API")) from error
    if answer.status != "success" or answer.data is None or answer.data.result_type != "vector":
        raise NoAnswer(_invalid("it is no instant vector"))
    if answer.warnings:
        raise NoAnswer(_invalid("it has warnings, so that it may be in part"))
    try:
        return tuple(msgspec.json.decode(raw, type=Sample) for raw in answer.data.result)
    except msgspec.DecodeError as error:
        raise NoAnswer(_invalid("it is no instant vector")) from error


def _text(path: Path, value: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NoAnswer(_unusable(value, "it cannot be read")) from error


def _silence(error: Exception, seconds: float) -> Problem:
    """Return why nothing answered, without what differs from try to try."""
    match error:
        case TimeoutError():
            why = f"no answer within {seconds:g} s"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            why = "its certificate is not trusted (prometheus.caFile), or it does not speak TLS"
        case aiohttp.ClientConnectorError():
            why = "it cannot be connected to"
        case _:
            why = "the connection broke"
    return Problem("PrometheusUnreachable", f"Prometheus does not answer: {why}; {NAMES_IT}")


def _refusal(status: int) -> Problem:
    remedy = {
        401: "see prometheus.tokenFile",
        403: "see prometheus.tokenFile and prometheus.headersFile",
        404: "prometheus.url has to be what /api/v1/query comes after",
    }.get(status, "redirects are not followed; name where it leads to" if 300 <= status < 400 else NAMES_IT)
    return Problem("PrometheusRefused", f"Prometheus answers with HTTP status {status}; {remedy}")


def _invalid(why: str) -> Problem:
    return Problem("PrometheusAnswerInvalid", f"what Prometheus answers cannot be used: {why}; {NAMES_IT}")


def _unusable(value: str, why: str) -> Problem:
    return Problem("PrometheusNotAsked", f"the file of the chart's value prometheus.{value} is of no use: {why}")


def invalid(why: str) -> NoAnswer:
    """Return that an answer cannot be used, for reasons that only who asked can see."""
    return NoAnswer(_invalid(why))
