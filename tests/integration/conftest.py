"""Which tests go to one worker of pytest-xdist together: those whose control plane nobody else uses."""

import pytest

ALONE = {"chart", "crds", "semantics"}
"""Folders with a control plane of their own; the operator's tests share one for each worker, and mostly wait."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the groups, before xdist looks for the marks."""
    for item in items:
        if (folder := item.path.parent.name) in ALONE:
            item.add_marker(pytest.mark.xdist_group(folder))
