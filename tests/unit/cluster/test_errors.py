"""The API server's refusals, as it words them, become the error that says what to do."""

import json
from typing import Any

import pytest

from finetune_operator.cluster import errors
from finetune_operator.cluster.kube import Answer, Verb, translate


def status(reason: str = "", message: str = "no", causes: Any = None) -> dict[str, Any]:
    return {"kind": "Status", "reason": reason, "message": message, "details": {"causes": causes or []}}


DOWN = (
    'Internal error occurred: failed calling webhook "vjob.kb.io": failed to call webhook: Post "https://q.svc/v": EOF'
)
DENIED = 'admission webhook "vjob.kb.io" denied the request: Jobs need a cost centre'
PATCHED = 'Internal error occurred: add operation does not apply: doc is missing path: "/metadata/annotations/a"'
LATE = "Internal error occurred: resource quota evaluation timed out"
LARGE = "etcdserver: request is too large"
LARGER = "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2152982 vs. 2097152)"
WRITES: tuple[Verb, ...] = ("create", "patch_status", "annotate", "apply")
OWNED = [{"reason": "FieldManagerConflict", "message": 'conflict with "helm" using apps/v1', "field": ".spec.x"}]


@pytest.mark.row("R281")
@pytest.mark.row("R286")
@pytest.mark.parametrize(
    ("code", "verb", "body", "error"),
    [
        (409, "create", status("AlreadyExists"), errors.AlreadyExists),
        (409, "patch_status", status("Conflict"), errors.Conflict),
        (409, "apply", status("Conflict", causes=OWNED), errors.FieldConflict),
        (422, "apply", status("Invalid", causes=[{"field": "metadata.uid"}]), errors.Conflict),
        (422, "create", status("Invalid", causes=[{"field": "spec.x"}]), errors.Invalid),
        (400, "create", status("BadRequest"), errors.Invalid),
        (404, "patch_status", status("NotFound"), errors.NotFound),
        (401, "get", status("Unauthorized"), errors.Unauthenticated),
        (403, "create", status("Forbidden"), errors.Forbidden),
        (410, "list", status("Expired"), errors.Unavailable),
        (429, "create", status("TooManyRequests"), errors.Throttled),
        (500, "get", status("InternalError"), errors.Unavailable),
        (500, "create", status("", "etcdserver: request timed out"), errors.Unavailable),
        *((500, verb, status("", text), errors.Invalid) for verb in WRITES for text in (LARGE, LARGER)),
        (503, "get", None, errors.Unavailable),
        (504, "create", status("Timeout", "request did not complete within requested timeout"), errors.Unavailable),
        (500, "create", status("InternalError", DOWN), errors.AdmissionUnavailable),
        (500, "patch_status", status("InternalError", DOWN), errors.AdmissionUnavailable),
        (503, "delete", status("", DOWN), errors.AdmissionUnavailable),
        (500, "create", status("InternalError", LATE), errors.AdmissionUnavailable),
        (500, "create", status("InternalError", PATCHED), errors.AdmissionBroken),
        (500, "apply", status("InternalError", PATCHED), errors.AdmissionBroken),
        (500, "delete", status("InternalError", PATCHED), errors.AdmissionBroken),
        *((code, "create", status("", DENIED), errors.Forbidden) for code in (400, 403, 404, 409, 429, 500, 503)),
    ],
)
def test_each_refusal_has_its_error(code: int, verb: Verb, body: Any, error: type[errors.ClusterError]) -> None:
    text = b"<html>bad gateway" if body is None else json.dumps(body).encode()
    assert type(translate(Answer(code, text), verb)) is error


def test_a_field_conflict_names_who_owns_the_field() -> None:
    error = translate(Answer(409, json.dumps(status("Conflict", causes=OWNED)).encode()), "apply")
    assert isinstance(error, errors.FieldConflict)
    assert error.manager == "helm"


@pytest.mark.row("R286")
def test_what_a_mutation_made_of_a_write_is_said_to_be_its_doing() -> None:
    error = translate(Answer(500, json.dumps(status("InternalError", PATCHED)).encode()), "create")
    assert str(error) == f"{PATCHED} (a mutating webhook or policy made that of it)"


@pytest.mark.row("R281")
def test_what_is_too_large_for_etcd_is_said_to_be_the_objects_size() -> None:
    error = translate(Answer(500, json.dumps(status("", LARGE)).encode()), "patch_status")
    assert str(error) == f"{LARGE} (the object is: take labels, variables or the like from it)"
