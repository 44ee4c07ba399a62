"""What the client sends for each verb, and what it makes of each answer: preconditions are in the request itself."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.aio.client.api_client import ApiClient

from finetune_operator.cluster import errors
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.kube import ADMISSION_SECONDS, APPLY_PATCH, JSON, MERGE_PATCH, KubeCluster, connect
from finetune_operator.cluster.port import Object

T = TypeVar("T")
RUNS = "/apis/finetune-operator.io/v1alpha1/namespaces/ml/finetuneruns"
PODS = "/api/v1/namespaces/ml/pods"
OBJECT = {"metadata": {"name": "first", "resourceVersion": "7"}}
REFUSED = {"kind": "Status", "message": "no"}


@dataclass
class Request:
    method: str
    url: str
    headers: dict[str, str]
    body: Object | None
    seconds: float

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.url).query)


@dataclass
class Wire:
    """An API server that gives the answers in turn, the last one for ever, and keeps what it was asked."""

    answers: list[tuple[int, Any]]
    token: str | None = "Bearer t"
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    observed: list[tuple[str, Kind, str]] = field(default_factory=list)

    def __call__(self, body: Callable[[KubeCluster], Awaitable[T]]) -> T:
        client = SimpleNamespace(
            configuration=SimpleNamespace(host="https://api", get_api_key_with_prefix=self._token),
            rest_client=SimpleNamespace(request=self._request),
        )

        async def once() -> T:
            # In the running loop: the client is made of what belongs to one.
            return await body(KubeCluster(cast("ApiClient", client), timeout=20, observer=self._observe))

        return asyncio.run(once())

    async def _token(self, name: str, alias: str) -> str | None:
        assert (name, alias) == ("BearerToken", "authorization")
        return self.token

    async def _request(
        self, method: str, url: str, *, headers: dict[str, str], body: Object | None, _request_timeout: float
    ) -> Any:
        self.asked.append(Request(method, url, headers, body, _request_timeout))
        status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(text, Exception):
            raise text

        async def read() -> bytes:
            return text if isinstance(text, bytes) else json.dumps(text).encode()

        return SimpleNamespace(status=status, read=read, getheader=self.headers.get)

    def _observe(self, verb: str, kind: Kind, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 10
        self.observed.append((verb, kind, outcome))


def wire(status: int = 200, body: Any = OBJECT) -> Wire:
    return Wire([(status, body)])


def test_a_read_is_one_get_with_our_token() -> None:
    api = wire()
    assert api(lambda kube: kube.get(Kind.RUN, "ml", "first")) == OBJECT
    (request,) = api.asked
    assert (request.method, request.url, request.body) == ("GET", f"https://api{RUNS}/first", None)
    assert request.headers == {
        "Accept": JSON, "Content-Type": JSON, "User-Agent": "finetune-operator", "Authorization": "Bearer t"
    }  # fmt: skip
    assert request.seconds == 20
    assert api.observed == [("get", Kind.RUN, "200")]


def test_without_a_token_none_is_sent() -> None:
    api = Wire([(200, OBJECT)], token=None)
    api(lambda kube: kube.get(Kind.RUN, "ml", "first"))
    assert "Authorization" not in api.asked[0].headers


def test_names_of_a_path_are_escaped() -> None:
    api = wire()
    api(lambda kube: kube.get(Kind.POD, "a/b", "c/../d"))
    assert api.asked[0].path == "/api/v1/namespaces/a%2Fb/pods/c%2F..%2Fd"


def test_a_status_is_patched_under_uid_and_resource_version() -> None:
    api = wire()
    api(lambda kube: kube.patch_status(Kind.RUN, "ml", "first", "u", "6", {"status": {"phase": "Training"}}))
    (request,) = api.asked
    assert (request.method, request.path) == ("PATCH", f"{RUNS}/first/status")
    assert request.query == {"fieldManager": ["finetune-operator-status"]}
    assert request.headers["Content-Type"] == MERGE_PATCH
    assert request.body == {"metadata": {"uid": "u", "resourceVersion": "6"}, "status": {"phase": "Training"}}
    assert request.seconds == 20 + ADMISSION_SECONDS
    assert api.observed == [("patch_status", Kind.RUN, "200")]


def test_annotations_are_patched_under_uid_and_resource_version() -> None:
    api = wire()
    api(lambda kube: kube.annotate(Kind.RUN, "ml", "first", "u", "6", {"k": "v"}))
    (request,) = api.asked
    assert (request.method, request.path) == ("PATCH", f"{RUNS}/first")
    assert request.query == {"fieldManager": ["finetune-operator-record"]}
    assert request.headers["Content-Type"] == MERGE_PATCH
    assert request.body == {"metadata": {"uid": "u", "resourceVersion": "6", "annotations": {"k": "v"}}}
    assert api.observed == [("annotate", Kind.RUN, "200")]


def test_an_apply_is_never_forced() -> None:
    api = wire()
    manifest = {"metadata": {"name": "d", "uid": "u", "resourceVersion": "6"}}
    api(lambda kube: kube.apply(Kind.DEPLOYMENT, "ml", "d", manifest))
    (request,) = api.asked
    assert (request.method, request.path) == ("PATCH", "/apis/apps/v1/namespaces/ml/deployments/d")
    assert request.query == {"fieldManager": ["finetune-operator"], "force": ["false"]}
    assert (request.headers["Content-Type"], request.body) == (APPLY_PATCH, manifest)
    assert api.observed == [("apply", Kind.DEPLOYMENT, "200")]


def test_what_is_made_is_posted_to_its_kind() -> None:
    api = wire(201)
    assert api(lambda kube: kube.create(Kind.JOB, "ml", OBJECT)) == OBJECT
    (request,) = api.asked
    assert (request.method, request.path) == ("POST", "/apis/batch/v1/namespaces/ml/jobs")
    assert request.query == {"fieldManager": ["finetune-operator"]}
    assert (request.headers["Content-Type"], request.body) == (JSON, OBJECT)


def test_a_deletion_names_the_uid_and_takes_the_children_first() -> None:
    api = wire()
    api(lambda kube: kube.delete(Kind.JOB, "ml", "first", "u"))
    (request,) = api.asked
    assert (request.method, request.path) == ("DELETE", "/apis/batch/v1/namespaces/ml/jobs/first")
    assert request.body == {
        "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}
    }  # fmt: skip


@pytest.mark.parametrize("status", [200, 202, 404, 409])
def test_a_deletion_of_what_is_gone_or_somebody_elses_is_done(status: int) -> None:
    wire(status, OBJECT if status < 300 else REFUSED)(lambda kube: kube.delete(Kind.JOB, "ml", "first", "u"))


def test_a_deletion_that_is_refused_says_so() -> None:
    with pytest.raises(errors.Forbidden):
        wire(403, REFUSED)(lambda kube: kube.delete(Kind.JOB, "ml", "first", "u"))


def test_a_list_is_read_to_its_last_page_by_the_labels_asked_for() -> None:
    def page(token: str, *items: str) -> Any:
        return {
            "metadata": {"resourceVersion": "9", "continue": token},
            "items": [{"metadata": {"name": i}} for i in items],
        }

    api = Wire([(200, page("next", "c", "a")), (200, page("", "b"))])
    listed = api(lambda kube: kube.list(Kind.POD, "ml", {"x": "y", "a": "b"}))
    assert [obj["metadata"]["name"] for obj in listed] == ["a", "b", "c"]
    first, second = api.asked
    assert (first.path, second.path) == (PODS, PODS)
    assert first.query == {"limit": ["500"], "labelSelector": ["a=b,x=y"]}
    assert second.query == {**first.query, "continue": ["next"]}
    assert api.observed == [("list", Kind.POD, "200")] * 2


def test_pages_are_of_all_namespaces_and_as_long_as_asked_for() -> None:
    api = wire(200, {"metadata": {"resourceVersion": "9"}, "items": None})

    async def pages(kube: KubeCluster) -> list[Any]:
        return [page async for page in kube.pages(Kind.RUN, None, {}, 1)]

    assert api(pages) == [([], 9)]
    assert api.asked[0].path == "/apis/finetune-operator.io/v1alpha1/finetuneruns"
    assert api.asked[0].query == {"limit": ["1"]}


def test_a_kind_that_is_not_served_is_an_error_not_an_empty_list() -> None:
    with pytest.raises(errors.NotFound, match=r"finetuneruns\.v1alpha1\.finetune-operator\.io: install the CRDs"):
        wire(404, REFUSED)(lambda kube: kube.list(Kind.RUN, "ml"))
    with pytest.raises(errors.NotFound, match="serve pods:"):
        wire(404, REFUSED)(lambda kube: kube.list(Kind.POD, "ml"))


def test_an_object_that_is_not_there_is_none_but_a_write_to_it_an_error() -> None:
    assert wire(404, REFUSED)(lambda kube: kube.get(Kind.RUN, "ml", "first")) is None
    with pytest.raises(errors.NotFound):
        wire(404, REFUSED)(lambda kube: kube.create(Kind.RUN, "ml", OBJECT))
    with pytest.raises(errors.NotFound):
        wire(404, REFUSED)(lambda kube: kube.patch_status(Kind.RUN, "ml", "first", "u", "6", {}))


@pytest.mark.parametrize("error", [TimeoutError(), OSError("reset")])
def test_silence_is_an_outage_and_observed_as_one(error: Exception) -> None:
    api = wire(0, error)
    with pytest.raises(errors.Unavailable, match=f"GET {RUNS}: {error or 'TimeoutError'}$"):
        api(lambda kube: kube.list(Kind.RUN, "ml", {"x": "y"}))
    assert api.observed == [("list", Kind.RUN, "error")]


@pytest.mark.parametrize(("body", "says"), [(b"<html>", "no JSON"), ([], "no object")])
def test_an_answer_that_is_no_object_is_an_outage(body: Any, says: str) -> None:
    with pytest.raises(errors.Unavailable, match=says):
        wire(200, body)(lambda kube: kube.get(Kind.RUN, "ml", "first"))


def test_a_redirect_is_no_success() -> None:
    with pytest.raises(errors.Invalid):
        wire(300, OBJECT)(lambda kube: kube.get(Kind.RUN, "ml", "first"))


def test_the_end_of_a_log_is_bounded_by_the_api_server() -> None:
    api = wire(200, b"caf\xc3\xa9 \xff")
    assert api(lambda kube: kube.log_tail("ml", "p", "trainer", 5, 100)) == "caf\u00e9 \ufffd"
    assert api.asked[0].path == f"{PODS}/p/log"
    assert api.asked[0].query == {"container": ["trainer"], "tailLines": ["5"], "limitBytes": ["100"]}
    assert api.observed == [("log", Kind.POD, "200")]


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_log_that_cannot_be_had_is_empty(status: int) -> None:
    assert wire(status, REFUSED)(lambda kube: kube.log_tail("ml", "p", "trainer", 5, 100)) == ""


def test_a_refusal_without_words_is_named_by_its_code() -> None:
    with pytest.raises(errors.Unavailable, match="HTTP 503"):
        wire(503, [])(lambda kube: kube.get(Kind.RUN, "ml", "first"))


def test_without_a_named_manager_it_is_another_one() -> None:
    causes = [{"reason": "Other"}, {"reason": "FieldManagerConflict", "message": "somehow"}]
    with pytest.raises(errors.FieldConflict) as refused:
        wire(409, {**REFUSED, "details": {"causes": causes}})(lambda kube: kube.apply(Kind.POD, "ml", "p", {}))
    assert refused.value.manager == "another field manager"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ('admission webhook "q" is busy', errors.Invalid),
        ("the client denied the request", errors.Invalid),
        ('admission webhook "q" denied the request', errors.Forbidden),
    ],
)
def test_only_the_whole_words_of_admission_are_its_refusal(message: str, error: type[errors.ClusterError]) -> None:
    with pytest.raises(errors.ClusterError) as refused:
        wire(400, {"message": message})(lambda kube: kube.create(Kind.JOB, "ml", OBJECT))
    assert type(refused.value) is error


def test_another_uid_is_a_conflict_beside_other_causes_and_only_where_the_object_is_invalid() -> None:
    causes = [{"field": "spec.x"}, {"field": "metadata.uid"}]
    body = {**REFUSED, "details": {"causes": causes}}
    with pytest.raises(errors.Conflict):
        wire(422, body)(lambda kube: kube.apply(Kind.DEPLOYMENT, "ml", "d", {}))
    with pytest.raises(errors.Unavailable):
        wire(503, body)(lambda kube: kube.apply(Kind.DEPLOYMENT, "ml", "d", {}))


def test_a_conflict_without_causes_has_no_owner() -> None:
    for details in (None, {}, {"causes": None}, {"causes": [{"reason": "Other", "message": 'conflict with "helm"'}]}):
        with pytest.raises(errors.Conflict) as refused:
            wire(409, {**REFUSED, "details": details})(lambda kube: kube.apply(Kind.DEPLOYMENT, "ml", "d", {}))
        assert type(refused.value) is errors.Conflict


def test_connect_takes_the_limits_that_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "https://api:6443"}}
    user = {"name": "u", "user": {"token": "secret"}}
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("one", "two")]
    config = {"clusters": [cluster], "users": [user], "contexts": contexts, "current-context": "gone"}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
    observed: list[str] = []

    async def connected() -> Any:
        kube, login = await connect(
            path, "two", seconds=3, connections=7, observer=lambda verb, *rest: observed.append(verb)
        )
        try:
            kube._client.configuration.host = "https://127.0.0.1:1"
            with pytest.raises(errors.Unavailable):
                await kube.get(Kind.RUN, "ml", "first")
            settings = kube._client.configuration
            return kube._timeout, settings.connection_pool_maxsize, settings.client_session_kwargs, await login()
        finally:
            await kube.close()

    timeout, pool, session, login = asyncio.run(connected())
    assert (timeout, pool, session) == (3, 7, {"trust_env": False}), "the environment is not asked for a proxy"
    assert (login.token, observed) == ("secret", ["get"])


@pytest.mark.parametrize(
    ("said", "after"),
    [({"Retry-After": "7"}, 7.0), ({"Retry-After": "999999"}, 60.0), ({"Retry-After": "0"}, 1.0), ({}, 1.0),
     ({"Retry-After": "Fri, 27 Nov 2026 21:00:00 GMT"}, 1.0), ({"Retry-After": "9" * 400}, 1.0)],
)  # fmt: skip
def test_an_api_server_that_throttles_says_for_how_long(said: dict[str, str], after: float) -> None:
    """Its words are no JSON: priority and fairness answers before anything else is looked at."""
    throttling = Wire([(429, b"Too many requests, please try again later.")], headers=said)
    with pytest.raises(errors.Throttled) as caught:
        throttling(lambda cluster: cluster.get(Kind.RUN, "ml", "first"))
    assert caught.value.after == after
