"""A new base, by hand and by its trigger: with an operator that dies at every write, and with bugs that are planted."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.cluster import reserve as numbers
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.decide import bases
from finetune_operator.decide.attempts import contradictions
from finetune_operator.decide.policy import scan as scans
from finetune_operator.decide.policy.triggers import machine as triggers
from finetune_operator.decide.policy.triggers import rebuild as trigger
from finetune_operator.decide.promotion import eligibility
from finetune_operator.decide.run import acceptance, record, version_spec, work
from finetune_operator.decide.snapshot import snapshot_of_run
from house.deep import first_of, in_turn

from .controllers import NAMESPACE
from .deaths import dying
from .invariants import violations
from .stories import STORIES, USER, Story, promotion, run
from .test_trigger_stories import LIVES
from .test_triggers import Triggered
from .trainer_script import BOXES, Trainer, digest

PASS, REJECT, _, _ = STORIES
MINUTE = 60
ANCHOR = 1500
STEP = 600
"""Pages that people verify at a time."""
APPENDED = 40
"""Labelled boxes of a class that was appended, on the new samples."""


@dataclass
class Pool:
    """A pool that grows, what each plan lists of it, and what each run drew: pages, and what was said of them."""

    size: int = STEP
    lists: dict[str, int] = field(default_factory=dict)
    mixes: dict[str, int] = field(default_factory=dict)
    drawn: list[tuple[str, str, str, int, int, int]] = field(default_factory=list)

    def known(self, *plans: Object | None) -> int:
        """Return how many pages the largest of these plans lists."""
        return max((self.lists.get(plan["sha256"], 0) for plan in plans if plan), default=0)


@dataclass(frozen=True)
class Learning(Trainer):
    """A trainer that counts by the plans it is told of.

    `forgets`: what rebuilds make is worse than the old base. `skips`: they leave half of the anchor out. `loses`: by
    documents of production it is.
    """

    forgets: bool = False
    skips: bool = False
    loses: bool = False
    pool: Pool = field(default_factory=Pool)

    def __call__(self, step: str, document: Object, inputs: Object) -> tuple[int, Object]:
        """Answer as any trainer, with the counts of this pool."""
        rebuilds = document.get("mode") == "Rebuild"
        trainer = Trainer(candidate="0.900000") if self.forgets and rebuilds else Trainer()
        trainer = Trainer(lost=4, gained=1) if self.loses and rebuilds else trainer
        code, message = trainer(step, {**document, "mixing": {"ratio": "1"}}, inputs)
        match step:
            case "scan":
                message["result"].update(self._counted(inputs))
            case "prepare":
                drawn = self._drawn(document, inputs)
                drawn["digests"] = message["result"]["digests"] | drawn["digests"]
                message["result"].update(drawn)
            case "evaluate":
                message["result"].update(self._added(document))
            case "train":
                message["result"].update(images=self.pool.mixes[document["owner"]["uid"]])
            case _:
                pass
        return code, message

    def _added(self, document: Object) -> Object:
        """Measure a class that the old base lacks on the new samples alone."""
        known = document["base"].get("fields")
        if known is None:
            return {}
        new = {"measured": 1, "field": [known], "boxes": [APPENDED], "matched": [38], "detections": [40]}
        test: Object = {"measured": 0, "field": [], "boxes": [], "matched": [], "detections": []}
        return {"added": {"known": known, "testBoxes": 0, "newBoxes": APPENDED, "test": test, "new": new}}

    def _counted(self, inputs: Object) -> Object:
        pool = self.pool
        outside, new = pool.size - pool.known(inputs["basePlan"]), pool.size - pool.known(*inputs["judged"])
        return {"pool": pool.size, "outside": outside, "new": new, "listing": digest(f"listing {pool.size}")}

    def _drawn(self, document: Object, inputs: Object) -> Object:
        pool, owner, base, mode = self.pool, document["owner"], document["base"], document["mode"]
        known, live, rebuilds = pool.known(base["inputs"]), inputs["live"], mode == "Rebuild"
        outside, fresh = pool.size - known, pool.size - pool.known(live and live["inputs"])
        old = ANCHOR + known if rebuilds else min(outside, ANCHOR + known)
        old -= ANCHOR // 2 if rebuilds and self.skips else 0
        plan = digest(f"plan of {owner['name']} of {pool.size}")
        pool.lists[plan], pool.mixes[owner["uid"]] = pool.size, outside + old
        pool.drawn.append((owner["name"], mode, base["version"], outside, fresh, old))
        digests = {name: digest(name) for name in ("anchor", "testSet", "newSet")}
        boxes = BOXES + (APPENDED if "fields" in base else 0)
        return {
            "plan": {"uri": f"{document['artifacts']['uri']}/plan.json", "sha256": plan},
            "pool": pool.size, "outside": outside, "new": pool.size - pool.known(*inputs["judged"]), "fresh": fresh,
            "train": outside + old, "old": old, "ratio": "0" if rebuilds else "1",
            "newSet": {"documents": 60, "boxes": boxes, "fresh": 60},
            "digests": digests | {"pool": digest(f"pool of {pool.size}")},
        }  # fmt: skip


@dataclass(frozen=True)
class Tale:
    """What people and pool do, one after the other: each act comes once the one before has led to rest."""

    acts: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    """What there is in the end, and which phase it has."""
    drawn: tuple[tuple[str, str, int, int, int], ...]
    """Of each run: mode, base, outside, fresh and old pages."""
    forgets: bool = False
    skips: bool = False
    classes: tuple[tuple[str, int], ...] = ()
    """How many classes each version has, where some are appended."""
    loses: bool = False
    gates: bool = False
    """The policy asks for the third gate."""
    rebuild: tuple[tuple[str, Any], ...] = ()


FIRST = ("FineTune", "base_v1", 600, 600, 600)
TALES = {
    # A fine-tune, then a rebuild, then a fine-tune of the new base, which has learned all but the newest pages.
    "by hand": Tale(
        acts=("fine-tune", "grow", "rebuild", "grow", "fine-tune"),
        versions=(("base_v1", "Retired"), ("base_v2", "Retired"), ("ft_v1.1", "Retired"), ("ft_v2.1", "Live")),
        drawn=(FIRST, ("Rebuild", "base_v1", 1200, 600, 1500), ("FineTune", "base_v2", 600, 600, 600)),
    ),
    "by its trigger": Tale(
        acts=("fine-tune", "grow", "grow", "fine-tune"),
        versions=(("base_v1", "Retired"), ("base_v2", "Retired"), ("ft_v1.1", "Retired"), ("ft_v2.1", "Live")),
        drawn=(FIRST, ("Rebuild", "base_v1", 1200, 600, 1500), ("FineTune", "base_v2", 600, 600, 600)),
        rebuild=(("poolSamples", 1200),),
    ),
    # 1,200 are outside; 1,300 are not a tenth more, and 1,400 are. No fine-tune starts from what was rejected.
    "rejected": Tale(
        acts=("grow", "grow 100", "fine-tune", "grow 100"),
        versions=(("base_v1", "Retired"), ("base_v2", "Rejected"), ("base_v3", "Rejected"), ("ft_v1.1", "Live")),
        drawn=(
            ("Rebuild", "base_v1", 1200, 1200, 1500),
            ("FineTune", "base_v1", 1300, 1300, 1300),
            ("Rebuild", "base_v1", 1400, 100, 1500),
        ),
        forgets=True,
        rebuild=(("poolSamples", 1200),),
    ),
    # Pages are labelled for one more class. Fine-tunes go on without it, a rebuild has it; and people go back.
    "one more class": Tale(
        acts=(
            "fine-tune",
            "append",
            "grow",
            "fine-tune",
            "grow",
            "rebuild",
            "grow",
            "fine-tune",
            "back ft_v1.2 from ft_v2.1",
        ),
        versions=(
            ("base_v1", "Retired"),
            ("base_v2", "Retired"),
            ("ft_v1.1", "Retired"),
            ("ft_v1.2", "Live"),
            ("ft_v2.1", "Retired"),
        ),
        drawn=(
            FIRST,
            ("FineTune", "base_v1", 1200, 600, 1200),
            ("Rebuild", "base_v1", 1800, 600, 1500),
            ("FineTune", "base_v2", 600, 600, 600),
        ),
        classes=(("base_v1", 2), ("base_v2", 3), ("ft_v1.1", 2), ("ft_v1.2", 2), ("ft_v2.1", 3)),
    ),
    # Who goes back from the new base has the old one: its name, its numbers, and all that it does not know.
    "gone back": Tale(
        acts=("fine-tune", "grow", "rebuild", "back ft_v1.1", "grow", "fine-tune"),
        versions=(("base_v1", "Retired"), ("base_v2", "Retired"), ("ft_v1.1", "Retired"), ("ft_v1.2", "Live")),
        drawn=(FIRST, ("Rebuild", "base_v1", 1200, 600, 1500), ("FineTune", "base_v1", 1800, 1200, 1500)),
    ),
    # What people went back from is not made again with the next page, and not started from.
    "gone back, by its trigger": Tale(
        acts=("fine-tune", "grow", "back ft_v1.1", "grow 100", "grow 100"),
        versions=(("base_v1", "Retired"), ("base_v2", "Retired"), ("base_v3", "Live"), ("ft_v1.1", "Retired")),
        drawn=(FIRST, ("Rebuild", "base_v1", 1200, 600, 1500), ("Rebuild", "base_v1", 1400, 800, 1500)),
        rebuild=(("poolSamples", 1200),),
    ),
    # Two that ask for the same make one base; a third has other pages.
    "twice": Tale(
        acts=("rebuild rebuild", "grow", "rebuild"),
        versions=(("base_v1", "Retired"), ("base_v2", "Retired"), ("base_v3", "Live")),
        drawn=(*(("Rebuild", "base_v1", 600, 600, 1500),) * 2, ("Rebuild", "base_v2", 600, 600, 2100)),
    ),
    "compared": Tale(
        acts=("fine-tune", "grow", "rebuild"),
        versions=(("base_v1", "Retired"), ("base_v2", "Live"), ("ft_v1.1", "Retired")),
        drawn=(FIRST, ("Rebuild", "base_v1", 1200, 600, 1500)),
        gates=True,
    ),
    # A new base that reads fewer documents of production than what is live waits for a person, and nothing goes by it.
    "compared, and worse": Tale(
        acts=("fine-tune", "grow", "rebuild", "fine-tune"),
        versions=(("base_v1", "Retired"), ("ft_v1.1", "Retired"), ("ft_v1.2", "Live")),
        drawn=(FIRST, ("Rebuild", "base_v1", 1200, 600, 1500), ("FineTune", "base_v1", 1200, 600, 1200)),
        gates=True,
        loses=True,
    ),
    "skipping": Tale(
        acts=("rebuild",), versions=(("base_v1", "Live"),), drawn=(("Rebuild", "base_v1", 600, 600, 750),), skips=True
    ),
}


class Played(Triggered):
    """A world of a tale, whose operator dies at each write that `dies` names."""

    def __init__(self, tale: Tale, dies: Callable[[int], str | None] = lambda _: None) -> None:
        self.learning = Learning(forgets=tale.forgets, skips=tale.skips, loses=tale.loses)
        self.asked = 0
        self.rules = dict(tale.rebuild)
        story: Story = replace(PASS, approves=False, trainer=self.learning, compares=tale.gates)
        super().__init__(story, wrap=lambda client: dying(client, dies))
        # No trigger of fine-tunes; and the next run may follow at once.
        self.edit(rebuild=self.rules, scan={"intervalSeconds": 300}, triggers={"cooldownSeconds": 0})
        self.wait(4 * MINUTE, 20)
        for act in tale.acts:
            self._do(act)
            self.wait(14 * MINUTE, 20)

    def _do(self, act: str) -> None:
        what, _, more = act.partition(" ")
        if what == "grow":
            self.learning.pool.size += int(more or STEP)
            return
        if what == "append":
            self.edit(classes=["number", "total", "iban"])
            return
        if what == "back":
            version, _, live = more.partition(" from ")
            asked = promotion("back", version, **{"from": live or "base_v2"})
            self.server.create(USER, Kind.PROMOTION, NAMESPACE, asked)
            return
        if more:
            self._do(more)
        manifest = run(f"run-{self.asked}")
        manifest["spec"]["mode"] = "Rebuild" if what == "rebuild" else "FineTune"
        self.asked += 1
        self.server.create(USER, Kind.RUN, NAMESPACE, manifest)

    def classes(self) -> tuple[tuple[str, int], ...]:
        """How many classes each version has."""
        there = self.server.list(Kind.MODEL_VERSION, NAMESPACE)
        return tuple(sorted((item["spec"]["version"], len(item["spec"]["classes"])) for item in there))

    def versions(self) -> tuple[tuple[str, str], ...]:
        there = self.server.list(Kind.MODEL_VERSION, NAMESPACE)
        return tuple(sorted((item["spec"]["version"], item["status"]["phase"]) for item in there))

    def drawn(self) -> tuple[tuple[str, str, int, int, int], ...]:
        """What each run drew, in order; another attempt draws the same."""
        return tuple(entry[1:] for entry in dict.fromkeys(self.learning.pool.drawn))


def wrong(tale: Tale, world: Played) -> list[str]:
    """Return what is not as the tale has it, and every promise that is broken."""
    faults = [*violations(world)]
    for came, expected in ((world.versions(), tale.versions), (world.drawn(), tale.drawn)):
        faults += [] if came == expected else [f"{came}, not {expected}"]
    if tale.classes and world.classes() != tale.classes:
        faults.append(f"{world.classes()}, not {tale.classes}")
    return faults


@cache
def undisturbed(tale: str) -> Played:
    return Played(TALES[tale])


@pytest.mark.row("R234")
@pytest.mark.row("D210")
@pytest.mark.row("D211")
@pytest.mark.row("D214")
@pytest.mark.row("R237")
@pytest.mark.row("R238")
@pytest.mark.row("V87")
@pytest.mark.parametrize("tale", TALES)
def test_a_new_base_is_made_judged_and_started_from(tale: str) -> None:
    assert wrong(TALES[tale], undisturbed(tale)) == []


@pytest.mark.row("R234")
@pytest.mark.row("D210")
@pytest.mark.parametrize(("tale", "lives"), in_turn(TALES, tuple(LIVES)))
def test_an_operator_that_dies_at_every_write_makes_the_same_base(tale: str, lives: str) -> None:
    world = Played(TALES[tale], LIVES[lives])
    assert world.crashes > 10
    assert wrong(TALES[tale], world) == []
    assert sorted(world.made()) == sorted(undisturbed(tale).made())


# Bugs in choosing the base, in counting and in drawing, each of which has to be found.


def newest_of_all(patch: pytest.MonkeyPatch) -> None:
    """The default base is the newest one that there is, rejected or not."""

    def newest(versions: Any, policy: Any) -> Any:
        return max(bases.bases_of(versions, policy.spec.model), key=bases._age, default=None)

    for module in (acceptance, scans, triggers):
        patch.setattr(module, "default_base", newest)


def imports_alone(patch: pytest.MonkeyPatch) -> None:
    """What was live counts no more than what was imported."""
    patch.setattr(bases, "_served", lambda *_: 0)


def scans_by_another_base(patch: pytest.MonkeyPatch) -> None:
    """The scan counts by the oldest base, whatever runs start from."""
    patch.setattr(scans, "default_base", lambda versions, policy: min(
        bases.bases_of(versions, policy.spec.model), key=bases._age, default=None))  # fmt: skip


def a_base_without_its_plan(patch: pytest.MonkeyPatch) -> None:
    """The new base is recorded without what it was trained on."""
    honest = version_spec.version_spec

    def without(*args: Any) -> Any:
        return updated(honest(*args), inputs=None)

    patch.setattr(record, "version_spec", without)


def all_is_fresh_to_a_base(patch: pytest.MonkeyPatch) -> None:
    """While a base is live everything counts as fresh, as if it had learned nothing of the pool."""
    honest = work._fresh_in_pool_by

    def none_of_a_base(context: Any, attempt: Any) -> Any:
        return None if attempt.live == context.run_document.base.artifact.sha256 else honest(context, attempt)

    patch.setattr(work, "_fresh_in_pool_by", none_of_a_base)


def tried_again_with_the_next_page(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers by how much a rebuild was judged."""
    patch.setattr(trigger, "outside_before", lambda *_: None)


def half_of_it_is_enough(patch: pytest.MonkeyPatch) -> None:
    """Whatever the trainer drew for a rebuild is taken."""
    patch.setattr(contradictions, "_not_all", lambda _: iter(()))


def all_classes_for_everybody(patch: pytest.MonkeyPatch) -> None:
    """A fine-tune is told the policy's classes, which its base does not have."""

    def with_all(asked: Any, policy: Any, base: Any) -> Any:
        return updated(snapshot_of_run(asked, policy, base), classes=policy.spec.classes)

    patch.setattr("finetune_operator.decide.run.machine.snapshot_of_run", with_all)


def lists_have_to_be_equal(patch: pytest.MonkeyPatch) -> None:
    """A version that lacks what was appended since does not go live any more."""
    patch.setattr(eligibility, "begins", lambda longer, shorter: longer == shorter)


def numbers_begin_anew(patch: pytest.MonkeyPatch) -> None:
    """The number of a base is that of the old one's next fine-tune's series."""
    patch.setattr(numbers, "_next_base", lambda known, statuses: 2)


BUGS = {
    "by hand": (a_base_without_its_plan, all_is_fresh_to_a_base, imports_alone),
    "by its trigger": (scans_by_another_base, a_base_without_its_plan, imports_alone),
    "rejected": (newest_of_all, tried_again_with_the_next_page, numbers_begin_anew),
    "one more class": (all_classes_for_everybody, lists_have_to_be_equal),
    "skipping": (half_of_it_is_enough,),
}


@pytest.mark.parametrize(("tale", "bug"), first_of((tale, bug) for tale, bugs in BUGS.items() for bug in bugs))
def test_a_planted_bug_is_found(tale: str, bug: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bug(patch)
        try:
            world = Played(TALES[tale])
            faults = wrong(TALES[tale], world)
        except AssertionError as error:
            faults = [str(error)]
    assert faults != []
