"""What the triggers go by: the counts of the newest scan."""

from ....api.triggers import Counted
from ...views import PolicyView


def counted(view: PolicyView) -> Counted | None:
    """Return what the newest scan counted; None before there was one."""
    return view.counted
