"""Names, labels and annotation keys: every name the operator gives is made here, deterministically."""

import hashlib
import re
from typing import Final

GROUP = "finetune-operator.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "finetune-operator"

MANAGED_LABEL = f"{GROUP}/managed"
POD_TEMPLATE_LABEL = f"{GROUP}/pod-template"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
OWNER_KIND_LABEL = f"{GROUP}/owner-kind"
OWNER_NAME_LABEL = f"{GROUP}/owner-name"
OWNER_UID_LABEL = f"{GROUP}/owner-uid"
STEP_LABEL = f"{GROUP}/step"
ATTEMPT_LABEL = f"{GROUP}/attempt"
ROUND_LABEL = f"{GROUP}/round"
COLLECT_LABEL = f"{GROUP}/collect"
NONCE_LABEL = f"{GROUP}/nonce"
POLICY_LABEL = f"{GROUP}/policy"
QUEUE_NAME_LABEL = "kueue.x-k8s.io/queue-name"

MODEL_VERSION_KEY = f"{GROUP}/model-version"
ARTIFACT_URI_KEY = f"{GROUP}/artifact-uri"
ARTIFACT_SHA256_KEY = f"{GROUP}/artifact-sha256"
EPOCH_KEY = f"{GROUP}/epoch"

SERVICE_RECORD_KEY = f"{GROUP}/service-record"
OUTCOME_KEY = f"{GROUP}/outcome"

TRAINER_CONTAINER = "trainer"

_PROMOTION = re.compile(r"-promotion-[0-9a-f]{6}\Z")
_FIRED_DIGITS: Final = 10
_FIRED = re.compile(r"[0-9a-f]{10}")
_VERSION = re.compile(r"base_v[1-9][0-9]{0,4}|ft_v[1-9][0-9]{0,4}[.][1-9][0-9]{0,6}")


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def uid_tag(uid: str) -> str:
    """Return six hex digits that tell two objects of one name apart by their uid."""
    return sha256_of(uid.encode())[:6]


def job_name(owner: str, step: str, attempt: int, uid: str, *, collect: bool = False) -> str:
    """Return the name of the Job of one attempt: at most 63 characters, because pods carry it as a label.

    A longer owner's name is cut; the uid's digits still tell owners apart.
    """
    tail = f"-{step}-{attempt}-{'c' if collect else ''}{uid_tag(uid)}"
    return f"{owner[: 63 - len(tail)].rstrip('-.')}{tail}"


def snapshot_name(owner: str, uid: str) -> str:
    """Return the name of the ConfigMap that holds the run document."""
    return f"{owner}-document-{uid_tag(uid)}"


def scan_document_name(owner: str, uid: str, sha256: str) -> str:
    """Return the name of the ConfigMap that holds the document of a scan, by the digest of its text."""
    return f"{owner}-scan-{sha256[:8]}-{uid_tag(uid)}"


def promotion_name(run: str, uid: str, evidence: str = "") -> str:
    """Return the name of the ModelPromotion that a run asks for; one that was measured anew asks for another."""
    return f"{run}-promotion-{uid_tag(uid + evidence)}"


def fired_run_name(policy: str, *, namespace: str, listing: str, base: str, attempt: int, rebuilds: bool) -> str:
    """Return the name of the run that a policy's triggers make of a pool and a base, by its try number from 1.

    The same pool, base, mode and try have the same name, whatever was forgotten meanwhile. At most 40 characters, as
    the CRD allows; a longer policy's name is cut, and the digits still tell policies apart.
    """
    made_of = "/".join((namespace, policy, listing, base, *(("Rebuild",) if rebuilds else ()), str(attempt)))
    return f"{_fired_run_prefix(policy)}{sha256_of(made_of.encode())[:_FIRED_DIGITS]}"


def is_fired_run_name(name: str, policy: str) -> bool:
    """Tell whether a run of that name may be one that the policy's triggers made; a copy under another name is not."""
    prefix = _fired_run_prefix(policy)
    return name.startswith(prefix) and _FIRED.fullmatch(name.removeprefix(prefix)) is not None


def _fired_run_prefix(policy: str) -> str:
    return policy[:29].rstrip("-.") + "-"


def is_promotion_of(name: str, run: str) -> bool:
    """Tell whether a run of that name, or of one that begins so, calls its promotions so."""
    return name.startswith(run) and _PROMOTION.search(name) is not None


def model_version_name(model: str, version: str) -> str:
    """Return the object name of a version: invoice-fields, ft_v1.2 -> invoice-fields-ft-v1.2."""
    return f"{model}-{version.replace('_', '-')}"


def base_version(series: int) -> str:
    """Return the version of the base of a series: base_v1."""
    return f"base_v{series}"


def tuned_version(series: int, number: int) -> str:
    """Return the version of the numbered fine-tune of a series' base: ft_v1.2."""
    return f"ft_v{series}.{number}"


def is_version(text: str) -> bool:
    """Tell whether a ModelVersion or a promotion may name a version so; the CRDs have the same rule."""
    return _VERSION.fullmatch(text) is not None


_LONGEST_NUMBER: Final = 9
"""Digits of a number in a version's name; the CRDs allow fewer."""


def series_of(version: str) -> int | None:
    """Return 2 for base_v2 and for ft_v2.7; None for a name of another form."""
    for prefix in ("base_v", "ft_v"):
        head, _, _ = version.removeprefix(prefix).partition(".")
        if version.startswith(prefix) and head.isascii() and head.isdigit() and len(head) <= _LONGEST_NUMBER:
            return int(head)
    return None
