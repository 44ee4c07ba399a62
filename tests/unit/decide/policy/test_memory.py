"""What a policy remembers: bounded, and nothing that is needed is forgotten."""

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import FileReference
from finetune_operator.api.policy_status import (
    Judged,
    Lifted,
    NextVersion,
    PolicyStatus,
    PromotionOutcome,
    Quarantined,
    Rejected,
    Reservation,
    trace_of,
)
from finetune_operator.api.value import canonical_json
from finetune_operator.decide import limits
from finetune_operator.decide.policy import memory
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.rejections import rejected as rejection
from unit.decide.policy.pair import BASE, OTHER, TUNED, VERSIONS, flying
from unit.decide.policy.world import (
    NOW,
    deployment,
    keys,
    live,
    live_version,
    policy,
    seconds,
    tuned,
    view,
)


def judged_entry(uid: str, plan: FileReference) -> Judged:
    return Judged(run="r" * limits.REVIEWED, run_uid=f"{uid:0<36}", inputs=plan, at=NOW)


class TestMemory:
    @pytest.mark.row("D24")
    def test_reservations_leave_when_eight_newer_ones_are_spent_whatever_the_clock_says(self) -> None:
        """A stale reader must not reserve a second number, and clocks are set."""
        names = [f"ft_v1.{number}" for number in range(1, 12)]
        reserved = tuple(Reservation(run_uid=name, version=name) for name in names)
        of = policy(replace(live(BASE), reservations=reserved))
        made = tuple(tuned(name) for name in names if name not in ("ft_v1.2", "ft_v1.11"))
        for versions, left in ((made[:8], names), (made, names[1:])):
            for age in (-86_400, 0, 86_400):
                seen = view(of, deployment(keys(BASE)), versions=(BASE, *versions), now=NOW + seconds(age))
                assert [entry.version for entry in decide(seen).status.reservations] == left

    @pytest.mark.row("D56")
    def test_which_object_acted_is_remembered_and_of_one_file_the_last_time(self) -> None:
        status = memory.consumed(PolicyStatus(), ("mine", "0" * 16, "u"), "Failed", "NotEligible", "", NOW)
        status = memory.consumed(status, ("mine", "1" * 16, "v"), "Failed", "NotEligible", "", NOW)
        status = memory.consumed(status, ("mine", "0" * 16, "w"), "Succeeded", "WatchPassed", "", NOW)
        known = [(entry.spec_hash[0], entry.uid, entry.outcome) for entry in status.consumed]
        assert known == [("1", "v", "Failed"), ("0", "w", "Succeeded")]

    def test_what_is_remembered_of_a_consumed_promotion_outlives_a_hundred_others(self) -> None:
        status = PolicyStatus()
        mine = ("mine", "0" * 16)
        status = memory.consumed(status, (*mine, "u"), "Succeeded", "WatchPassed", "", NOW)
        for n in range(limits.CONSUMED - 1):
            status = memory.consumed(status, (f"p{n}", "1" * 16, "u"), "Failed", "NotEligible", "why", NOW, {mine})
        assert status.consumed[0].name == "mine"
        status = memory.consumed(status, ("last", "1" * 16, "u"), "Failed", "NotEligible", "why", NOW, {mine})
        assert len(status.consumed) == limits.CONSUMED
        assert status.consumed[0].name == "mine", "not mirrored yet: it stays"
        status = memory.consumed(status, ("later", "1" * 16, "u"), "Failed", "NotEligible", "why", NOW)
        assert status.consumed[0].name != "mine"

    @pytest.mark.row("P26")
    @pytest.mark.parametrize(
        ("outcome", "reason", "leaves"),
        [
            ("Succeeded", "WatchPassed", True),
            ("Succeeded", "AlreadyLive", True),
            ("RolledBack", "Unhealthy", True),
            ("Failed", "ConcurrentWriter", True),
            ("Failed", "FieldOwned", True),
            ("Failed", "TargetGone", True),
            ("Failed", "NotEligible", False),
            ("Failed", "Quarantined", False),
            ("Superseded", "FromIsNotLive", False),
        ],
    )
    def test_whatever_flew_leaves_a_trace_and_what_was_refused_none(
        self, outcome: PromotionOutcome, reason: str, leaves: bool
    ) -> None:
        status = memory.consumed(PolicyStatus(), ("mine", "0" * 16, "u"), outcome, reason, "", NOW)
        for n in range(limits.CONSUMED):
            status = memory.consumed(status, (f"p{n}", "1" * 16, "u"), "Failed", "NotEligible", "", NOW)
        assert status.forgotten == ((trace_of("mine", "0" * 16),) if leaves else ())

    @pytest.mark.row("D54")
    def test_a_hold_that_says_something_else_by_now_is_the_same_hold(self) -> None:
        """Else no promotion that was made when it began could lift it."""
        later = NOW + seconds(3600)
        first = memory.held(PolicyStatus(), "finetune-operator", "Adopted", "two promotions wait", NOW)
        same = memory.held(first, "finetune-operator", "Adopted", "three promotions wait", later).hold
        assert same is not None
        assert (same.since, same.message) == (NOW, "three promotions wait")
        for by, reason in (("ann", "Adopted"), ("finetune-operator", "RolledBack")):
            other = memory.held(first, by, reason, "two promotions wait", later).hold
            assert other is not None
            assert other.since == later

    def test_a_version_that_is_quarantined_keeps_the_ground_of_the_first_time_until_it_is_lifted(self) -> None:
        sick = live_version(TUNED)
        once = memory.quarantined(PolicyStatus(), sick, "RolloutFailed", NOW, "no such operator")
        later = NOW + seconds(3600)
        assert memory.quarantined(once, sick, "Unhealthy", later, "a node was lost") == once
        lifted = memory.lifted(once, sick.sha256, "again", "the node", later)
        (entry,) = memory.quarantined(lifted, sick, "Unhealthy", later, "it crashed again").quarantined
        assert (entry.reason, entry.since, entry.evidence, entry.lifted) == (
            "Unhealthy",
            later,
            "it crashed again",
            None,
        )

    def test_a_quarantined_version_is_nobodys_way_back(self) -> None:
        status = replace(
            live(TUNED, 3, OTHER, BASE),
            quarantined=(
                Quarantined(version="ft_v9.9", sha256=OTHER.spec.artifact.sha256, reason="Unhealthy", since=NOW),
            ),
        )
        assert memory.way_back(status, live_version(TUNED)) == live_version(BASE)
        assert memory.way_back(status, live_version(BASE)) == live_version(TUNED)

    @pytest.mark.row("D44")
    def test_what_people_took_back_is_a_way_back_only_where_there_is_no_other(self) -> None:
        status = memory.taken_back(live(TUNED, 3, OTHER, BASE), live_version(TUNED), by="b", reason="", now=NOW)
        assert memory.way_back(status, live_version(BASE)) == live_version(OTHER)
        alone = memory.taken_back(live(TUNED, 3), live_version(TUNED), by="b", reason="", now=NOW)
        assert memory.way_back(alone, live_version(BASE)) == live_version(TUNED)

    @pytest.mark.row("D79")
    def test_what_a_person_rejected_is_a_way_back_only_where_there_is_no_other(self) -> None:
        no = Rejected(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, by="ann", at=NOW)
        status = replace(live(TUNED, 3, OTHER, BASE), rejected=(no,))
        assert memory.way_back(status, live_version(BASE)) == live_version(OTHER)
        alone = replace(live(TUNED, 3), rejected=(no,))
        assert memory.way_back(alone, live_version(BASE)) == live_version(TUNED)

    @pytest.mark.row("D44")
    def test_the_same_bytes_under_another_name_are_a_way_back(self) -> None:
        again = replace(live_version(BASE), version="base_v9", uri="file:///elsewhere/model.onnx")
        assert memory.way_back(live(BASE), again) == live_version(BASE)
        assert memory.way_back(live(BASE), live_version(BASE)) is None

    @pytest.mark.row("D55")
    def test_what_was_only_found_is_a_way_back_only_where_there_is_no_good_one(self) -> None:
        beside = replace(live(TUNED, 3), last_good=(live_version(OTHER),))
        assert memory.way_back(beside, live_version(BASE)) == live_version(OTHER)
        alone = replace(live(TUNED, 3), last_good=())
        assert memory.way_back(alone, live_version(BASE)) == live_version(TUNED)

    @pytest.mark.row("D55")
    def test_what_was_only_found_is_not_good_because_something_else_goes_live(self) -> None:
        flight = flying().status.in_flight
        assert flight is not None
        only_seen = replace(live(BASE, 3), last_good=(), in_flight=flight)
        assert memory.gone_live(only_seen, flight, NOW).last_good == (flight.to,)
        good = replace(live(BASE, 3), in_flight=flight)
        assert memory.gone_live(good, flight, NOW).last_good == (flight.to, live_version(BASE))

    @pytest.mark.row("D42")
    def test_what_goes_live_again_as_it_is_takes_nothing_back(self) -> None:
        """Somebody took its keys away; a promotion of what is live on record puts them back."""
        flight = flying().status.in_flight
        assert flight is not None
        again = replace(flight, to=live_version(BASE), takes_back=True)
        assert memory.gone_live(replace(live(BASE, 3), in_flight=again), again, NOW).taken_back == ()
        other = replace(flight, takes_back=True)
        left = memory.gone_live(replace(live(BASE, 3), in_flight=other), other, NOW).taken_back
        assert [entry.version for entry in left] == [BASE.spec.version]

    def test_what_was_live_is_the_first_way_back_whatever_was_good_before(self) -> None:
        flight = flying().status.in_flight
        assert flight is not None
        recalled = replace(live(BASE, 3), last_good=(live_version(OTHER), live_version(BASE)), in_flight=flight)
        good = memory.gone_live(recalled, flight, NOW).last_good
        assert good == (flight.to, live_version(BASE), live_version(OTHER))

    def test_a_quarantine_that_was_lifted_can_stand_again(self) -> None:
        digest = TUNED.spec.artifact.sha256
        status = memory.quarantined(live(BASE), live_version(TUNED), "Unhealthy", NOW)
        lifted = replace(status.quarantined[0], lifted=Lifted(at=NOW, by="again"))
        status = replace(status, quarantined=(lifted,))
        assert not memory.is_quarantined(status, digest)
        assert memory.way_back(replace(live(BASE, 3, TUNED), quarantined=(lifted,)), live_version(BASE)) is not None
        again = memory.quarantined(status, live_version(TUNED), "RolloutFailed", NOW)
        assert [(entry.reason, entry.lifted) for entry in again.quarantined] == [("RolloutFailed", None)]

    def test_a_status_at_all_its_bounds_stays_below_88_kib(self) -> None:
        status = flying().status
        version = replace(live_version(TUNED), uri="s3://" + "u" * 200)
        for n in range(limits.QUARANTINED + 5):
            digest = f"{n:064x}"
            status = memory.quarantined(status, replace(version, sha256=digest), "RolloutFailed", NOW)
            status = memory.taken_back(status, replace(version, sha256=digest), by="b" * 50, reason="r" * 999, now=NOW)
        for n in range(limits.CONSUMED + 5):
            name = "a-run-name-of-forty-characters-in-length-promotion-" + f"{n:06}"
            status = memory.consumed(
                status, (name, f"{n:016x}", "u" * 36), "RolledBack", "RolloutFailed", "m" * 999, NOW
            )
        marks = (NextVersion(series=99_999, tuned=9_999_999),) * limits.OLDER_SERIES
        status = replace(status, forgotten=("f" * 12,) * limits.FORGOTTEN, older_series=marks)
        noes = (
            rejection(f"{n:064x}", by="b" * 99, at=NOW, version="v" * 99, run="r" * 99)
            for n in range(limits.REJECTED + 5)
        )
        status = memory.rejected(status, noes)
        plan = FileReference(uri="s3://" + "u" * 900, sha256="0" * 64)
        status = memory.judged(status, (judged_entry(f"uid-{n}", plan) for n in range(limits.JUDGED + 5)))
        reservations = tuple(Reservation(run_uid="u" * 36, version=f"ft_v10.{n}") for n in range(limits.RESERVATIONS))
        status = replace(status, reservations=reservations, last_good=(version,) * limits.LAST_GOOD)
        status = memory.held(status, "m" * 60, "ConflictingWriter", "h" * 2000, NOW)
        decided = decide(view(policy(status), deployment(keys(OTHER)), versions=VERSIONS)).status
        assert (len(decided.consumed), len(decided.rejected)) == (limits.CONSUMED, limits.REJECTED)
        assert len(decided.judged) == limits.JUDGED
        assert len(canonical_json(decided)) <= 88 * 1024
