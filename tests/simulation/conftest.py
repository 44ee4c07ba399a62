"""Says at the end at how many points the operator was crashed."""

import pytest

CRASH_POINTS = "crash points"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests of test_crashes recorded."""
    lines = [
        (report.nodeid.partition("[")[2].rstrip("]"), value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == CRASH_POINTS and report.when == "call"
    ]
    if lines:
        parts = ", ".join(f"{value} ({story})" for story, value in sorted(lines))
        terminalreporter.write_line(f"{sum(value for _, value in lines)} {CRASH_POINTS} tried: {parts}")
