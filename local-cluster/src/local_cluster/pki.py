"""Certificates for one cluster, signed by its own throw-away authority; made by the `openssl` command."""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError

#: Ten years: a throw-away cluster is gone long before its certificates.
DAYS = "3650"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The paths of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


def _openssl(arguments: Iterable[str | Path], what: str) -> None:
    try:
        done = subprocess.run(
            ["openssl", *(str(part) for part in arguments)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError("openssl is not installed", "run: local-cluster/cluster packages install") from error
    if done.returncode != 0:
        raise ClusterError(f"openssl could not make {what}: {done.stderr[-500:]}", "OpenSSL 3.0 or newer is needed")


def _new_key(path: Path) -> None:
    path.touch(mode=0o600)
    # `ecparam` writes SEC 1, the one form of a P-256 key that the API server takes for signing and for verifying.
    _openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path], f"the key {path}")


def make_authority(folder: Path) -> KeyPair:
    """Make a certificate authority in `folder` and return it."""
    pair = KeyPair(folder / "ca.crt", folder / "ca.key")
    _new_key(pair.key)
    # keyUsage and the key identifiers are what Python's VERIFY_X509_STRICT (on since 3.13) insists on.
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    given = [part for extension in extensions for part in ("-addext", extension)]
    request: list[str | Path] = [
        "req",
        "-x509",
        "-new",
        "-key",
        pair.key,
        "-days",
        DAYS,
        "-subj",
        "/CN=finetune-local-ca",
    ]
    _openssl([*request, *given, "-out", pair.certificate], "the certificate authority")
    return pair


def issue(authority: KeyPair, name: str, subject: str, usage: str, alternative_names: Iterable[str] = ()) -> KeyPair:
    """Issue a certificate beside the authority's.

    `subject` is openssl's (`/O=group/CN=user`), `usage` is `serverAuth` or `clientAuth`, and the alternative names
    are openssl's too (`DNS:localhost`, `IP:127.0.0.1`).
    """
    folder = authority.certificate.parent
    pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
    _new_key(pair.key)
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
        "subjectKeyIdentifier=hash",
        "authorityKeyIdentifier=keyid:always",
    ]
    names = ",".join(alternative_names)
    if names:
        extensions.append(f"subjectAltName={names}")
    request = folder / f"{name}.csr"
    extension_file = folder / f"{name}.ext"
    extension_file.write_text("\n".join(extensions) + "\n")
    _openssl(["req", "-new", "-key", pair.key, "-subj", subject, "-out", request], f"the request of {name}")
    signer: list[str | Path] = ["-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial", "-days", DAYS]
    sign: list[str | Path] = [
        "x509",
        "-req",
        "-in",
        request,
        *signer,
        "-extfile",
        extension_file,
        "-out",
        pair.certificate,
    ]
    _openssl(sign, f"the certificate of {name}")
    request.unlink()
    extension_file.unlink()
    return pair


def make_signing_key(folder: Path) -> Path:
    """Make the key that signs service account tokens, and return its path; its public half is inside."""
    path = folder / "service-accounts.key"
    _new_key(path)
    return path
