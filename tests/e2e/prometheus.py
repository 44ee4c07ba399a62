"""A Prometheus in the cluster while a story needs one: the demo's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from finetune_demo.prometheus import Prometheus, bring_in, take_out
from finetune_demo.story import Story


@contextmanager
def prometheus_in_cluster(tale: Story) -> Iterator[Prometheus]:
    """Run it, and let the operator ask it; afterwards the operator is as it was."""
    try:
        yield bring_in(tale)
    finally:
        take_out(tale)
