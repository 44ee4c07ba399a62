"""The settings from the environment, read once and checked: no other module knows the variables' names."""

from __future__ import annotations

import ipaddress
import math
import platform
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .artifact import Artifact, checked_artifact, checked_location
from .cpu import available_cpus
from .errors import StartError
from .memory import available_memory

MIB: Final = 1024 * 1024
_POD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """Settings of `fetch`. `artifact` is None while nothing is live and Git pins nothing."""

    artifact: Artifact | None
    directory: Path
    max_bytes: int
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may cost: bytes of one, pixels decoded, pages at once, and all bodies that are arriving."""

    max_body_bytes: int
    max_pixels: int
    max_in_flight: int
    max_receiving_bytes: int
    default_dpi: int
    log_all: bool


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What documents may cost: `workers` are read at once, beside them `slow_workers` that take long.

    `max_in_flight` are read or wait; each may take `seconds` and `memory_bytes` in its process, `max_pages` at most.
    """

    workers: int
    slow_workers: int
    max_in_flight: int
    max_pages: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may cost: how many, and seconds for a head, a body, and idle between two requests."""

    connections: int
    header_seconds: float
    body_seconds: float
    keep_alive_seconds: float


@dataclass(frozen=True, slots=True)
class DrainConfig:
    """After SIGTERM: leave after `quiet_seconds` without requests or connections, at the latest after `seconds`."""

    seconds: float
    quiet_seconds: float


@dataclass(frozen=True, slots=True)
class CaptureConfig:
    """Which answered pages are kept, and where. `uri` is None where none are.

    `random` is the share (0..1) that is drawn; `uncertain` keeps those that lack an expected field, or whose best box
    of a field is within `margin` of the serving confidence. Caps are in pages of this pod; `queue_bytes` may wait.
    """

    uri: str | None
    pod: str
    random: float
    uncertain: bool
    margin: float
    per_hour: int
    per_day: int
    queue_bytes: int


@dataclass(frozen=True, slots=True)
class FeedbackConfig:
    """Reports that one client's address may send in an hour, and the proxies that are believed whom they pass on."""

    per_hour: int
    trusted_proxies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Settings of `serve`. `model` is the model's name for an artifact that does not record it."""

    artifact: Artifact
    directory: Path
    namespace: str
    deployment: str
    model: str | None
    expected_fields: tuple[str, ...]
    host: str
    port: int
    threads: int
    workers: int
    limits: Limits
    documents: DocumentLimits
    connections: ConnectionLimits
    drain: DrainConfig
    capture: CaptureConfig
    feedback: FeedbackConfig


def fetch_config(env: Mapping[str, str]) -> FetchConfig:
    """Return the settings of `fetch` from `env`; raises `StartError` naming the variable."""
    return FetchConfig(
        artifact=artifact_from(env),
        directory=_directory(env),
        max_bytes=int(_number(env, "FINETUNE_MAX_MODEL_BYTES", 2048 * MIB, low=1)),
        patience_seconds=_number(env, "FINETUNE_FETCH_SECONDS", 300, low=0),
    )


def serve_config(env: Mapping[str, str]) -> ServeConfig:
    """Return the settings of `serve` from `env`; raises `StartError` naming the variable."""
    artifact = artifact_from(env)
    if artifact is None:
        raise StartError(
            "NothingToServe",
            "neither the operator's annotations nor a pin in Git name a model",
            "Give this container the same FINETUNE_ARTIFACT_* and FINETUNE_PINNED_* variables as the init container",
        )
    threads = int(_number(env, "FINETUNE_THREADS", available_cpus(), low=1, high=256))
    return ServeConfig(
        artifact=artifact,
        directory=_directory(env),
        namespace=_required(env, "FINETUNE_NAMESPACE"),
        deployment=_required(env, "FINETUNE_DEPLOYMENT"),
        model=env.get("FINETUNE_MODEL") or None,
        expected_fields=tuple(f.strip() for f in env.get("FINETUNE_EXPECTED_FIELDS", "").split(",") if f.strip()),
        host=env.get("FINETUNE_HOST") or "0.0.0.0",  # noqa: S104 - a pod is reached by its address
        port=int(_number(env, "FINETUNE_PORT", 8080, low=1, high=65535)),
        threads=threads,
        workers=int(_number(env, "FINETUNE_WORKERS", threads, low=1, high=256)),
        limits=_limits(env),
        documents=_documents(env),
        connections=_connections(env),
        drain=_drain(env),
        capture=_capture(env),
        feedback=_feedback(env),
    )


def artifact_from(env: Mapping[str, str]) -> Artifact | None:
    """Return what the operator's three keys name, else the pin from Git, else None. A half-filled triple is an error.

    The Downward API gives an empty string for an absent annotation, so empty means absent.
    """
    for prefix, names in (
        ("operator's annotations", ("FINETUNE_MODEL_VERSION", "FINETUNE_ARTIFACT_URI", "FINETUNE_ARTIFACT_SHA256")),
        ("pin in Git", ("FINETUNE_PINNED_VERSION", "FINETUNE_PINNED_URI", "FINETUNE_PINNED_SHA256")),
    ):
        version, uri, sha256 = values = [env.get(name, "") for name in names]
        if all(values):
            return checked_artifact(version=version, uri=uri, sha256=sha256, source=f"the {prefix}")
        if any(values):
            missing = [name for name, value in zip(names, values, strict=True) if not value]
            raise StartError(
                "ArtifactIncomplete",
                f"the {prefix} lack {', '.join(missing)}",
                "Set version, URI and sha256 together, or none of them",
            )
    return None


def _limits(env: Mapping[str, str]) -> Limits:
    return Limits(
        max_body_bytes=int(_number(env, "FINETUNE_MAX_BODY_BYTES", 20 * MIB, low=1)),
        # 50 megapixels: A4 at 600 dpi is 35.
        max_pixels=int(_number(env, "FINETUNE_MAX_PIXELS", 50_000_000, low=1)),
        max_in_flight=int(_number(env, "FINETUNE_MAX_IN_FLIGHT", 32, low=1)),
        max_receiving_bytes=int(_number(env, "FINETUNE_MAX_RECEIVING_BYTES", 256 * MIB, low=1)),
        default_dpi=int(_number(env, "FINETUNE_PDF_DPI", 150, low=36, high=600)),
        log_all=_number(env, "FINETUNE_LOG_ALL_REQUESTS", 0, low=0, high=1) == 1,
    )


def _connections(env: Mapping[str, str]) -> ConnectionLimits:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ConnectionLimits(
        connections=int(_number(env, "FINETUNE_MAX_CONNECTIONS", min(1000, max(1, files - 100)), low=1)),
        header_seconds=_number(env, "FINETUNE_HEADER_SECONDS", 10, low=0.1),
        body_seconds=_number(env, "FINETUNE_BODY_SECONDS", 30, low=0.1),
        # Longer than clients and proxies keep theirs (60 s is the usual figure there): an idle pooled connection
        # that the server closes is a request that its client may lose.
        keep_alive_seconds=_number(env, "FINETUNE_KEEP_ALIVE_SECONDS", 75, low=0),
    )


def _documents(env: Mapping[str, str]) -> DocumentLimits:
    workers = int(_number(env, "FINETUNE_DOCUMENT_WORKERS", 2, low=1, high=64))
    # All of them together, and the model beside them, must fit into the container.
    share = available_memory() // 5
    return DocumentLimits(
        workers=workers,
        slow_workers=max(1, workers // 2),
        max_in_flight=int(_number(env, "FINETUNE_MAX_DOCUMENTS", 16, low=1)),
        max_pages=int(_number(env, "FINETUNE_MAX_PAGES", 50, low=1)),
        # Less than what answers under way get at the end of a drain.
        seconds=_number(env, "FINETUNE_DOCUMENT_SECONDS", 8, low=0.1),
        memory_bytes=int(_number(env, "FINETUNE_DOCUMENT_BYTES", min(512 * MIB, max(128 * MIB, share)), low=16 * MIB)),
    )


def _drain(env: Mapping[str, str]) -> DrainConfig:
    return DrainConfig(
        seconds=_number(env, "FINETUNE_DRAIN_SECONDS", 15, low=0),
        # Endpoints usually follow a pod's deletion within a second; three leaves room for a busy node.
        quiet_seconds=_number(env, "FINETUNE_DRAIN_QUIET_SECONDS", 3, low=0),
    )


def _capture(env: Mapping[str, str]) -> CaptureConfig:
    uri = env.get("FINETUNE_CAPTURE_URI", "").strip().rstrip("/")
    return CaptureConfig(
        uri=checked_location(uri, source="FINETUNE_CAPTURE_URI", bucket=True) if uri else None,
        pod=_pod(env),
        random=_number(env, "FINETUNE_CAPTURE_RANDOM", 0.01, low=0, high=1),
        uncertain=_number(env, "FINETUNE_CAPTURE_UNCERTAIN", 1, low=0, high=1) == 1,
        margin=_number(env, "FINETUNE_CAPTURE_MARGIN", 0.1, low=0, high=1),
        per_hour=int(_number(env, "FINETUNE_CAPTURE_PER_HOUR", 200, low=0, high=1_000_000)),
        per_day=int(_number(env, "FINETUNE_CAPTURE_PER_DAY", 2000, low=0, high=10_000_000)),
        # An image takes what it came as. A document's page of A4 at 150 dpi takes 7 MB until its pixels are digested.
        queue_bytes=int(_number(env, "FINETUNE_CAPTURE_QUEUE_BYTES", 64 * MIB, low=MIB)),
    )


def _pod(env: Mapping[str, str]) -> str:
    """Return the pod's name, which a container has as its host name. It is part of file names."""
    name = env.get("FINETUNE_POD") or env.get("HOSTNAME") or platform.node() or "pod"
    if _POD.fullmatch(name):
        return name
    raise StartError(
        "SettingInvalid",
        f"FINETUNE_POD (or the host name) is {name[:100]!r}",
        "Give the pod's name: at most 200 letters, digits, dots, dashes and underscores",
    )


def _feedback(env: Mapping[str, str]) -> FeedbackConfig:
    proxies = tuple(p.strip() for p in env.get("FINETUNE_TRUSTED_PROXIES", "").split(",") if p.strip())
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            raise StartError(
                "SettingInvalid",
                f"FINETUNE_TRUSTED_PROXIES names {proxy!r}",
                "Give addresses or networks as 10.0.0.0/8, separated by commas",
            ) from None
    return FeedbackConfig(int(_number(env, "FINETUNE_FEEDBACK_PER_HOUR", 60, low=0)), proxies)


def _directory(env: Mapping[str, str]) -> Path:
    return Path(env.get("FINETUNE_MODEL_DIR") or "/model")


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise StartError(
            "SettingMissing",
            f"{name} is not set",
            "Set it in the pod template (as examples/manifests/deployment.yaml does)",
        )
    return value


def _number(env: Mapping[str, str], name: str, default: float, *, low: float, high: float = math.inf) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and low <= value <= high:
        return value
    raise StartError("SettingInvalid", f"{name} is {text!r}", f"Give a number from {low:g} to {high:g}")
