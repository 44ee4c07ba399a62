"""The volume trigger: it fires once enough samples are new."""

from ....api.scan import Counted
from ....api.triggers import VolumeTrigger
from .wish import Wish, samples


def wish(rules: VolumeTrigger, counts: Counted) -> Wish | None:
    """Return the run that the trigger asks for, if so many samples are new."""
    if counts.new < rules.new_samples:
        return None
    return Wish("Volume", f"{samples(counts.new)}, and {rules.new_samples} are enough")


def missing(rules: VolumeTrigger, counts: Counted) -> str:
    """Return how far it is: 34 of 50 new samples."""
    return f"{counts.new} of {rules.new_samples} new samples"
