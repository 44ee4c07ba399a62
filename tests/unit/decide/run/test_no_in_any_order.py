"""A person's no, in whatever order edits, crashes and the world come: a run keeps it, and asks for nothing then."""

from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from finetune_operator.api.run import Review
from finetune_operator.api.value import plain
from finetune_operator.cluster.fields import standing
from finetune_operator.decide.decision import CreateModelVersion, Decision
from unit.decide.run.test_properties import AnyLife

UNKNOWN = "sha256:" + "0" * 64
TAKEN_OVER = "sha256:" + "7" * 64
"""The evidence of the record that comes to light."""


class AnyNo(AnyLife):
    """Any life, in which people review as the API server lets them, and only the run itself knows of a no."""

    def __init__(self) -> None:
        super().__init__()
        self.no: str | None = None
        """The bytes that somebody said no to."""

    def known(self) -> list[str]:
        """Return the digests of all evidence of the run, the newest first."""
        status = self.world.status
        return [*([status.evidence.digest] if status.evidence else []), *reversed(status.earlier_evidence)]

    def hear(self) -> None:
        """Note a no to what the run made."""
        said, candidate = self.world.run.spec.review, self.world.status.candidate
        if said is not None and said.decision == "Reject" and said.evidence in self.known() and candidate is not None:
            self.no = candidate.sha256

    @rule(decision=st.sampled_from(["Approve", "Reject"]), which=st.sampled_from(["now", "now", "before", "taken", ""]))
    def people_review(self, decision: Any, which: str) -> None:
        before, known = self.world.run.spec.review, self.known()
        named = {"now": known[:1], "before": known[1:2], "taken": [TAKEN_OVER]}.get(which) or [UNKNOWN]
        after = Review(decision=decision, evidence=named[0], by="ann")
        if (
            before is not None
            and before.decision == "Reject"
            and before != after
            and before.evidence in (*known, named[0])
        ):
            return  # the API server refuses it (R208, R212)
        is_judged = bool(known) or self.world.status.finished_at is not None
        if decision == "Reject" and before != after and is_judged and named[0] not in known:
            return  # so it does this (R251)
        self.world.edit(review=after)
        self.hear()

    @rule(crash=st.booleans())
    def operator(self, crash: bool) -> None:
        self.look(crash=crash)

    @rule()
    def operator_until_rest(self) -> None:
        for _ in range(5):
            self.look()

    def look(self, *, crash: bool = False) -> Decision[Any]:
        """Look once; after a no nothing is asked for, and what is recorded says it."""
        said, asked = self.no, self.world.status.promotion
        decision = self.world.decide(crash=crash)
        if said is not None and asked is None:
            event("a look after a no")
            assert self.world.status.promotion is None, "a promotion is asked for after a no"
            for action in decision.actions:
                if isinstance(action, CreateModelVersion):
                    assert action.spec.evidence is not None
                    assert action.spec.evidence.persons_no is not None, "a record says nothing of the no"
        self.hear()
        return decision

    @invariant()
    def a_no_stays_in_the_run(self) -> None:
        if self.no is not None:
            assert standing(plain(self.world.run)).rejected[:1] == (self.no,)


AnyNo.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyNo = AnyNo.TestCase
