"""What a version carries of its service: a mirror of what policies remember, which outlives them."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.model_version import VersionStatus
from finetune_operator.api.names import SERVICE_RECORD_KEY
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Lifted, LiveVersion, PolicyStatus, Quarantined, TakenBack
from finetune_operator.api.record import Mark, Service, record_text, services
from finetune_operator.decide import limits
from unit.decide.run.results import BASE, LIVE, START
from unit.decide.run.world import imported, live, policy
from unit.decide.version.test_version import Shelf, serving, tuned


def remembering(**status: Any) -> tuple[Policy, ...]:
    return (updated(policy(), status=PolicyStatus(**status)),)


GOOD = (LiveVersion(version="base_v1", model_version="m", uri="u", sha256=BASE),)
TAKEN = TakenBack(version="base_v1", sha256=BASE, by="back", reason="wrong amounts", since=START)
SICK = Quarantined(version="base_v1", sha256=BASE, reason="Unhealthy", since=START, evidence="CrashLoopBackOff")
LIFTED = updated(SICK, lifted=Lifted(at=START, by="again", reason="the node"))


class TestRecord:
    @pytest.mark.row("V10")
    def test_what_policies_remember_of_a_version_stands_on_it(self) -> None:
        shelf = Shelf(policies=remembering(live=live("base_v1", BASE), last_good=GOOD))
        shelf.settle()
        assert shelf.record() == Service(good=START, good_in="ml")
        shelf.policies = remembering(taken_back=(TAKEN,), last_good=GOOD)
        shelf.settle()
        taken = Mark(at=START, by="back", reason="wrong amounts")
        assert shelf.record() == Service(good=START, good_in="ml", taken_back=taken)
        shelf.policies = remembering(quarantined=(SICK,))
        shelf.settle()
        sick = Mark(at=START, reason="Unhealthy", evidence="CrashLoopBackOff")
        assert shelf.record() == Service(good=START, good_in="ml", taken_back=taken, quarantined=sick)
        shelf.policies = remembering(quarantined=(LIFTED,), live=live("base_v1", BASE), last_good=GOOD)
        shelf.settle()
        lifted = Mark(at=START, by="again", reason="the node")
        known = Service(good=START, good_in="ml", quarantined=sick, lifted=lifted)
        assert shelf.record() == known, "live again: taken back no more"

    @pytest.mark.row("V10")
    @pytest.mark.parametrize("policies", [(), (policy(),), serving("base_v1")], ids=["gone", "re-created", "adopted"])
    @pytest.mark.parametrize("quarantined", [SICK, LIFTED], ids=["quarantined", "lifted"])
    def test_what_no_policy_knows_any_more_stays(self, policies: tuple[Policy, ...], quarantined: Quarantined) -> None:
        shelf = Shelf(policies=remembering(taken_back=(TAKEN,), quarantined=(quarantined,)))
        shelf.settle()
        known = shelf.record()
        shelf.policies = policies
        shelf.settle()
        assert shelf.record() == known

    @pytest.mark.row("V10")
    def test_only_what_is_live_is_taken_back_no_more(self) -> None:
        """A policy that lost its status knows a way back again, and not yet that people took it back."""
        shelf = Shelf(policies=remembering(taken_back=(TAKEN,)))
        shelf.settle()
        known = shelf.record()
        shelf.policies = remembering(live=live("ft_v1.1", LIVE), last_good=GOOD)
        shelf.settle()
        assert shelf.record() == known
        shelf.policies = remembering(live=live("base_v1", BASE))
        shelf.settle()
        assert shelf.record() == known, "found there, and it passed no watch"

    @pytest.mark.row("V10")
    def test_a_version_that_served_nowhere_carries_nothing(self) -> None:
        shelf = Shelf()
        shelf.settle()
        assert shelf.version.metadata.annotations == {}

    @pytest.mark.row("V10")
    def test_only_the_newest_deployments_are_named_and_words_are_cut(self) -> None:
        policies = tuple(
            updated(
                policy(deployment=f"detector-{n}"),
                metadata=updated(policy().metadata, name=f"p{n}"),
                status=PolicyStatus(
                    taken_back=(updated(TAKEN, since=START + timedelta(hours=n), by="b" * 253, reason="r" * 999),),
                    quarantined=(updated(SICK, evidence="e" * 999),),
                ),
            )
            for n in range(20)
        )
        shelf = Shelf(policies=policies)
        shelf.settle()
        record = services(shelf.version.metadata.annotations, BASE)
        assert set(record) == {f"detector-{n}" for n in range(4, 20)}
        assert len(shelf.version.metadata.annotations[SERVICE_RECORD_KEY]) < 32_768

    @pytest.mark.row("V10")
    def test_deployments_that_somebody_made_up_do_not_push_out_what_policies_know(self) -> None:
        later = Service(good=START + timedelta(days=365_000))
        text = record_text(BASE, {f"made-up-{n}": later for n in range(20)})
        shelf = Shelf(
            version=updated(imported(), metadata=updated(imported().metadata, annotations={SERVICE_RECORD_KEY: text})),
            policies=remembering(quarantined=(SICK,), taken_back=(TAKEN,)),
        )
        shelf.settle()
        record = services(shelf.version.metadata.annotations, BASE)
        assert record[policy().spec.deployment].quarantine is not None
        assert len(record) == limits.SERVED_ON

    @pytest.mark.row("V10")
    def test_the_evidence_stays_on_the_version_when_the_policy_has_no_room_for_it(self) -> None:
        shelf = Shelf(policies=remembering(quarantined=(SICK,)))
        shelf.settle()
        shelf.policies = remembering(quarantined=(updated(SICK, evidence=""),))
        shelf.settle()
        assert shelf.record().quarantined == Mark(at=START, reason="Unhealthy", evidence="CrashLoopBackOff")
        again = updated(SICK, since=START + timedelta(hours=1), evidence="")
        shelf.policies = remembering(quarantined=(again,))
        shelf.settle()
        assert shelf.record().quarantined == Mark(at=again.since, reason="Unhealthy"), "that was of another time"

    @pytest.mark.row("V10")
    def test_what_other_bytes_did_is_not_mirrored(self) -> None:
        others: dict[str, Any] = {
            "quarantined": (updated(SICK, sha256=LIVE, reason="RolloutFailed"),),
            "taken_back": (updated(TAKEN, sha256=LIVE),),
            "live": live("base_v1", LIVE),
        }
        shelf = Shelf(policies=remembering(**others))
        shelf.settle()
        assert SERVICE_RECORD_KEY not in shelf.version.metadata.annotations
        shelf.policies = remembering(**{**others, "quarantined": (*others["quarantined"], SICK)})
        shelf.settle()
        assert shelf.record() == Service(quarantined=Mark(at=START, reason="Unhealthy", evidence="CrashLoopBackOff"))

    @pytest.mark.row("V10")
    def test_a_record_of_deployments_on_which_nothing_happened_is_ranked_all_the_same(self) -> None:
        text = record_text(BASE, {f"idle-{n}": Service() for n in range(2)})
        annotations = {SERVICE_RECORD_KEY: text}
        version = updated(imported(), metadata=updated(imported().metadata, annotations=annotations))
        shelf = Shelf(version=version, policies=remembering(quarantined=(SICK,)))
        shelf.settle()
        assert shelf.record().quarantine is not None

    @pytest.mark.row("V11")
    @pytest.mark.parametrize("text", ["junk", record_text(LIVE, {"detector": Service(good=START)})])
    def test_a_record_that_is_none_is_left_alone_until_there_is_something_to_say(self, text: str) -> None:
        shelf = Shelf(
            version=updated(imported(), metadata=updated(imported().metadata, annotations={SERVICE_RECORD_KEY: text}))
        )
        shelf.settle()
        assert shelf.version.metadata.annotations[SERVICE_RECORD_KEY] == text
        shelf.policies = remembering(quarantined=(SICK,))
        shelf.settle()
        assert shelf.record().quarantine is not None

    @pytest.mark.row("V12")
    def test_a_version_whose_status_was_lost_still_shows_that_it_served(self) -> None:
        shelf = Shelf(policies=remembering(live=live("base_v1", BASE), last_good=GOOD))
        shelf.settle()
        shelf.version, shelf.policies = updated(shelf.version, status=VersionStatus()), serving(None)
        shelf.settle()
        assert (shelf.phase(), shelf.live()) == ("Retired", ("False", "Retired"))

    @pytest.mark.row("D258")
    def test_what_served_in_another_namespace_is_not_retired_here(self) -> None:
        text = record_text(BASE, {policy().spec.deployment: Service(good=START, good_in="staging")})
        annotations = {SERVICE_RECORD_KEY: text}
        shelf = Shelf(version=updated(imported(), metadata=updated(imported().metadata, annotations=annotations)))
        shelf.settle()
        assert (shelf.phase(), shelf.live()[1]) == ("Imported", "NeverLive")

    @pytest.mark.row("V13")
    def test_a_lifted_quarantine_quarantines_no_more(self) -> None:
        shelf = Shelf(policies=remembering(quarantined=(LIFTED,)))
        shelf.settle()
        assert shelf.phase() == "Imported"

    @pytest.mark.row("V14")
    def test_what_people_took_back_says_by_whom_and_why(self) -> None:
        made = tuned()
        taken = updated(TAKEN, sha256=made.spec.artifact.sha256)
        shelf = Shelf(version=made, policies=remembering(taken_back=(taken,)))
        shelf.settle()
        assert shelf.live() == ("False", "TakenBack")
        assert "by promotion 'back'" in shelf.version.status.message
        assert "wrong amounts" in shelf.version.status.message
