"""What the demo of the loop waits for: the alert that people set off, and its end by a version that is judged."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from finetune_demo.cluster import Cluster
from finetune_demo.console import Console, Failed
from finetune_demo.kube import Kube
from finetune_demo.loop import Loop
from finetune_demo.prometheus import LESS_SURE, RATE_LOW, Firing, Prometheus
from finetune_demo.render import Images
from finetune_demo.settings import ROOT, Settings
from finetune_demo.story import TUNED, Story

BASE = Images(operator="base", trainer="base", server="base", mounted=True)


@dataclass
class Scripted:
    """A Prometheus that says one thing after the other; the last one for good."""

    fires: list[Firing]
    judged_: list[set[str]] = field(default_factory=lambda: [set()])

    def firing(self) -> Firing:
        """See Prometheus."""
        return self.fires.pop(0) if len(self.fires) > 1 else self.fires[0]

    def judged(self) -> set[str]:
        """See Prometheus."""
        return self.judged_.pop(0) if len(self.judged_) > 1 else self.judged_[0]


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    """A loop whose cluster answers nothing, and whose seconds pass at once."""
    clock = iter(range(10_000))
    monkeypatch.setattr("finetune_demo.kube.time.sleep", lambda _: None)
    monkeypatch.setattr("finetune_demo.kube.time.monotonic", lambda: float(next(clock)))
    kube = Kube(Console(), ("true",), ())
    tale = Story(kube.console, Settings(ROOT, tmp_path, tmp_path, None), Cluster(kube, BASE), {})
    made = Loop(tale)
    made.facts["alerts"] = {}
    return made


def hears(loop: Loop, *fires: Firing, judged: list[set[str]] | None = None) -> Any:
    """Let a loop ask a Prometheus that says so."""
    loop.prometheus = cast(Prometheus, Scripted(list(fires), judged or [set()]))
    return loop.prometheus


def test_it_waits_for_the_alert_on_fields_and_keeps_and_shows_all_that_fire(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    hears(loop, {}, {LESS_SURE: set()}, {LESS_SURE: set(), RATE_LOW: {"iban"}})
    loop.alerted()
    assert loop.facts["alerts"] == {LESS_SURE: set(), RATE_LOW: {"iban"}}
    said = capsys.readouterr().out
    assert said.count("no alert fires") == said.count(f"{RATE_LOW} (iban)") == 1, "each once"


def test_an_alert_that_does_not_fire_in_time_ends_the_demo_and_says_which(loop: Loop) -> None:
    hears(loop, {LESS_SURE: set()})
    with pytest.raises(Failed, match=f"the alert {RATE_LOW}: not within 120 s"):
        loop.alerted()


def test_it_is_over_once_the_new_version_is_judged_and_nothing_fires_for_fields(loop: Loop) -> None:
    heard = hears(loop, {RATE_LOW: {"iban"}}, {LESS_SURE: set()}, judged=[{"base_v1"}, {"base_v1"}, {TUNED}])
    loop.quiet()
    assert heard.judged_ == [{TUNED}], "silence of too few documents is not the end"
    assert loop.facts["seconds to quiet"] > 0


def test_an_alert_that_does_not_end_ends_the_demo(loop: Loop) -> None:
    hears(loop, {RATE_LOW: {"iban"}}, judged=[{TUNED}])
    with pytest.raises(Failed, match=f"the end of the alert {RATE_LOW}"):
        loop.quiet()
