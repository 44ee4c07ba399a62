"""What the page about the local cluster is held to, wherever its blocks are executed."""

from itertools import groupby
from typing import Any

from house.pages import DOCS, blocks_of

BLOCKS = blocks_of([DOCS / "guide" / "local-cluster.md"])
NAMES = {"MODEL": "page-fields", "DETECTOR": "page-reader", "NAMESPACE": "own-data", "BUCKET": "pages-of-ann"}
"""Every name is another one than the page's defaults, so that what is not renamed fails."""


def check_story(states: list[dict[str, Any]]) -> None:
    """Assert what the page says: the base is live, then the fine-tune, by its gates or by the page's own patch.

    `states` are the objects of ours after each block, by `kind/name`.
    """
    run = [state["FineTuneRun/first-run"]["status"] for state in states if "FineTuneRun/first-run" in state][-1]
    assert run["phase"] == "Promoted", run
    decided = (run["decision"]["verdict"], run["decision"]["by"])
    assert decided == ("Approve", "me@example.com" if run["verdict"] == "Review" else "gates")
    policy = f"FineTunePolicy/{NAMES['MODEL']}"
    live = [state[policy].get("status", {}).get("live", {}).get("version") for state in states if policy in state]
    assert [version for version, _ in groupby(filter(None, live))] == ["base_v1", "ft_v1.1"]
