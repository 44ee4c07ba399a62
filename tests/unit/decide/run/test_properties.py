"""Whatever happens to a run, in whatever order: what is promised of it holds."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace as updated

from finetune_operator.api.meta import Condition, ObjectMeta
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy_status import Hold
from finetune_operator.api.promotion import PromotionPhase, PromotionStatus
from finetune_operator.api.run import FINAL_PHASES, Review, RunStatus
from finetune_operator.api.value import plain
from finetune_operator.decide.decision import CreateJob, CreateModelVersion, CreatePromotion
from finetune_operator.decide.run.machine import decide
from finetune_operator.decide.run.view import Queue, Twin
from finetune_operator.decide.views import JobView, Problem, Span
from unit.decide.run.results import (
    BASE,
    DIGESTS,
    LIVE,
    START,
    envelope,
    evaluate_result,
    prepare_result,
    sha,
    train_result,
)
from unit.decide.run.world import World, base, policy, template

SHARES = st.sampled_from(["0.99", "0.981", "0.97", "0.9", "NaN", "", "1e999", "-0"])
HOLD = Hold(by="operator", reason="RolledBack", message="", since=START)
PROMOTION_PHASES: list[PromotionPhase] = ["Pending", "Flipping", "Watching", "Succeeded", "RolledBack", "Superseded"]


rarely = st.sampled_from([False, False, False, False, True])


class AnyLife(RuleBasedStateMachine):
    """People, pods, storage and crashes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.ended: RunStatus | None = None

    @initialize(place=st.sampled_from(["new", "prepare", "train", "evaluate", "evaluate", "review"]))
    def somewhere(self, place: str) -> None:
        self.world = World.at(place)

    @rule(crash=st.booleans())
    def operator(self, crash: bool) -> None:
        self.world.decide(crash=crash)

    @rule()
    def operator_until_rest(self) -> None:
        # A world that is not obedient may need a crash to be made good: two Jobs of one name cannot be made.
        for _ in range(5):
            self.world.decide()

    @precondition(lambda self: any(j.state == "Active" and not j.deleting for j in self.world.jobs))
    @rule(candidate=st.sampled_from(["0.99", "0.981", "0.97", "0.9"]))
    def what_should_happen_happens(self, candidate: str) -> None:
        job = next(j for j in reversed(self.world.jobs) if j.state == "Active" and not j.deleting)
        self.world.change_job(job.name, spans=(Span(self.world.now),))
        self.finish_well(job, candidate, "0.985")
        self.operator_until_rest()

    @rule(seconds=st.sampled_from([1, 10, 31, 300, 300, 90_000, 1_300_000]))
    def time(self, seconds: int) -> None:
        self.world.wait(seconds)

    @precondition(lambda self: self.world.jobs)
    @rule(pick=st.integers(0, 50), start=st.booleans())
    def a_pod_starts_or_is_queued(self, pick: int, start: bool) -> None:
        job = self.pick(pick)
        if job.state == "Active":
            spans = (Span(self.world.now),) if start else ()
            self.world.change_job(job.name, spans=spans, suspended=not start)

    @precondition(lambda self: self.world.jobs)
    @rule(pick=st.integers(0, 50), candidate=SHARES, other=SHARES, truth=st.integers(0, 5))
    def a_job_completes(self, pick: int, candidate: str, other: str, truth: int) -> None:
        job = self.pick(pick)
        if job.state == "Active":
            self.finish_well(job, candidate, other, truth)

    def finish_well(self, job: JobView, candidate: str, other: str, truth: int = 5) -> None:
        live = next((a.live for a in self.world.status.attempts if a.job == job.name), None)
        evaluate = evaluate_result(candidate, other, "0.98" if live and live != BASE else None)
        if live and live != BASE:
            evaluate["models"]["live"]["sha256"] = live
        result = {"prepare": prepare_result(), "train": train_result(), "evaluate": evaluate}[job.step]
        lies: dict[int, dict[str, Any] | None] = {0: None, 1: {"owner": "x"}, 2: {"result": {}}}
        lie = lies.get(truth, {})
        text = None if lie is None else json.dumps({**envelope(job, result), **lie})
        self.end(job, "Complete", text, 0)

    @precondition(lambda self: self.world.jobs)
    @rule(pick=st.integers(0, 50), code=st.sampled_from([None, 1, 12, 13, 137, 143]), disrupted=st.booleans())
    def a_job_fails(self, pick: int, code: int | None, disrupted: bool) -> None:
        job = self.pick(pick)
        if job.state == "Active":
            self.end(job, "Failed", None, code, disrupted=disrupted)

    @precondition(lambda self: self.world.jobs)
    @rule(pick=st.integers(0, 50), vandal=rarely)
    def a_job_is_gone(self, pick: int, vandal: bool) -> None:
        job = self.pick(pick)
        if job.deleting or vandal:
            self.world.remove_job(job.name)

    @rule(suspend=rarely)
    def people_suspend(self, suspend: bool) -> None:
        self.world.edit(suspend=suspend)

    @rule(decision=st.sampled_from(["Approve", "Reject"]), right=st.booleans())
    def people_review(self, decision: Any, right: bool) -> None:
        evidence = self.world.status.evidence
        digest = evidence.digest if right and evidence else "sha256:" + "0" * 64
        self.world.edit(review=Review(decision=decision, evidence=digest, by="ann"))

    @rule(version=st.sampled_from([None, None, None, "base_v1", "ft_v1.8", "ft_v1.9"]))
    def something_else_goes_live(self, version: str | None) -> None:
        if self.world.policy is not None:
            self.world.go_live(version, BASE if version == "base_v1" else sha(version or ""))

    @rule(taken=st.sampled_from([(), (), (), ("other",)]), older=rarely)
    def others_take_places(self, taken: tuple[str, ...], older: bool) -> None:
        self.world.queue = Queue(taken, (("2026-11-21T11:00:00Z", "older"),) if older else ())

    @rule(ahead=st.sampled_from([(), (), (), ("other",)]))
    def others_are_promoted(self, ahead: tuple[str, ...]) -> None:
        self.world.ahead = ahead

    @rule(twin=rarely, is_past=st.booleans())
    def others_ask_for_the_same(self, twin: bool, is_past: bool) -> None:
        drawn = (DIGESTS["pool"], DIGESTS["anchor"])
        self.world.twins = (Twin("a-twin", START - timedelta(hours=1), drawn, is_past=is_past),) if twin else ()

    @precondition(lambda self: self.world.snapshot is not None)
    @rule(reject=rarely, baseline=st.sampled_from([None, "ft_v1.8"]), later=st.booleans())
    def an_earlier_result_comes_to_light(self, reject: bool, baseline: str | None, later: bool) -> None:
        """A restored record of the same, made an hour before this run or after it."""
        if any(v.spec.version == "ft_v1.77" for v in self.world.versions):
            return
        first = World().judged(candidate="0.9" if reject else "0.981")
        spec = updated(first.versions[-1].spec, version="ft_v1.77")
        assert spec.evidence is not None
        evidence = updated(spec.evidence, baseline=baseline, digest="sha256:" + "7" * 64)
        meta = ObjectMeta(
            name="invoice-fields-ft-v1.77", creation_timestamp=START + timedelta(hours=1 if later else -1)
        )
        record = ModelVersion(metadata=meta, spec=updated(spec, evidence=evidence))
        self.world.versions = (*self.world.versions, record)

    @rule(gone=rarely, held=rarely, manual=rarely, suspend=rarely)
    def the_policy_changes(self, gone: bool, held: bool, manual: bool, suspend: bool) -> None:
        reservations = self.world.policy.status.reservations if self.world.policy else ()
        rules = policy(promotion="Manual" if manual else "Automatic", suspend=suspend)
        status = updated(rules.status, hold=HOLD if held else None, reservations=reservations)
        self.world.policy = None if gone else updated(rules, status=status)

    @rule(broken=rarely)
    def the_templates_change(self, broken: bool) -> None:
        problem = Problem("PodTemplateNotLabelled", "label it") if broken else None
        self.world.cpu_template = self.world.train_template = template("t", problem)

    @precondition(lambda self: self.world.promotion)
    @rule(phase=st.sampled_from(PROMOTION_PHASES), gone=rarely)
    def the_promotion_moves(self, phase: PromotionPhase, gone: bool) -> None:
        assert self.world.promotion is not None
        moved = updated(self.world.promotion, status=PromotionStatus(phase=phase))
        self.world.promotion = None if gone else moved

    def pick(self, number: int) -> JobView:
        return self.world.jobs[number % len(self.world.jobs)]

    def end(self, job: JobView, state: Any, text: str | None, code: int | None, *, disrupted: bool = False) -> None:
        self.world.jobs = tuple(
            replace(
                j,
                state=state,
                termination_message=text,
                exit_code=code,
                disrupted=disrupted,
                pods_gone=True,
                finished_at=self.world.now,
            )
            if j.name == job.name
            else j
            for j in self.world.jobs
        )

    @invariant()
    def one_job_per_attempt(self) -> None:
        planned = {a.job for a in self.world.status.attempts}
        mains = {a.name for a in self.world.history if isinstance(a, CreateJob) and not a.collect}
        assert len({(a.step, a.attempt) for a in self.world.status.attempts}) == len(self.world.status.attempts)
        assert len(planned) == len(self.world.status.attempts)
        assert all(name.startswith("first-") for name in mains)

    @invariant()
    def at_most_one_job_runs_that_is_not_ending(self) -> None:
        running = [j for j in self.world.jobs if j.state == "Active" and not j.deleting]
        open_ = {a.job for a in self.world.status.attempts if a.outcome in ("Planned", "Running")}
        assert len([j for j in running if j.name in open_]) <= 1

    @invariant()
    def a_promotion_has_passing_evidence(self) -> None:
        for action in self.world.history:
            if isinstance(action, CreatePromotion):
                specs = (
                    *(a.spec for a in self.world.history if isinstance(a, CreateModelVersion)),
                    *(version.spec for version in self.world.versions),
                )
                record = next(spec for spec in specs if spec.version == action.spec.version)
                assert record.evidence is not None
                approved = action.spec.approval is not None
                assert record.evidence.verdict == ("Review" if approved else "Pass")
                if action.spec.approval is not None:
                    assert action.spec.approval.evidence == record.evidence.digest
                else:
                    assert all(gate.verdict == "Pass" for gate in record.evidence.gates)
                assert action.spec.from_version == record.evidence.baseline

    @invariant()
    def final_means_final(self) -> None:
        if self.ended is not None:
            assert self.world.status == self.ended
        elif self.world.status.phase in FINAL_PHASES:
            self.ended = self.world.status

    @invariant()
    def a_status_fits(self) -> None:
        event(f"phase {self.world.status.phase}")
        assert len(json.dumps(plain(self.world.status))) < 32 * 1024

    @invariant()
    def deciding_again_says_the_same(self) -> None:
        view = self.world.view()
        first = decide(view)
        again = decide(replace(view, run=updated(view.run, status=first.status)))
        jobs = [a for a in first.actions if isinstance(a, CreateJob)]
        assert again.status == first.status or first.actions, "a status moved twice without the world moving"
        assert {j.name for j in jobs} <= {a.job for a in first.status.attempts}


AnyLife.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyLife = AnyLife.TestCase


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_run_that_is_left_in_peace_comes_to_rest(data: st.DataObject) -> None:
    """From any place in the flow, an obedient world settles: no writes and no actions at rest."""
    world = World.at(data.draw(st.sampled_from(["new", "prepare", "train", "evaluate", "review"])))
    world.edit(suspend=data.draw(st.booleans()))
    world.settle()
    writes, actions = world.writes, len(world.history)
    for _ in range(5):
        world.decide()
    assert (world.writes, len(world.history)) == (writes, actions)


FIELDS = [f.name for f in msgspec.structs.fields(RunStatus)]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_decide_is_total_even_on_statuses_that_nobody_wrote(data: st.DataObject) -> None:
    """Restored, pruned or forged statuses lead to waiting or failing, never to a crash or a promotion."""
    place = data.draw(st.sampled_from(["prepare", "train", "evaluate", "review"]))
    world = World.at(place)
    other = World.at(data.draw(st.sampled_from(["new", "train", "review"])))
    lost = data.draw(st.sets(st.sampled_from(FIELDS)))
    default, source = RunStatus(), other.status
    changes = {name: getattr(data.draw(st.sampled_from([default, source])), name) for name in lost}
    changes["phase"] = data.draw(st.sampled_from([None, "Pending", "Evaluating", "InReview", "Promoting"]))
    condition = Condition(type="Promoted", status="Unknown", reason=data.draw(st.sampled_from(["Requested", "NotYet"])))
    kept = (c for c in world.status.conditions if c.type != "Promoted")
    world.run = updated(world.run, status=updated(world.status, **{"conditions": (*kept, condition), **changes}))
    view = replace(
        world.view(),
        now=START + timedelta(days=data.draw(st.integers(-1, 40))),
        policy=data.draw(st.sampled_from([None, world.policy])),
        snapshot=data.draw(st.sampled_from([None, world.snapshot])),
        versions=data.draw(st.sampled_from([(), (base(),), (base("ft_v1.1", LIVE),)])),
        jobs=data.draw(st.sampled_from([(), world.jobs, other.jobs])),
        cpu_template=data.draw(st.sampled_from([None, world.cpu_template])),
    )
    decision = decide(view)
    for action in decision.actions:
        if isinstance(action, CreatePromotion):
            assert view.run.status.promotion is not None or decision.status.verdict in ("Pass", "Review")
