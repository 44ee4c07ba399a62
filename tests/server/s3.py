"""A real S3 server for tests, and a bucket on it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from server.support import DEADLINE, clean_environment

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "of-models", "AWS_DEFAULT_REGION": "eu-north-1"}


@dataclass(frozen=True)
class Bucket:
    """A bucket on a real S3 server, and the environment by which a pod reaches it."""

    name: str
    environment: dict[str, str]

    def put(self, key: str, content: bytes) -> str:
        self._client().put_object(Bucket=self.name, Key=key, Body=content)
        return f"s3://{self.name}/{key}"

    def files(self, prefix: str) -> dict[str, bytes]:
        """All that lies below a prefix, by what follows it."""
        client = self._client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {k.removeprefix(prefix): client.get_object(Bucket=self.name, Key=k)["Body"].read() for k in keys}

    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_DEFAULT_REGION"],
        )


@contextmanager
def s3_server(log: Path) -> Iterator[Bucket]:
    """Run moto's S3 server, as a process, over HTTP."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", "0"],
            env=clean_environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + DEADLINE
        while not (listening := re.search(r"Running on (http://127.0.0.1:\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        environment = CREDENTIALS | {"AWS_ENDPOINT_URL": listening.group(1)}
        boto3.client(
            "s3",
            endpoint_url=listening.group(1),
            aws_access_key_id="a",
            aws_secret_access_key="b",
            region_name="eu-north-1",
        ).create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
        yield Bucket("models", environment)
    finally:
        process.kill()
        process.wait()
