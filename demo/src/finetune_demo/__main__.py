"""`python3 -m finetune_demo up|clean`."""

import argparse
import sys

from . import cluster as clusters
from . import environment, story, summary
from .console import Console, Failed, fail
from .settings import Settings, from_environment

SEED = 7


def up(console: Console, settings: Settings) -> int:
    """Run the whole demo; 0 only when every promise held."""
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
    tale.start_load()
    with console.step("60 verified samples into the pool"):
        tale.fill_pool()
    with console.step("FineTuneRun from apply to live"):
        tale.run_to_live()
    with console.step("new suppliers, after"):
        tale.measure("after", "ft_v1.1")
    with console.step("rollback to base_v1"):
        tale.roll_back()
        tale.measure("back", "base_v1")
    tale.facts["load"] = tale.stop_load()
    checks = summary.checks(tale.facts)
    print(summary.render(checks, console.durations), flush=True)
    print(cluster.kube.kubectl("get", "finetunepolicies,finetuneruns,modelversions,modelpromotions"), flush=True)
    print(summary.look_around(settings), flush=True)
    bad = [what for what, _, good in checks if not good]
    return fail("; ".join(bad)) if bad else 0


def clean(console: Console, settings: Settings) -> int:
    """Remove the demo."""
    clusters.remove(console, settings)
    console.say("removed")
    return 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="finetune_demo", description=__doc__)
    parser.add_argument("command", choices=("up", "clean"))
    chosen = parser.parse_args()
    console, settings = Console(), from_environment()
    try:
        return {"up": up, "clean": clean}[chosen.command](console, settings)
    except Failed as error:
        return fail(str(error))


if __name__ == "__main__":
    sys.exit(main())
