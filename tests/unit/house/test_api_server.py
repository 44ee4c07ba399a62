"""The tests' client outlives connections that the API server closes while nobody uses them."""

import http.client
import time
from typing import Any

import pytest

from house.api_server import IDLE_SECONDS, ApiServer


class Connection:
    """Answers each request, but for the first `closed` after it was opened long ago."""

    def __init__(self, closed: int) -> None:
        self.closed = closed
        self.sent: list[str] = []
        self.opened = 0

    def request(self, method: str, path: str, body: Any, headers: Any) -> None:
        self.sent.append(method)

    def getresponse(self) -> "Connection":
        if self.closed:
            self.closed -= 1
            raise http.client.RemoteDisconnected("Remote end closed connection without response")
        return self

    status = 200

    def read(self) -> bytes:
        return b'{"kind": "Status"}'

    def close(self) -> None:
        self.opened += 1


def client(connection: Connection) -> ApiServer:
    made = ApiServer.__new__(ApiServer)
    made._token, made._used = "t", time.monotonic()
    made._connection = connection  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_a_request_that_may_be_sent_twice_is_sent_again_once_on_a_new_connection(method: str) -> None:
    connection = Connection(closed=1)
    assert client(connection).request(method, "/x").accepted
    assert (connection.sent, connection.opened) == ([method, method], 1)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_request_that_may_have_been_carried_out_is_not_sent_again(method: str) -> None:
    connection = Connection(closed=1)
    with pytest.raises(http.client.RemoteDisconnected):
        client(connection).request(method, "/x", {})
    assert connection.sent == [method]


def test_a_server_that_keeps_closing_is_said() -> None:
    connection = Connection(closed=2)
    with pytest.raises(http.client.RemoteDisconnected):
        client(connection).request("GET", "/x")


def test_after_minutes_without_a_request_every_request_has_a_new_connection() -> None:
    connection = Connection(closed=0)
    idle = client(connection)
    idle._used -= IDLE_SECONDS + 1
    assert idle.request("POST", "/x", {}).accepted
    assert (connection.sent, connection.opened) == (["POST"], 1)
    idle.request("POST", "/x", {})
    assert connection.opened == 1
