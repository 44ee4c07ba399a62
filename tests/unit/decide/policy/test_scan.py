"""Scans: a policy has its pool and captured pages counted, and says what came of it."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import FileReference, find
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Judged, PolicyStatus
from finetune_operator.api.run_document import ScanDocument, document_sha256
from finetune_operator.api.scan import Counted, Production, ScanRules, ScanStatus
from finetune_operator.api.value import canonical_json, parse, plain
from finetune_operator.decide.decision import Action, CreateJob, CreateSnapshot, Decision, DeleteJob, Emit
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.policy.refusal import say_refused
from finetune_operator.decide.policy.scan import basis_now, document_name, wants_scan
from finetune_operator.decide.policy.scanned import scan_problem
from finetune_operator.decide.policy.upkeep import SCANS
from finetune_operator.decide.refusal import Refusal
from finetune_operator.decide.views import FinishedJob, JobView, PolicyView, Problem, Span, TemplateView
from unit.decide.policy.world import NOW, TEMPLATE, base, deployment, keys, live, policy

PRODUCTION = Production(uri="file:///production", keep_days=30)
INTERVAL = timedelta(seconds=900)
PLAN = FileReference(uri="file:///artifacts/base.json", sha256="ba" * 32)
LISTING = "5c" * 32


def captures(of: Policy, production: Production | None = PRODUCTION, **spec: Any) -> Policy:
    data = updated(of.spec.data, production=production)
    return updated(of, spec=updated(of.spec, data=data, **spec))


def counts(**changes: Any) -> dict[str, Any]:
    """What a scan of a pool of 84 reports, of which a run was judged by 50."""
    pages = {"random": 120, "uncertain": 31, "reported": 4, "oldest": "2026-11-01"}
    given = {
        "pool": 84, "heldOut": 10, "withdrawn": 1, "outside": 74, "new": 74, "corrected": 0, "byImage": 0,
        "listing": LISTING, "pages": pages, "reports": [{"week": "2026-W46", "documents": 3}], "answered": 12_000,
        "expiredDays": 0, "waiting": {"pages": 33, "fields": [2, 31]},
    }  # fmt: skip
    return given | changes


@dataclass
class Yard:
    """A policy at rest, and the Jobs of its scans."""

    policy: Policy = field(default_factory=lambda: captures(policy(live(base()))))
    versions: tuple[ModelVersion, ...] = field(default_factory=lambda: (base(),))
    template: TemplateView | None = TEMPLATE
    rivals: tuple[str, ...] = ()
    jobs: tuple[JobView, ...] = ()
    documents: dict[str, ScanDocument] = field(default_factory=dict)
    now: datetime = NOW
    writes: int = 0
    history: list[Action] = field(default_factory=list)
    refused: bool = False

    def view(self) -> PolicyView:
        return PolicyView(
            policy=self.policy,
            now=self.now,
            deployment=deployment(keys(base())),
            train_template=TEMPLATE,
            cpu_template=TEMPLATE,
            scan_template=self.template,
            scan_document=document_name(self.policy) in self.documents,
            versions=self.versions,
            jobs=self.jobs,
            nonce="0a1b",
            rivals=self.rivals,
        )

    def settle(self) -> Decision[PolicyStatus]:
        for _ in range(10):
            before = self.view()
            decision = decide(before)
            status = parse(plain(decision.status), PolicyStatus)
            self.writes += status != self.policy.status
            self.policy = updated(self.policy, status=status)
            for action in decision.actions:
                self._carry_out(action)
            if self.view() == before:
                return decision
        raise AssertionError("the policy does not settle")

    def _carry_out(self, action: Action) -> None:
        self.history.append(action)
        match action:
            case CreateSnapshot(run_document=ScanDocument() as document):
                self.documents[action.name] = document
            case CreateJob() if not self.refused:
                job = JobView(name=action.name, uid=f"uid-of-{action.name}", step=action.step, attempt=action.attempt)
                self.jobs = (*self.jobs, replace(job, spans=(Span(self.now),), pods_gone=False, has_pods=True))
            case DeleteJob():
                self.jobs = tuple(job for job in self.jobs if job.name != action.name)
            case _:
                pass

    def end(self, state: str, text: str | None, code: int) -> Decision[PolicyStatus]:
        spans = tuple(Span(span.start, span.end or self.now) for span in self.jobs[-1].spans)
        last = replace(
            self.jobs[-1],
            state=state,  # type: ignore[arg-type]
            termination_message=text,
            exit_code=code,
            pods_gone=True,
            idle=True,
            finished_at=self.now,
            spans=spans,
        )
        self.jobs = (*self.jobs[:-1], last)
        return self.settle()

    def say(self, result: dict[str, Any], **changes: Any) -> Decision[PolicyStatus]:
        return self.end("Complete", json.dumps(self.envelope() | {"result": result} | changes), 0)

    def fail(self, kind: str, reason: str, code: int, message: str = "it is so.") -> Decision[PolicyStatus]:
        error = {"class": kind, "reason": reason, "message": message, "remedy": "Mend it."}
        return self.end("Failed", json.dumps(self.envelope() | {"outcome": "Failed", "error": error}), code)

    def wait_for(self, reason: str, words: str) -> Decision[PolicyStatus]:
        """Have the pod of the newest Job wait for something."""
        self.jobs = (*self.jobs[:-1], replace(self.jobs[-1], spans=(), waiting=Problem(reason, words)))
        return self.settle()

    def envelope(self) -> dict[str, Any]:
        return {
            "schema": "finetune-operator.io/step-result/v1",
            "step": "scan",
            "owner": self.policy.metadata.uid,
            "attempt": self.jobs[-1].attempt,
            "outcome": "Succeeded",
        }

    def pass_time(self, by: timedelta) -> Decision[PolicyStatus]:
        self.now += by
        return self.settle()

    def counted(self) -> Counted:
        assert self.policy.status.scan is not None
        assert self.policy.status.scan.counted is not None
        return self.policy.status.scan.counted

    def scanned(self) -> tuple[str, str, str]:
        shown = find(self.policy.status.conditions, "Scanned")
        assert shown is not None
        return shown.status, shown.reason, shown.message

    def made(self) -> list[int]:
        return [action.attempt for action in self.history if isinstance(action, CreateJob)]

    def events(self) -> list[str]:
        return [action.reason for action in self.history if isinstance(action, Emit)]

    def problem(self) -> Problem | None:
        return scan_problem(self.policy, basis_now(self.view()), self.now)


def scanned_once(**changes: Any) -> Yard:
    yard = Yard(**changes)
    yard.settle()
    yard.say(counts())
    return yard


@pytest.mark.row("D120")
def test_a_policy_without_production_is_not_scanned_and_does_not_change() -> None:
    yard = Yard(policy=captures(policy(live(base())), None))
    assert not wants_scan(yard.policy)
    yard.settle()
    assert yard.made() == []
    assert yard.policy.status.scan is None
    assert find(yard.policy.status.conditions, "Scanned") is None


@pytest.mark.row("D121")
def test_a_scan_is_a_job_of_the_policy_that_works_from_a_document_of_the_policy_as_it_is() -> None:
    judged = Judged(run="r", run_uid="u", inputs=FileReference(uri="file:///a/plan.json", sha256="ab" * 32), at=NOW)
    status = updated(live(base()), judged=(judged,))
    yard = Yard(policy=captures(policy(status)), versions=(base(inputs=PLAN),))
    yard.settle()
    (job,) = [action for action in yard.history if isinstance(action, CreateJob)]
    (document,) = yard.documents.values()
    assert (job.step, job.template, job.attempt, job.snapshot) == ("scan", "scan", 1, document_name(yard.policy))
    assert job.snapshot_sha256 == document_sha256(document)
    assert json.loads(job.step_inputs) == {
        "attempt": 1, "nonce": "0a1b", "basePlan": plain(PLAN), "judged": [plain(judged.inputs)],
    }  # fmt: skip
    assert document.data.production == PRODUCTION
    assert yard.scanned()[:2] == ("Unknown", "NotScanned")


@pytest.mark.row("D122")
def test_what_was_counted_stands_in_the_status_with_what_it_was_counted_by() -> None:
    yard = scanned_once()
    counted = yard.counted()
    assert (counted.pool, counted.held_out, counted.outside, counted.new) == (84, 10, 74, 74)
    assert (counted.listing, counted.answered, counted.at) == (LISTING, 12_000, NOW)
    assert counted.basis == basis_now(yard.view())
    assert yard.scanned()[:2] == ("True", "Scanned")
    assert "74 new" in yard.scanned()[2]
    assert yard.problem() is None


def test_a_scan_writes_the_status_three_times_at_most() -> None:
    yard = scanned_once()
    yard.settle()
    before = yard.writes
    yard.pass_time(INTERVAL)
    yard.pass_time(timedelta(seconds=20))
    yard.say(counts(new=70, outside=74))
    assert yard.made() == [1, 2]
    assert yard.writes - before <= 3


@pytest.mark.row("D123")
def test_the_next_scan_is_after_the_interval_and_only_the_newest_attempt_stays() -> None:
    yard = scanned_once()
    assert decide(yard.view()).requeue_after == INTERVAL
    yard.pass_time(INTERVAL - timedelta(seconds=1))
    assert yard.made() == [1]
    for number in range(2, 6):
        yard.pass_time(INTERVAL)
        yard.say(counts())
        assert yard.policy.status.scan is not None
        assert [a.attempt for a in yard.policy.status.scan.attempts] == [number]
    assert len(yard.documents) == 1


@pytest.mark.row("D123")
def test_the_interval_is_the_policys() -> None:
    yard = scanned_once(policy=captures(policy(live(base())), scan=ScanRules(interval_seconds=60)))
    yard.pass_time(timedelta(seconds=60))
    assert yard.made() == [1, 2]


@pytest.mark.row("D124")
@pytest.mark.parametrize("what", ["data", "base", "judged"])
def test_counts_of_a_policy_as_it_was_do_not_count_and_another_scan_is_due_at_once(what: str) -> None:
    yard = scanned_once()
    change(yard, what)
    assert yard.problem() is not None
    yard.settle()
    assert yard.made() == [1, 2]
    assert yard.scanned()[:2] == ("Unknown", "NotScanned")
    yard.say(counts(new=24, corrected=1) if what == "judged" else counts())
    assert yard.problem() is None


@pytest.mark.row("D124")
@pytest.mark.parametrize("what", ["data", "base", "judged"])
def test_a_result_is_not_taken_when_the_policy_changed_while_it_was_counted(what: str) -> None:
    yard = Yard()
    yard.settle()
    change(yard, what)
    yard.say(counts())
    assert yard.policy.status.scan is not None
    assert yard.policy.status.scan.counted is None
    yard.pass_time(timedelta(seconds=1))
    assert yard.made() == [1, 2]


@pytest.mark.row("D124")
def test_counts_are_by_all_runs_that_were_judged_and_each_verdict_more_makes_them_none() -> None:
    plans = [FileReference(uri=f"file:///artifacts/{n}.json", sha256=f"{n:064x}") for n in range(3)]
    entries = tuple(Judged(run=f"r{n}", run_uid=f"u{n}", inputs=plan, at=NOW) for n, plan in enumerate(plans))
    yard = Yard(policy=captures(policy(updated(live(base()), judged=entries[:2]))))
    yard.settle()
    yard.say(counts(new=24))
    assert yard.problem() is None
    yard.policy = updated(yard.policy, status=updated(yard.policy.status, judged=entries))
    assert yard.problem() is not None
    yard.settle()
    judged = [json.loads(action.step_inputs)["judged"] for action in yard.history if isinstance(action, CreateJob)]
    assert judged == [[plain(plan) for plan in plans[:count]] for count in (2, 3)]


def change(yard: Yard, what: str) -> None:
    match what:
        case "data":
            yard.policy = captures(yard.policy, updated(PRODUCTION, uri="s3://other"))
        case "base":
            yard.versions = (base("base_v2"),)
        case _:
            entry = Judged(run="r", run_uid="u", inputs=PLAN, at=NOW)
            yard.policy = updated(yard.policy, status=updated(yard.policy.status, judged=(entry,)))


@pytest.mark.row("D125")
def test_counts_older_than_three_intervals_are_stale_and_say_why() -> None:
    yard = scanned_once()
    yard.template = None
    yard.pass_time(INTERVAL)
    assert yard.scanned()[:2] == ("False", "PodTemplateNotFound")
    assert yard.problem() is None, "they are not too old yet"
    yard.template = TEMPLATE
    yard.settle()
    for _ in range(6):
        yard.fail("Unavailable", "StorageUnavailable", 13)
        yard.pass_time(timedelta(minutes=10))
    assert yard.scanned()[:2] == ("False", "ScanStale")
    assert "StorageUnavailable" in yard.scanned()[2]
    stale = yard.problem()
    assert stale is not None
    assert stale.reason == "ScanStale"
    assert yard.events().count("ScanStale") == 1
    yard.say(counts())
    assert yard.scanned()[:2] == ("True", "Scanned")
    assert yard.problem() is None


@pytest.mark.row("D125")
def test_a_look_is_due_when_counts_become_stale() -> None:
    yard = scanned_once()
    yard.template = None
    yard.pass_time(INTERVAL)
    assert decide(yard.view()).requeue_after == 2 * INTERVAL + timedelta(seconds=1)


@pytest.mark.row("D126")
def test_bad_input_is_said_at_once_and_tried_again_with_longer_pauses() -> None:
    yard = scanned_once()
    yard.pass_time(INTERVAL)
    pauses = []
    for _ in range(20):
        made = len(yard.made())
        decision = yard.fail("BadInput", "PrefixShared", 10)
        assert yard.scanned()[:2] == ("False", "PrefixShared")
        assert decision.requeue_after is not None
        pauses.append(decision.requeue_after)
        yard.pass_time(timedelta(minutes=30))
        assert len(yard.made()) == made + 1
        assert yard.scanned()[:2] == ("False", "PrefixShared"), "nothing is mended yet"
    assert pauses[0] <= timedelta(seconds=10)
    assert pauses[-1] == timedelta(minutes=30)
    assert yard.policy.status.scan is not None
    assert len(yard.policy.status.scan.attempts) <= 10
    assert [a.attempt for a in yard.policy.status.scan.attempts][-1] == 22
    yard.say(counts())
    assert yard.scanned()[:2] == ("True", "Scanned")


@pytest.mark.row("D126")
def test_who_evicts_every_scan_gets_no_pod_every_ten_seconds() -> None:
    yard = scanned_once()
    yard.pass_time(INTERVAL)
    for number in range(5):
        yard.jobs = (*yard.jobs[:-1], replace(yard.jobs[-1], disrupted=True))
        yard.end("Failed", None, 143)
        made = len(yard.made())
        yard.pass_time(timedelta(seconds=10 * 2**number - 1))
        assert len(yard.made()) == made
        yard.pass_time(timedelta(seconds=1))
        assert len(yard.made()) == made + 1


@pytest.mark.row("D126")
def test_what_may_pass_by_itself_is_not_said_before_the_counts_are_stale() -> None:
    yard = scanned_once()
    yard.pass_time(INTERVAL)
    yard.fail("Unavailable", "StorageUnavailable", 13)
    assert yard.scanned()[:2] == ("True", "Scanned")
    assert "StorageUnavailable" in yard.events()


@pytest.mark.row("D273")
def test_a_first_scan_that_gets_no_further_says_so_where_triggers_send_people() -> None:
    """A quota, Pod Security, an image that is not there: no attempt fails by it, so nothing else would ever tell."""
    yard = Yard()
    yard.settle()
    assert yard.scanned() == ("Unknown", "NotScanned", "pool and captured pages were not counted yet")
    yard.wait_for("ImagePullFailed", "image 'trainer:1' cannot be pulled")
    assert yard.scanned()[:2] == ("Unknown", "NotScanned")
    command = f"kubectl get events -n ml | grep {yard.jobs[-1].name}"
    assert yard.scanned()[2].endswith(f"; scan, attempt 1, waits: ImagePullFailed; what says why: {command}")
    writes = yard.writes
    yard.wait_for("ImagePullFailed", "image 'trainer:1' cannot be pulled, in other words")
    assert yard.writes == writes, "each word would be a write"
    yard.say(counts())
    assert yard.scanned()[:2] == ("True", "Scanned")


@pytest.mark.row("D273")
def test_a_later_scan_that_gets_no_further_is_said_with_counts_that_are_stale() -> None:
    yard = scanned_once()
    yard.pass_time(INTERVAL)
    yard.wait_for("Unschedulable", "0/3 nodes")
    assert yard.scanned()[:2] == ("True", "Scanned"), "it may pass by itself"
    assert "Unschedulable" not in yard.scanned()[2]
    yard.pass_time(2 * INTERVAL + timedelta(seconds=1))
    assert yard.scanned()[:2] == ("False", "ScanStale")
    assert "scan, attempt 2, waits: Unschedulable" in yard.scanned()[2]


def test_what_a_status_keeps_of_scans_is_bounded() -> None:
    judged = tuple(
        Judged(run="r", run_uid=f"{n}", inputs=FileReference(uri=f"file:///{n}", sha256=f"{n}" * 64), at=NOW)
        for n in range(8)
    )
    name = updated(policy().metadata, name="p" * 63, uid="u" * 36)
    of = updated(captures(policy(updated(live(base()), judged=judged))), metadata=name)
    yard = Yard(policy=of)
    yard.settle()
    yard.say(counts(reports=[{"week": f"2026-W{n}", "documents": 2**31 - 1} for n in range(10, 18)], new=0))
    yard.pass_time(INTERVAL)
    for _ in range(15):
        yard.fail("BadInput", "PrefixShared", 10, "m" * 4000)
        yard.pass_time(timedelta(hours=1))
    yard.fail("BadInput", "PrefixShared", 10, "m" * 4000)
    assert len(canonical_json(yard.policy.status.scan)) <= 8 * 1024


BAD: dict[str, dict[str, Any]] = {
    "a count below none": counts(pool=-1),
    "a listing without a digest": counts(listing="x"),
    "more held out than there is": counts(heldOut=85),
    "more new than may train": counts(new=75),
    "more outside than may train": counts(outside=75),
    "more corrected than new": counts(new=0, corrected=1),
    "known samples of a base without a plan": counts(outside=73),
    "known samples and nothing was judged": counts(new=73),
    "more by image than there is": counts(byImage=85),
    "pages without a day": counts(pages={"random": 1, "uncertain": 0, "reported": 0, "oldest": None}),
    "a day without pages": counts(pages={"random": 0, "uncertain": 0, "reported": 0, "oldest": "2026-11-01"}),
    "no day": counts(pages={"random": 1, "uncertain": 0, "reported": 0, "oldest": "2026-13-01"}),
    "no pages where some are captured": counts(pages=None),
    "nothing said of what waits": counts(waiting=None),
    "what waits below none": counts(waiting={"pages": -1, "fields": [0, 0]}),
    "a field below none": counts(waiting={"pages": 1, "fields": [0, -1]}),
    "more for one field than for any": counts(waiting={"pages": 30, "fields": [2, 31]}),
    "what waits for other fields": counts(waiting={"pages": 33, "fields": [2, 31, 0]}),
    "a week twice": counts(reports=[{"week": "2026-W46", "documents": 1}] * 2),
    "no week": counts(reports=[{"week": "2026-46", "documents": 1}]),
    "nine weeks": counts(reports=[{"week": f"2026-W{n}", "documents": 1} for n in range(10, 19)]),
    "no reports": {key: value for key, value in counts().items() if key != "reports"},
}


@pytest.mark.row("D127")
@pytest.mark.parametrize("name", BAD)
def test_a_result_that_cannot_be_is_a_failed_attempt(name: str) -> None:
    yard = scanned_once()
    yard.pass_time(INTERVAL)
    yard.say(BAD[name])
    assert yard.counted().at == NOW
    assert {"ResultInvalid", "ResultContradictory"} & set(yard.events())


@pytest.mark.row("D127")
@pytest.mark.parametrize("change", [{"owner": "other"}, {"attempt": 7}, {"step": "verify"}])
def test_a_result_of_something_else_is_a_failed_attempt(change: dict[str, Any]) -> None:
    yard = Yard()
    yard.settle()
    yard.say(counts(), **change)
    assert yard.policy.status.scan is not None
    assert yard.policy.status.scan.counted is None
    assert yard.events() == ["ResultInvalid"]


@pytest.mark.row("D128")
def test_a_suspended_policy_goes_on_scanning() -> None:
    yard = scanned_once(policy=captures(policy(live(base()), suspend=True)))
    yard.pass_time(INTERVAL)
    assert yard.made() == [1, 2]


@pytest.mark.row("D129")
def test_the_younger_of_two_policies_on_a_deployment_does_not_scan() -> None:
    yard = Yard(rivals=("older",))
    yard.settle()
    assert yard.made() == []
    assert yard.scanned()[:2] == ("False", "DeploymentTaken")


@pytest.mark.row("D130")
def test_who_needs_no_scan_any_more_ends_the_one_under_way_and_forgets_the_counts() -> None:
    yard = scanned_once()
    yard.pass_time(INTERVAL)
    yard.policy = captures(yard.policy, None)
    yard.settle()
    assert [job.attempt for job in yard.jobs] == [1]
    assert yard.policy.status.scan is not None
    assert yard.policy.status.scan.counted is None
    assert find(yard.policy.status.conditions, "Scanned") is None
    yard.policy = captures(yard.policy)
    yard.settle()
    assert yard.made()[-1] == 3, "a number is never given twice: its Job may still be there"


@pytest.mark.row("D131")
def test_pages_that_were_removed_have_an_event() -> None:
    yard = Yard()
    yard.settle()
    yard.say(counts(expiredDays=2))
    (event,) = [action for action in yard.history if isinstance(action, Emit)]
    assert (event.type, event.reason) == ("Normal", "PagesExpired")
    assert "2 days" in event.message
    assert "30 days" in event.message


@pytest.mark.row("D131")
def test_no_page_though_the_deployment_answers_is_said() -> None:
    yard = Yard()
    yard.settle()
    yard.say(counts(pages={"random": 0, "uncertain": 0, "reported": 0, "oldest": None}))
    assert "0 captured pages, but the Deployment answered 12000" in yard.scanned()[2]


@pytest.mark.row("D132")
@pytest.mark.parametrize("by", [timedelta(hours=1), -timedelta(hours=1)], ids=["ahead", "behind"])
def test_a_clock_that_is_an_hour_off_costs_a_scan_at_most(by: timedelta) -> None:
    yard = scanned_once()
    yard.now += by
    yard.settle()
    assert yard.made() == [1, 2]
    yard.say(counts())
    yard.now -= by
    yard.settle()
    if yard.made() == [1, 2, 3]:
        yard.say(counts())
    assert yard.scanned()[:2] == ("True", "Scanned")
    yard.pass_time(INTERVAL)
    assert len(yard.made()) <= 4
    assert yard.jobs[-1].state == "Active"


@pytest.mark.row("D132")
def test_a_clock_that_was_set_back_does_not_hold_up_what_failed_before() -> None:
    yard = Yard()
    yard.settle()
    yard.fail("Unavailable", "StorageUnavailable", 13)
    yard.pass_time(-timedelta(hours=1))
    assert yard.made() == [1, 2]


@pytest.mark.row("D133")
def test_a_scan_that_may_not_be_made_is_said_in_scanned_and_the_policy_stays_ready() -> None:
    yard = Yard(refused=True)
    yard.settle()
    decision = decide(yard.view())
    (action,) = [a for a in decision.actions if isinstance(a, CreateJob)]
    refusal = Refusal("QuotaExceeded", "exceeded quota: jobs", action, yard.now)
    said = say_refused(yard.view(), decision, refusal)
    scanned, ready = find(said.status.conditions, "Scanned"), find(said.status.conditions, "Ready")
    assert scanned is not None
    assert (scanned.status, scanned.reason) == ("False", "QuotaExceeded")
    assert ready is not None
    assert ready.status == "True"
    assert "QuotaExceeded" in [a.reason for a in said.actions if isinstance(a, Emit)]


@pytest.mark.row("D134")
def test_finished_scans_do_not_push_out_the_jobs_that_people_look_for() -> None:
    yard = scanned_once()
    of_run = [FinishedJob(f"run-{n}", f"uid-{n}", NOW - timedelta(hours=n), harvested=True) for n in range(10)]
    scans = [FinishedJob(f"scan-{n}", f"suid-{n}", NOW, harvested=True, scans=True) for n in range(3)]
    decision = decide(replace(yard.view(), finished_jobs=(*of_run, *scans)))
    assert [a.name for a in decision.actions if isinstance(a, DeleteJob)] == ["scan-0", "scan-1"]


@pytest.mark.row("D112")
def test_finished_jobs_are_removed_before_a_scan_is_made_that_a_quota_may_refuse() -> None:
    """They count for the quota: else nothing would ever free it."""
    yard = Yard()
    old = tuple(FinishedJob(f"old-{n}", f"suid-{n}", NOW, harvested=True, scans=True) for n in range(3))
    actions = decide(replace(yard.view(), finished_jobs=old)).actions
    kinds = [type(action) for action in actions if isinstance(action, CreateJob | DeleteJob)]
    assert kinds == [DeleteJob, DeleteJob, CreateJob]
    assert SCANS == 1


def test_a_scan_is_made_anew_when_its_job_vanished() -> None:
    yard = Yard()
    yard.settle()
    yard.jobs = ()
    yard.settle()
    yard.pass_time(timedelta(seconds=10))
    assert yard.made() == [1, 2]
    assert yard.events() == ["JobVanished"]


def test_a_status_that_was_written_is_what_a_restart_goes_on_from() -> None:
    yard = Yard()
    decision = decide(yard.view())
    yard.policy = updated(yard.policy, status=parse(plain(decision.status), PolicyStatus))
    yard.settle()
    assert [job.attempt for job in yard.jobs] == [1], "the Job that was planned, once"
    assert isinstance(yard.policy.status.scan, ScanStatus)
