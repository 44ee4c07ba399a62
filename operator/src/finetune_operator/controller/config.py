"""The operator's configuration: read from the environment once, frozen, with clear errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..cluster.prometheus import Address

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class BadConfiguration(ValueError):
    """An environment variable that cannot be used; the message names it and says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the operator runs.

    `namespaces` empty: all of them. `kubeconfig` None: the pod's service account. Durations are in seconds.
    """

    namespaces: tuple[str, ...] = ()
    workers: int = 32
    resync_seconds: float = 300.0
    request_timeout: float = 30.0
    address: str = "0.0.0.0"  # noqa: S104  # probes and scrapes come from outside the pod
    probe_port: int = 8080
    metrics_port: int = 8081
    log_level: str = "info"
    instance: str = "finetune-operator"
    kubeconfig: Path | None = None
    context: str | None = None
    prometheus: Address | None = None


def configure(environment: Mapping[str, str]) -> Config:
    """Return the configuration that `environment` describes (docs/reference/contracts.md, section 6).

    Raises BadConfiguration. Files are named, and not read here.
    """
    kubeconfig = environment.get("KUBECONFIG", "").partition(":")[0]
    level = environment.get("FINETUNE_LOG_LEVEL", "info").lower()
    if level not in LOG_LEVELS:
        raise BadConfiguration(f"FINETUNE_LOG_LEVEL={level!r}: use one of {', '.join(LOG_LEVELS)}")
    names = environment.get("FINETUNE_NAMESPACES", "").split(",")
    return Config(
        namespaces=tuple(sorted({name.strip() for name in names if name.strip()})),
        workers=int(_number(environment, "FINETUNE_WORKERS", 32, 1, 256)),
        resync_seconds=_number(environment, "FINETUNE_RESYNC_SECONDS", 300, 1, 86_400),
        request_timeout=_number(environment, "FINETUNE_REQUEST_TIMEOUT_SECONDS", 30, 1, 300),
        address=environment.get("FINETUNE_ADDRESS", "0.0.0.0"),  # noqa: S104
        probe_port=int(_number(environment, "FINETUNE_PROBE_PORT", 8080, 0, 65_535)),
        metrics_port=int(_number(environment, "FINETUNE_METRICS_PORT", 8081, 0, 65_535)),
        log_level=level,
        instance=environment.get("POD_NAME") or "finetune-operator",
        kubeconfig=Path(kubeconfig) if kubeconfig else None,
        context=environment.get("FINETUNE_CONTEXT") or None,
        prometheus=_prometheus(environment),
    )


def _prometheus(environment: Mapping[str, str]) -> Address | None:
    """Return where the Prometheus is; None without FINETUNE_PROMETHEUS_URL."""
    url = environment.get("FINETUNE_PROMETHEUS_URL", "").strip()
    names = ("FINETUNE_PROMETHEUS_CA_FILE", "FINETUNE_PROMETHEUS_TOKEN_FILE", "FINETUNE_PROMETHEUS_HEADERS_FILE")
    ca, token, headers = (Path(environment[name]) if environment.get(name) else None for name in names)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        # What it holds may be a password, and this is logged.
        raise BadConfiguration(
            "FINETUNE_PROMETHEUS_URL: use http(s)://host[:port][/path], without user, password, query or fragment; "
            "credentials go into the files of prometheus.tokenFile and prometheus.headersFile"
        )
    return Address(url=url, ca_file=ca, token_file=token, headers_file=headers)


def _number(environment: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise BadConfiguration(f"{name}={text!r}: use a number from {least:g} to {most:g}")
    return value
