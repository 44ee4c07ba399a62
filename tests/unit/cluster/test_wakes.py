"""A change wakes whom it concerns, and nobody else: a burst of one kind stays a burst of that kind."""

from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.store import Change, Store
from finetune_operator.cluster.wakes import dependents
from finetune_operator.controller.app import on_change

OURS = {"app.kubernetes.io/managed-by": "finetune-operator"}


class World:
    """A store, and who was woken by the changes since `quiet`."""

    def __init__(self) -> None:
        self.woken: set[tuple[str, str]] = set()
        self.store = Store(self._heard)
        self.version = 0

    def _heard(self, change: Change) -> None:
        self.woken |= {(key.kind.value[2], key.name) for key in dependents(change, self.store)}

    def put(self, kind: Kind, name: str, **more: Any) -> set[tuple[str, str]]:
        """Return who is woken when the object comes or changes."""
        self.woken = set()
        self.version += 1
        labels = more.pop("labels", {})
        metadata = {"namespace": "ml", "name": name, "uid": f"uid-{name}", "resourceVersion": str(self.version)}
        self.store.put(kind, {"metadata": metadata | {"labels": labels} | more.pop("metadata", {}), **more})
        return self.woken


@pytest.fixture
def world() -> World:
    """One policy with its Deployment, templates and model, a base, five runs of which two have ended."""
    world = World()
    world.put(Kind.POLICY, "p", spec=POLICY)
    world.put(Kind.POLICY, "other", spec={"deployment": "elsewhere", "model": "m2", "podTemplates": {"cpu": "c2"}})
    world.put(Kind.MODEL_VERSION, "base", spec={"model": "m", "type": "Base"})
    phases = {"new": "", "training": "Training", "review": "InReview", "done": "Promoted", "bad": "Failed"}
    for name, phase in phases.items():
        world.put(Kind.RUN, name, spec={"policy": "p"}, status={"phase": phase})
    world.put(Kind.PROMOTION, "waiting", spec={"policy": "p"}, status={"phase": "Pending"})
    world.put(Kind.PROMOTION, "over", spec={"policy": "p"}, status={"phase": "Succeeded"})
    return world


POLICY = {"deployment": "d", "model": "m", "podTemplates": {"train": "t", "cpu": "c"}}
OPEN_RUNS = {("finetuneruns", "new"), ("finetuneruns", "training"), ("finetuneruns", "review")}
WAITING = ("modelpromotions", "waiting")
P = ("finetunepolicies", "p")


@pytest.mark.parametrize("kind", [Kind.JOB, Kind.POD, Kind.CONFIG_MAP])
def test_a_child_wakes_the_owner_that_its_uid_names(world: World, kind: Kind) -> None:
    labels = {**OURS, "finetune-operator.io/owner-uid": "uid-training", "finetune-operator.io/owner-name": "new"}
    assert world.put(kind, "child", labels=labels) == {("finetuneruns", "training")}


def test_a_child_of_a_run_that_is_gone_wakes_nobody(world: World) -> None:
    assert world.put(Kind.JOB, "child", labels={**OURS, "finetune-operator.io/owner-uid": "uid-of-old"}) == set()


def test_a_deployment_wakes_its_policy_and_what_waits_for_it(world: World) -> None:
    labels = {"finetune-operator.io/managed": "true"}
    assert world.put(Kind.DEPLOYMENT, "d", labels=labels) == {P, WAITING}
    assert world.put(Kind.DEPLOYMENT, "unknown", labels=labels) == set()


def test_a_pod_template_wakes_who_may_wait_for_it(world: World) -> None:
    assert world.put(Kind.POD_TEMPLATE, "t") == {P, WAITING, ("modelversions", "base")} | OPEN_RUNS


@pytest.mark.parametrize(
    "bookkeeping",
    [
        {"reservations": [{"runUid": "u", "version": "ft_v1.1"}]},
        {"inFlight": {"phase": "Watching"}},
        {"consumed": [{"name": "x"}]},
    ],
)
def test_a_policys_bookkeeping_wakes_its_promotions_but_no_run(world: World, bookkeeping: Any) -> None:
    assert world.put(Kind.POLICY, "p", spec=POLICY, status=bookkeeping) == {P, WAITING}


@pytest.mark.parametrize(
    "matter",
    [
        {"live": {"version": "ft_v1.1", "sha256": "x"}},
        {"hold": {"since": "2026-11-21T12:00:00Z"}},
        {"quarantined": [{"sha256": "x"}]},
        {"rejected": [{"sha256": "x"}]},
        {"conditions": [{"type": "Ready", "status": "True"}]},
    ],
)
def test_what_runs_look_at_wakes_the_open_ones_and_the_models_versions(world: World, matter: Any) -> None:
    woken = world.put(Kind.POLICY, "p", spec=POLICY, status=matter)
    assert woken == {P, WAITING, ("modelversions", "base")} | OPEN_RUNS


def test_an_edited_policy_wakes_its_open_runs(world: World) -> None:
    assert world.put(Kind.POLICY, "p", spec=POLICY, metadata={"generation": 2}) >= OPEN_RUNS


def test_policies_of_one_deployment_hear_of_each_other(world: World) -> None:
    assert P in world.put(Kind.POLICY, "rival", spec={**POLICY, "model": "m3"})


def test_a_promotion_wakes_its_policy_and_the_run_that_asked_for_it(world: World) -> None:
    world.put(Kind.RUN, "review", spec={"policy": "p"}, status={"phase": "Promoting", "promotion": "new-one"})
    woken = world.put(Kind.PROMOTION, "new-one", spec={"policy": "p"})
    assert woken == {P, ("modelpromotions", "new-one"), ("finetuneruns", "review")}
    again = world.put(Kind.PROMOTION, "new-one", spec={"policy": "p"}, status={"message": "waits"})
    assert again == {("modelpromotions", "new-one")}
    held = {"conditions": [{"type": "Accepted", "status": "False", "reason": "Held"}]}
    waits = world.put(Kind.PROMOTION, "new-one", spec={"policy": "p"}, status=held)
    assert ("finetuneruns", "review") in waits, "a run says why its promotion waits"


def test_a_base_wakes_runs_that_may_wait_for_it_and_a_fine_tune_does_not(world: World) -> None:
    base = world.put(Kind.MODEL_VERSION, "base", spec={"model": "m", "type": "Base"}, status={"phase": "Verified"})
    assert base == {P, WAITING, ("modelversions", "base")} | OPEN_RUNS
    tuned = world.put(Kind.MODEL_VERSION, "ft", spec={"model": "m", "type": "FineTuned"})
    assert tuned == {P, WAITING, ("modelversions", "ft")}


def test_a_restored_base_wakes_its_policy_when_it_is_verified_and_when_its_record_changes(world: World) -> None:
    """It is Retired from the start, for its record says that it served."""
    spec = {"model": "m", "type": "Base"}
    status: dict[str, object] = {"phase": "Retired"}
    world.put(Kind.MODEL_VERSION, "base", spec=spec, status=status)
    status["conditions"] = [{"type": "Verified", "status": "True"}]
    assert P in world.put(Kind.MODEL_VERSION, "base", spec=spec, status=status)
    assert P not in world.put(Kind.MODEL_VERSION, "base", spec=spec, status={**status, "message": "measured"})
    record = {"annotations": {"finetune-operator.io/service-record": "{}"}}
    assert P in world.put(Kind.MODEL_VERSION, "base", spec=spec, status=status, metadata=record)


def test_a_finished_run_wakes_itself_alone(world: World) -> None:
    assert world.put(Kind.RUN, "done", spec={"policy": "p"}, status={"phase": "Promoted"}) == {("finetuneruns", "done")}


def queued(world: World, name: str, created: int, place: str | None, **status: Any) -> set[tuple[str, str]]:
    """Put a run that was created in that minute; return which runs are woken."""
    metadata = {"creationTimestamp": f"2026-11-21T12:{created:02}:00Z"}
    status = {"phase": "Pending", "place": place, **status}
    world.put(Kind.RUN, name, spec={"policy": "p"}, metadata=metadata, status=status)
    return runs(world)


def runs(world: World) -> set[tuple[str, str]]:
    return {key for key in world.woken if key[0] == "finetuneruns"}


@pytest.mark.row("R57")
@pytest.mark.parametrize("after", ["gone", "over", "in review", "suspended"])
def test_a_place_that_is_given_up_wakes_the_oldest_that_wait(world: World, after: str) -> None:
    for number in range(20, 0, -1):
        queued(world, f"waiting-{number:02}", number, "Waiting")
    queued(world, "blocked", 0, "Blocked")
    queued(world, "runs", 30, "Taken")
    oldest = {("finetuneruns", "blocked")} | {("finetuneruns", f"waiting-{number:02}") for number in range(1, 7)}
    world.woken = set()
    match after:
        case "gone":
            world.store.remove(Kind.RUN, "ml", "runs", "uid-runs")
        case "over":
            queued(world, "runs", 30, None, phase="Failed")
        case "in review":
            queued(world, "runs", 30, None, phase="InReview")
        case _:
            queued(world, "runs", 30, "Blocked", phase="Suspended")
    # One that nobody has looked at yet (`new`) has no time of creation here, and counts as the oldest.
    assert runs(world) == oldest | {("finetuneruns", "runs"), ("finetuneruns", "new")}


@pytest.mark.row("R57")
def test_a_turn_that_is_given_up_wakes_the_next_and_a_place_that_is_taken_nobody(world: World) -> None:
    queued(world, "first", 1, "Waiting")
    queued(world, "second", 2, "Waiting")
    assert queued(world, "first", 1, "Taken") == {("finetuneruns", "first")}
    queued(world, "first", 1, "Waiting")
    assert ("finetuneruns", "second") in queued(world, "first", 1, None)


@pytest.mark.row("R65")
def test_a_promotion_that_is_over_wakes_the_runs_that_are_to_be_measured_against_its_version(world: World) -> None:
    assert queued(world, "flies", 1, None, phase="Promoting") == {("finetuneruns", "flies")}
    assert queued(world, "flies", 1, None, phase="RolledBack") == {("finetuneruns", "flies")} | OPEN_RUNS
    behind = [{"type": "Accepted", "reason": "PromotionUnderway"}]
    assert queued(world, "behind", 1, None, conditions=behind) == {("finetuneruns", "behind")}
    again = [{"step": "evaluate", "round": 2}]
    assert ("finetuneruns", "new") not in queued(world, "flies", 1, None, phase="Evaluating", attempts=again)
    assert ("finetuneruns", "new") not in queued(world, "flies", 1, None, phase="Promoting", attempts=again)
    assert ("finetuneruns", "new") in queued(world, "flies", 1, None, phase="InReview", attempts=again)
    assert ("finetuneruns", "new") in queued(world, "behind", 1, None, phase="Suspended", conditions=behind)


@pytest.mark.row("R57")
def test_runs_of_one_moment_are_put_in_order_whatever_they_have_drawn(world: World) -> None:
    digests = {"digests": {"pool": "p", "anchor": "a"}}
    queued(world, "drew", 1, "Waiting", inputs=digests)
    queued(world, "new-one", 1, "Waiting")
    queued(world, "runs", 30, "Taken", phase="Training")
    assert {("finetuneruns", "drew"), ("finetuneruns", "new-one")} <= queued(world, "runs", 30, None, phase="Failed")


@pytest.mark.row("R68")
def test_a_run_that_ends_wakes_those_that_ask_for_the_same(world: World) -> None:
    queued(world, "other", 1, None, phase="Training", asks="x")
    queued(world, "waits", 2, None, asks="x")
    assert queued(world, "other", 1, None, phase="InReview", asks="x") == {("finetuneruns", "other")}
    ended = queued(world, "other", 1, None, phase="Rejected", asks="x")
    assert ended == {("finetuneruns", "other"), ("finetuneruns", "waits")}


@pytest.mark.row("R68")
def test_a_run_that_a_person_suspends_wakes_those_that_ask_for_the_same(world: World) -> None:
    world.put(Kind.RUN, "other", spec={"policy": "p"}, status={"phase": "Training", "asks": "x"})
    queued(world, "waits", 2, None, asks="x")
    suspended = world.put(
        Kind.RUN, "other", spec={"policy": "p", "suspend": True}, status={"phase": "Suspended", "asks": "x"}
    )
    assert ("finetuneruns", "waits") in suspended


@pytest.mark.row("R337")
def test_a_run_whose_version_was_deleted_wakes_those_that_wait_for_it(world: World) -> None:
    status = {"phase": "Promoting", "asks": "x"}
    lost = [{"type": "Promoted", "status": "Unknown", "reason": "VersionNotFound"}]
    queued(world, "other", 1, None, **status)
    queued(world, "the-same", 2, None, asks="x")
    queued(world, "lines-up", 3, None, phase="Pending")
    woken = queued(world, "other", 1, None, **status, conditions=lost)
    assert {("finetuneruns", "the-same"), ("finetuneruns", "lines-up")} <= woken


class Woken:
    """A queue that only remembers."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def wake(self, key: Any) -> None:
        self.keys.append(key.name)


@pytest.mark.parametrize(("conditions", "woken"), [([{"type": "Complete", "status": "True"}], []), ([], ["done"])])
def test_ended_runs_are_left_alone_at_the_start_unless_a_job_of_theirs_still_runs(
    conditions: Any, woken: list[str]
) -> None:
    queue = Woken()
    store = Store()
    store.listen(lambda change: on_change(change, store, queue.wake, lambda uid: None))
    metadata = {"namespace": "ml", "name": "done", "uid": "uid-done", "resourceVersion": "1"}
    store.put(Kind.RUN, {"metadata": metadata, "spec": {"policy": "p"}, "status": {"phase": "Promoted"}})
    labels = {**OURS, "finetune-operator.io/owner-uid": "uid-done"}
    job = {"namespace": "ml", "name": "j", "uid": "j", "resourceVersion": "2", "labels": labels}
    store.put(Kind.JOB, {"metadata": job, "status": {"conditions": conditions}})
    assert [name for name in queue.keys if name != "p"] == woken  # the policy is looked at anyway


def test_a_run_that_left_a_finished_job_behind_wakes_its_policy_and_its_progress_does_not(world: World) -> None:
    run = ("finetuneruns", "new")
    for phase in ("Pending", "Preparing"):
        assert world.put(Kind.RUN, "new", spec={"policy": "p"}, status={"phase": phase}) == {run}
    for phase in ("Training", "Evaluating", "Failed"):
        assert world.put(Kind.RUN, "new", spec={"policy": "p"}, status={"phase": phase}) == {run, P}
        assert world.put(Kind.RUN, "new", spec={"policy": "p"}, status={"phase": phase, "message": "x"}) == {run}


@pytest.mark.row("R206")
@pytest.mark.parametrize("phase", ["InReview", "Promoting", "Promoted", "Failed"])
def test_a_persons_no_wakes_every_policy_of_the_model(world: World, phase: str) -> None:
    """The run's own may be gone, and the run be deleted before the others look by themselves."""
    world.put(Kind.POLICY, "beside", spec=POLICY | {"deployment": "staging"})
    made: dict[str, Any] = {"phase": phase, "model": "m", "candidate": {"sha256": "a" * 64}}
    made["evidence"] = {"digest": "e1"}
    no = {"decision": "Reject", "evidence": "e1", "by": "ann"}
    policies = {P, ("finetunepolicies", "beside")}
    for name in ("p", "gone"):
        spec = {"policy": name}
        world.put(Kind.RUN, "run", spec=spec, status=made)
        assert policies & world.put(Kind.RUN, "run", spec=spec | {"review": no}, status=made) == policies
        again = world.put(Kind.RUN, "run", spec=spec | {"review": no}, status=made | {"message": "more words"})
        assert not policies & again, "who has heard it is not told again"
        elsewhere = made | {"candidate": {"sha256": "a" * 64}, "model": "m2"}
        assert ("finetunepolicies", "beside") not in world.put(Kind.RUN, "run", spec=spec, status=elsewhere)


@pytest.mark.row("R282")
def test_who_waits_hears_of_what_was_deleted_and_is_kept_by_a_finalizer(world: World) -> None:
    world.put(Kind.RUN, "asked", spec={"policy": "p"}, status={"phase": "Promoting", "promotion": "waiting"})
    going, pending = {"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}}, {"phase": "Pending"}
    woken = world.put(Kind.PROMOTION, "waiting", spec={"policy": "p"}, status=pending, **going)
    assert ("finetuneruns", "asked") in woken
    woken = world.put(Kind.MODEL_VERSION, "base", spec={"model": "m", "type": "Base"}, **going)
    assert {P, WAITING} <= woken
