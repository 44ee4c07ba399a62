"""A real S3 server whose certificate no public authority has signed, for tests of the members that reach it."""

import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

BUCKET = "bucket"


@dataclass(frozen=True)
class PrivateStore:
    """By which environment it is reached, and the file by which its certificate is trusted."""

    environment: dict[str, str]
    authority: Path


@contextmanager
def private_store(folder: Path, objects: dict[str, bytes]) -> Iterator[PrivateStore]:
    """Run moto's S3 server over HTTPS, as a process, with a bucket and these objects in it."""
    authority, key, log = (folder / name for name in ("ca.crt", "server.key", "log"))
    _sign_itself(authority, key)
    command = ["-H", "127.0.0.1", "-p", "0", "-c", str(authority), "-k", str(key)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", "from moto.server import main; main()", *command],
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        environment = {
            "AWS_ENDPOINT_URL": _address(process, log),
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        trusting = ssl.create_default_context(cafile=str(authority))
        for path, content in {BUCKET: b"", **{f"{BUCKET}/{name}": objects[name] for name in objects}}.items():
            address = f"{environment['AWS_ENDPOINT_URL']}/{path}"
            # Without a type urllib says that it is a form, and moto takes it for one.
            put = Request(address, data=content, method="PUT", headers={"Content-Type": "application/octet-stream"})
            urlopen(put, context=trusting, timeout=60).close()
        yield PrivateStore(environment, authority)
    finally:
        process.kill()
        process.wait()


def _sign_itself(certificate: Path, key: Path) -> None:
    made = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=a store", "-days", "2"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", *curve, "-nodes", *made, *names], check=True, capture_output=True)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while not (listening := re.search(r"Running on (https://127.0.0.1:\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return listening.group(1)
