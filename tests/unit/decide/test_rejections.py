"""A person's no to bytes: taken into the policy's memory, mirrored by versions, and heeded wherever it stands."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.names import SERVICE_RECORD_KEY
from finetune_operator.api.policy_status import PolicyStatus, Rejected, TakenBack
from finetune_operator.api.promotion import Approval, Despite, Promotion
from finetune_operator.api.record import Rejection, Service, record_text, rejection, services
from finetune_operator.api.run import Ruling
from finetune_operator.decide import limits
from finetune_operator.decide.decision import Annotate
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.policy.memory import rejected
from finetune_operator.decide.promotion.checks import judge
from finetune_operator.decide.promotion.eligibility import is_proven
from finetune_operator.decide.promotion.proposal import Clear, Proposal, Refuse, Wait
from finetune_operator.decide.rejections import barred, rejection_of
from finetune_operator.decide.version.machine import decide as decide_version
from finetune_operator.decide.version.view import VersionView
from unit.decide.policy.world import NOW, base, deployment, keys, live, policy, promotion, tuned, view

BASE, TUNED = base(), tuned()
SHA = TUNED.spec.artifact.sha256
NO = Rejected(version="ft_v1.2", sha256=SHA, by="ann", at=NOW, run="first")
GONE = Rejected(version="ft_v1.7", sha256="f" * 64, by="bo", at=NOW - timedelta(days=9), run="old")


def reviewed(version: ModelVersion = TUNED, verdict: Any = "Review", by: str = "ann") -> ModelVersion:
    """The version with a no of its own review."""
    evidence = version.spec.evidence
    assert evidence is not None
    no = Ruling(verdict="Reject", by=by, at=NOW, reason="bad")
    return replace(version, spec=replace(version.spec, evidence=replace(evidence, verdict=verdict, decision=no)))


def marked(version: ModelVersion = TUNED, no: Rejection | None = None, service: Service | None = None) -> ModelVersion:
    """The version with a no on its service record."""
    by_deployment = {} if service is None else {"invoice-detector": service}
    no = no or Rejection(at=NOW, by="ann", run="first", version="ft_v1.2")
    text = record_text(version.spec.artifact.sha256, by_deployment, no)
    return replace(version, metadata=replace(version.metadata, annotations={SERVICE_RECORD_KEY: text}))


def seen(*versions: ModelVersion, status: PolicyStatus | None = None, runs: tuple[Rejected, ...] = ()) -> PolicyStatus:
    """What the policy knows after a look."""
    look = view(policy(status or live(BASE)), deployment(keys(BASE)), versions=(BASE, *versions), rejections=runs)
    return decide(look).status


def asked(request: Promotion, *versions: ModelVersion, status: PolicyStatus) -> Any:
    return judge(Proposal(request, policy(status), versions, deployment(keys(BASE))))


class TestMemory:
    @pytest.mark.row("D63")
    @pytest.mark.parametrize(
        ("versions", "runs", "known"),
        [
            ((reviewed(),), (), [("ann", "ft_v1.1", "first")]),
            ((marked(),), (), [("ann", "ft_v1.2", "first")]),
            ((), (NO,), [("ann", "ft_v1.2", "first")]),
            ((reviewed(by="gates", verdict="Reject"),), (), []),
            ((tuned(verdict="Review"),), (), []),
            ((replace(reviewed(), spec=replace(reviewed().spec, model="receipts")),), (), []),
        ],
        ids=["a review", "a record", "a run", "gates", "nobody", "another model"],
    )
    def test_a_no_is_taken_into_the_status_wherever_it_stands(self, versions: Any, runs: Any, known: list[Any]) -> None:
        status = seen(*versions, runs=runs)
        assert [(no.by, no.version, no.run) for no in status.rejected] == known
        assert all(no.sha256 == SHA for no in status.rejected)

    @pytest.mark.row("D63")
    def test_it_outlives_all_that_it_was_taken_from_and_the_first_word_stands(self) -> None:
        status = seen(reviewed())
        assert seen(status=status).rejected == status.rejected != ()
        again = replace(NO, by="bo", at=NOW + timedelta(days=1))
        assert seen(reviewed(), status=status, runs=(again,)).rejected == status.rejected

    @pytest.mark.row("R205")
    def test_a_no_from_before_the_bytes_were_recorded_is_told_as_which_version_they_are(self) -> None:
        early = replace(NO, version="", at=NOW - timedelta(hours=1))
        status = seen(runs=(early,))
        assert [no.version for no in status.rejected] == [""]
        after = seen(reviewed(), status=status, runs=(early,))
        assert after.rejected == (replace(early, version="ft_v1.1"),)
        assert seen(status=after, runs=(early,)).rejected == after.rejected

    @pytest.mark.row("D63")
    def test_beyond_the_bound_the_oldest_leave_and_it_comes_to_rest(self) -> None:
        many = tuple(replace(NO, sha256=f"{n:064x}", at=NOW + timedelta(minutes=n)) for n in range(limits.REJECTED + 9))
        status = seen(runs=many, status=replace(live(BASE), rejected=(GONE,)))
        assert [no.sha256 for no in status.rejected] == [no.sha256 for no in many[9:]]
        assert rejected(status, (*many, GONE)) is status

    @pytest.mark.row("D63")
    def test_what_no_object_says_any_more_stays_before_what_stands_on_versions(self) -> None:
        """Else who may edit runs has it forgotten: they say no to as many old ones, and train the bytes again."""
        many = tuple(
            marked(tuned(f"ft_v1.{n}"), Rejection(at=NOW + timedelta(minutes=n), by="bo", run="old", version=""))
            for n in range(10, 10 + limits.REJECTED + 5)
        )
        status = seen(*many, status=replace(live(BASE), rejected=(GONE,)))
        assert status.rejected[0] == GONE
        assert len(status.rejected) == limits.REJECTED
        assert all(rejection_of(v.spec.artifact.sha256, many, status) for v in many), "they count all the same"
        assert seen(*many, status=status) == status

    @pytest.mark.row("D63")
    def test_a_no_to_what_could_go_live_stays_before_newer_ones_to_what_was_never_recorded(self) -> None:
        """Its run says it still, and whoever looks at a promotion asks versions and memory alone."""
        many = tuple(replace(NO, sha256=f"{n:064x}", at=NOW + timedelta(minutes=n)) for n in range(limits.REJECTED + 9))
        status = seen(TUNED, runs=(*many, NO))
        assert [no.sha256 for no in status.rejected] == [NO.sha256, *(no.sha256 for no in many[10:])]
        refused = asked(promotion("ft_v1.1", "base_v1"), BASE, TUNED, status=status)
        assert isinstance(refused, Refuse)
        assert seen(TUNED, runs=(*many, NO), status=status) == status

    @pytest.mark.row("D63")
    @pytest.mark.row("D117")
    def test_a_no_to_what_serves_stays_before_all_others_though_its_version_says_it_too(self) -> None:
        """Whether it was said while that was not served is told by when the policy took it in."""
        many = tuple(replace(NO, sha256=f"{n:064x}", at=NOW + timedelta(minutes=n)) for n in range(limits.REJECTED + 9))
        before = seen(BASE, TUNED, runs=many, status=live(TUNED, 1, TUNED, BASE))
        said = marked(no=Rejection(at=NOW, by="ann", run="tune", version="ft_v1.1"))
        gone = view(policy(before), None, versions=(BASE, said), rejections=many)
        after = decide(gone).status
        assert after.rejected_of(NO.sha256) is not None
        assert after.live is not None
        assert after.live.version == "base_v1"

    @pytest.mark.row("D63")
    def test_words_that_somebody_wrote_into_a_record_are_short_and_of_one_line(self) -> None:
        long = Rejection(at=NOW, by="\U0001f600" * 99, run="r\n\x1b[2J" * 99, version="v\x00" * 99)
        (no,) = seen(marked(no=long)).rejected
        assert all(len(word.encode()) <= limits.BY for word in (no.by, no.run, no.version))
        assert not any(part in repr(no) for part in ("\\n", "\\x1b", "\\x00"))

    @pytest.mark.row("D63")
    def test_a_record_of_a_no_alone_is_no_service(self) -> None:
        """A policy made anew finds nothing that served here, so nothing is held."""
        look = view(policy(), deployment(available=0, updated=0), versions=(BASE, marked()))
        assert decide(look).status.hold is None


class TestEligibility:
    @pytest.mark.row("D64")
    @pytest.mark.parametrize("name", ["ft_v1.1", "ft_v1.2"])
    def test_what_is_remembered_as_rejected_goes_live_under_no_name(self, name: str) -> None:
        version = tuned(name, artifact=TUNED.spec.artifact)
        status = replace(live(BASE), rejected=(NO,))
        options: tuple[dict[str, Any], ...] = (
            {},
            {"despite": Despite(checks=("Quarantined", "TakenBack"), reason="all the same")},
        )
        for more in options:
            refused = asked(promotion(name, "base_v1", **more), BASE, version, status=status)
            assert isinstance(refused, Refuse)
            assert refused.reason == "NotEligible"
            assert "'ann' rejected it" in refused.message
            assert ("as 'ft_v1.2'" in refused.message) is (name != "ft_v1.2")
        assert isinstance(asked(promotion(name, "base_v1"), BASE, version, status=live(BASE)), Clear)

    @pytest.mark.row("D64")
    def test_nobodys_approval_outweighs_it(self) -> None:
        version = tuned(verdict="Review")
        assert version.spec.evidence is not None
        yes = promotion("ft_v1.1", "base_v1", approval=Approval(by="bo", evidence=version.spec.evidence.digest))
        assert isinstance(asked(yes, BASE, version, status=live(BASE)), Clear)
        assert isinstance(asked(yes, BASE, version, status=replace(live(BASE), rejected=(NO,))), Refuse)

    @pytest.mark.row("D64")
    def test_a_record_is_enough_before_the_policy_has_looked(self) -> None:
        twin = marked(tuned("ft_v1.8", artifact=TUNED.spec.artifact))
        assert isinstance(asked(promotion("ft_v1.1", "base_v1"), BASE, TUNED, twin, status=live(BASE)), Refuse)

    @pytest.mark.row("D64")
    def test_rejected_bytes_that_are_imported_as_a_base_go_live_nowhere(self) -> None:
        imported = base("base_v2", artifact=TUNED.spec.artifact)
        request = promotion("base_v2")
        nothing = PolicyStatus()
        assert isinstance(judge(Proposal(request, policy(nothing), (imported,), deployment())), Clear)
        known = replace(nothing, rejected=(NO,))
        assert isinstance(judge(Proposal(request, policy(known), (imported,), deployment())), Refuse)

    @pytest.mark.row("D64")
    def test_what_was_good_and_has_no_object_any_more_is_no_way_back_either(self) -> None:
        status = live(BASE, 3, TUNED)
        back = promotion("ft_v1.1", "base_v1")
        assert isinstance(asked(back, BASE, status=status), Clear)
        assert isinstance(asked(back, BASE, status=replace(status, rejected=(NO,))), Refuse)

    @pytest.mark.row("D275")
    def test_a_rejected_fine_tune_whose_object_is_gone_is_refused_and_not_waited_for(self) -> None:
        """Its run waits for the promotion's end, and a name of ours is of one version for good."""
        status = replace(live(BASE), rejected=(NO,))
        refused = asked(promotion("ft_v1.2", "base_v1"), BASE, status=status)
        assert isinstance(refused, Refuse)
        assert refused.reason == "NotEligible"
        assert "'ann' rejected it" in refused.message
        waits = asked(promotion("ft_v1.3", "base_v1"), BASE, status=status)
        assert (isinstance(waits, Wait), waits.reason) == (True, "VersionNotFound")
        rebuilt = replace(status, rejected=(replace(NO, version="base_v2"),))
        assert isinstance(asked(promotion("base_v2", "base_v1"), BASE, status=rebuilt), Wait), "it may be imported anew"

    @pytest.mark.row("D65")
    def test_what_was_found_is_not_proven_by_a_record_whose_bytes_a_person_rejected(self) -> None:
        adopted = replace(live(TUNED), last_good=())
        assert is_proven(policy(adopted), (TUNED,))
        assert not is_proven(policy(replace(adopted, rejected=(NO,))), (TUNED,))
        assert not is_proven(policy(adopted), (TUNED, marked(tuned("ft_v1.8", artifact=TUNED.spec.artifact))))
        assert is_proven(policy(replace(live(TUNED), rejected=(NO,))), (TUNED,)), "it passed a watch, and serves"

    @pytest.mark.row("D65")
    def test_a_record_that_says_good_makes_nothing_good_that_a_person_rejected(self) -> None:
        good = Service(good=NOW - timedelta(hours=1))
        there = deployment(available=0, updated=0)
        status = decide(view(policy(), there, versions=(BASE, marked(service=good)))).status
        assert ([no.by for no in status.rejected], status.last_good) == (["ann"], ())

    @pytest.mark.row("D65")
    def test_the_hold_of_what_was_found_says_who_rejected_it_and_offers_another(self) -> None:
        good = record_text(BASE.spec.artifact.sha256, {"invoice-detector": Service(good=NOW - timedelta(hours=1))})
        known = replace(BASE, metadata=replace(BASE.metadata, annotations={SERVICE_RECORD_KEY: good}))
        status = decide(view(policy(), deployment(keys(TUNED)), versions=(known, marked()))).status
        assert status.hold is not None
        assert "'ann' rejected it as 'ft_v1.2'" in status.hold.message
        assert "to have 'base_v1' served" in status.hold.message


class TestVersion:
    @pytest.mark.row("V22")
    def test_a_no_that_a_policy_remembers_stands_on_the_version(self) -> None:
        (record,) = annotated(TUNED, replace(live(BASE), rejected=(NO,)))
        there = {SERVICE_RECORD_KEY: record}
        assert rejection(there, SHA) == Rejection(at=NOW, by="ann", run="first", version="ft_v1.2")
        assert services(there, SHA) == {}
        again = replace(TUNED, metadata=replace(TUNED.metadata, annotations=there))
        assert annotated(again, replace(live(BASE), rejected=(NO,))) == []
        assert annotated(again, live(BASE)) == [], "what no policy knows any more stays"
        later = replace(NO, at=NOW + timedelta(days=1), by="bo")
        assert annotated(again, replace(live(BASE), rejected=(later,))) == [], "the oldest word stands"

    @pytest.mark.row("V22")
    def test_of_several_the_oldest_stands_whoever_is_asked_first(self) -> None:
        later, same = replace(NO, at=NOW + timedelta(days=1), by="aaron"), replace(NO, by="bo")
        for order in ((NO, later, same), (same, later, NO), (later, NO, same)):
            policies = tuple(policy(replace(live(BASE), rejected=(no,))) for no in order)
            decision = decide_version(VersionView(version=TUNED, now=NOW, policies=policies))
            (record,) = (action.text for action in decision.actions if isinstance(action, Annotate))
            assert rejection({SERVICE_RECORD_KEY: record}, SHA) == Rejection(
                at=NOW, by="ann", run="first", version="ft_v1.2"
            )

    @pytest.mark.row("V22")
    def test_a_version_that_was_rejected_itself_needs_no_record_of_it(self) -> None:
        assert annotated(reviewed(), replace(live(BASE), rejected=(NO,))) == []

    @pytest.mark.row("V23")
    @pytest.mark.parametrize("name", ["ft_v1.1", "ft_v1.2"])
    @pytest.mark.parametrize("carrier", ["policy", "record"])
    def test_bytes_that_a_person_rejected_show_it_under_every_name(self, name: str, carrier: str) -> None:
        version = tuned(name, artifact=TUNED.spec.artifact)
        status = live(BASE)
        if carrier == "policy":
            status = replace(status, rejected=(NO,))
        else:
            version = marked(version)
        shown = decide_version(VersionView(version=version, now=NOW, policies=(policy(status),))).status
        assert shown.phase == "Rejected"
        assert shown.message.startswith("'ann' rejected it")


def annotated(version: ModelVersion, status: PolicyStatus) -> list[str]:
    decision = decide_version(VersionView(version=version, now=NOW, policies=(policy(status),)))
    return [action.text for action in decision.actions if isinstance(action, Annotate)]


class TestServed:
    """A no to what serves or served here (D110): it takes nothing down, and counts among ways back."""

    LATE = Rejected(version="ft_v1.1", sha256=SHA, by="ann", at=NOW, run="first")

    def status(self, *noes: Rejected, taken: bool = False) -> PolicyStatus:
        """base_v1 is live, ft_v1.1 was good before it."""
        status = replace(live(BASE, 2, TUNED), rejected=noes)
        back = TakenBack(version="base_v1", sha256=BASE.spec.artifact.sha256, by="x", since=NOW)
        return replace(status, taken_back=(back,)) if taken else status

    @pytest.mark.row("D110")
    def test_it_is_not_gone_back_to_while_another_version_that_served_is_left(self) -> None:
        request = promotion("ft_v1.1", "base_v1")
        assert isinstance(asked(request, BASE, TUNED, status=self.status()), Clear)
        refused = asked(request, BASE, TUNED, status=self.status(self.LATE))
        assert isinstance(refused, Refuse)
        assert "'ann' rejected it" in refused.message

    @pytest.mark.row("D110")
    def test_the_last_version_that_served_cannot_be_taken_away_by_a_no(self) -> None:
        also = Rejected(version="base_v1", sha256=BASE.spec.artifact.sha256, by="eve", at=NOW, run="old")
        for status in (self.status(self.LATE, also), self.status(self.LATE, taken=True)):
            assert barred(SHA, (BASE, TUNED), status) is None
            assert isinstance(asked(promotion("ft_v1.1", "base_v1"), BASE, TUNED, status=status), Clear)

    @pytest.mark.row("D110")
    def test_what_never_served_here_stays_barred_whatever_else_is_left(self) -> None:
        assert barred(SHA, (BASE, TUNED), replace(live(BASE), rejected=(self.LATE,))) == self.LATE
        assert barred(SHA, (TUNED,), PolicyStatus(rejected=(self.LATE,))) == self.LATE

    @pytest.mark.row("D110")
    def test_what_serves_goes_on_and_is_put_back(self) -> None:
        status = replace(live(TUNED), rejected=(self.LATE,))
        look = view(policy(status), deployment(keys(TUNED)), versions=(BASE, TUNED))
        after = decide(look).status
        assert (after.live, after.hold) == (status.live, None)
        assert is_proven(policy(status), (BASE, TUNED))
