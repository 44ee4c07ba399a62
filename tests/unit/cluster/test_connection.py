"""Other clients log in with what ours was given, whatever the source calls it."""

import asyncio

import pytest
from kubernetes.aio.client.configuration import Configuration

from finetune_operator.cluster.kube import connection_of


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer "])
def test_the_token_goes_without_its_prefix(prefix: str) -> None:
    configuration = Configuration(host="https://api:6443")
    configuration.api_key["BearerToken"] = f"{prefix}secret"
    connection = asyncio.run(connection_of(configuration))
    assert (connection.server, connection.token) == ("https://api:6443", "secret")


def test_without_a_token_there_is_none() -> None:
    assert asyncio.run(connection_of(Configuration(host="https://api:6443"))).token is None
