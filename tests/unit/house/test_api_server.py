"""The suites' client of an API server reads whatever an API server answers."""

import pytest

from house.api_server import Answer, parsed


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"404 page not found\n", "404 page not found"),
        (b'{"message": "not served yet"}', "not served yet"),
        (b'"ok"', '"ok"'),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"", ""),
    ],
)
def test_an_answer_that_is_no_object_is_read_as_its_message(body: bytes, message: str) -> None:
    assert Answer(404, parsed(body)).message == message
