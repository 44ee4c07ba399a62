"""`python3 -m finetune_demo up|loop|clean`."""

import argparse
import sys

from . import cluster as clusters
from . import environment, loop, story, summary
from .console import Console, Failed, fail
from .settings import Settings, from_environment

SEED = 7


def to_live_base(console: Console, settings: Settings) -> story.Story:
    """Play what both demos begin with: a cluster, the operator, and a base that is live."""
    with console.step("tools, environments, invoices"):
        environment.prepare(console, settings, seed=SEED)
        recipe = story.load_recipe(console, settings)
    with console.step("cluster"):
        cluster = clusters.start(console, settings)
    tale = story.Story(console, settings, cluster, recipe)
    tale.fill()
    with console.step("chart and operator"):
        tale.install_operator()
    with console.step("workbench, anchor index"):
        tale.open_workbench()
    with console.step("base model"):
        tale.train_base()
    with console.step("base_v1 live"):
        tale.serve_base()
    with console.step("new suppliers, before"):
        tale.measure("before", "base_v1")
    return tale


def up(console: Console, settings: Settings) -> int:
    """Run the whole demo; 0 only when every promise held."""
    tale = to_live_base(console, settings)
    tale.start_load()
    with console.step("60 verified samples into the pool"):
        tale.fill_pool()
    with console.step("FineTuneRun from apply to live"):
        tale.run_to_live()
    with console.step("new suppliers, after"):
        tale.measure("after", story.TUNED)
    with console.step("rollback to base_v1"):
        tale.roll_back()
        tale.measure("back", "base_v1")
    tale.facts["load"] = tale.stop_load()
    return closing(tale, summary.checks(tale.facts), summary.look_around(settings))


def play_loop(console: Console, settings: Settings) -> int:
    """Run the demo of the loop, in which no person makes a run; 0 only when every promise held."""
    tale = to_live_base(console, settings)
    turns = loop.Loop(tale)
    with console.step("capture and triggers on"):
        turns.open()
    listens = settings.existing is None
    if listens:
        with console.step("Prometheus, with the chart's alerts"):
            turns.listen()
    with console.step("people report"):
        turns.report()
    if listens:
        with console.step("an alert fires"):
            turns.alerted()
    with console.step("a scan counts what was captured"):
        turns.scanned()
    with console.step("labels there and back"):
        turns.label()
    tale.start_load()
    with console.step("the policy makes a run"):
        run = turns.fired()
    with console.step("the run, to live"):
        turns.live(run)
    with console.step("new suppliers, after"):
        tale.measure("after", story.TUNED)
    if listens:
        with console.step("the alert is over"):
            turns.quiet()
    tale.facts["load"] = tale.stop_load()
    return closing(tale, summary.loop_checks(tale.facts), summary.look_around(settings, run))


def closing(tale: story.Story, checks: list[summary.Check], look_around: str) -> int:
    """Print the tables and what to look at; return 0 where every check holds."""
    print(summary.render(checks, tale.console.durations), flush=True)
    kinds = "finetunepolicies,finetuneruns,modelversions,modelpromotions"
    print(tale.cluster.kube.kubectl("get", kinds), flush=True)
    print(look_around, flush=True)
    bad = [what for what, _, good in checks if not good]
    return fail("; ".join(bad)) if bad else 0


def clean(console: Console, settings: Settings) -> int:
    """Remove the demo."""
    clusters.remove(console, settings)
    console.say("removed")
    return 0


COMMANDS = {"up": up, "loop": play_loop, "clean": clean}


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="finetune_demo", description=__doc__)
    parser.add_argument("command", choices=tuple(COMMANDS))
    chosen = parser.parse_args()
    console, settings = Console(), from_environment()
    try:
        return COMMANDS[chosen.command](console, settings)
    except Failed as error:
        return fail(str(error))


if __name__ == "__main__":
    sys.exit(main())
