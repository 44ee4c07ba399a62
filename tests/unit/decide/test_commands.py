"""The commands of messages: what a person would write, and nothing that the API server put in."""

from finetune_operator.api.run import Run, RunSpec
from finetune_operator.api.value import parse
from finetune_operator.decide import limits
from finetune_operator.decide.commands import in_events, run_command, with_remedy
from house.following import manifest
from unit.decide.run.world import run


def stored(**spec: object) -> Run:
    """A run as the API server stores it, with its defaults written out."""
    defaults = {
        "policy": "invoice-fields", "mode": "FineTune", "mixing": {"ratio": "Auto"}, "training": {},
        "backoffLimit": 2, "suspend": True,
        "review": {"decision": "Approve", "evidence": "sha256:" + "0" * 64, "by": "ann", "reason": ""},
    }  # fmt: skip
    return Run(metadata=run().metadata, spec=parse({**defaults, **spec}, RunSpec))


def test_a_run_is_asked_for_again_without_defaults_review_and_suspension() -> None:
    made = manifest(run_command(stored()), "FineTuneRun")
    assert made["spec"] == {"policy": "invoice-fields"}
    assert made["metadata"] == {"generateName": "first-", "namespace": "ml"}


def test_an_event_has_the_command_whole_in_whatever_language_the_cause_is() -> None:
    """The API counts bytes: an Event that is too long is refused, and nobody would see it."""
    command = run_command(stored())
    texts = in_events(with_remedy("\u7248\u672c" * 300, f"to train anew: {command}"))
    assert [command in text for text in texts] == [True]
    assert all(len(text.encode()) <= limits.EVENT for text in texts)


def test_what_it_says_of_its_own_is_kept_and_the_seed_beside_it() -> None:
    asked = stored(mixing={"ratio": "5"}, training={"epochs": 3, "lr0": "0.001"}, baseVersion="base_v1")
    made = manifest(run_command(asked, seed=7), "FineTuneRun")
    assert made["spec"] == {
        "policy": "invoice-fields",
        "baseVersion": "base_v1",
        "mixing": {"ratio": "5", "seed": 7},
        "training": {"epochs": 3, "lr0": "0.001"},
    }


def test_an_apostrophe_does_not_end_the_shells_quotes() -> None:
    command = run_command(stored(nodeSelector={"owner": "it's"}))
    assert command.count("'") == 2
    assert manifest(command, "FineTuneRun")["spec"]["nodeSelector"] == {"owner": "it's"}


def test_it_is_never_the_remedy_that_is_cut() -> None:
    assert with_remedy("x" * 5000, "do this").endswith("x; do this")
    assert len(with_remedy("x" * 5000, "do this")) == limits.MESSAGE


def test_an_event_that_is_too_short_for_all_says_each_command_whole() -> None:
    again, anew = run_command(stored()), run_command(stored(), seed=7)
    message = with_remedy("x" * 800, f"to ask again: {again}; to train anew: {anew}")
    texts = in_events(message)
    assert [manifest(text, "FineTuneRun") for text in texts] == [
        manifest(again, "FineTuneRun"),
        manifest(anew, "FineTuneRun"),
    ]
    assert all(len(text) <= limits.EVENT for text in texts)
    assert in_events("short; words") == ("short; words",)
