"""What can go wrong, with a reason for machines and a remedy for people."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of both commands; the numbers are those of the Jobs (docs/reference/contracts.md, section 2)."""

    OK = 0
    INTERNAL = 1
    BAD_INPUT = 10
    UNAVAILABLE = 13
    TERMINATED = 143


class StartError(Exception):
    """The process cannot do its work; it ends with `exit_code` and this message as its last log line.

    `reason` is CamelCase and stable, `remedy` says what to change and where.
    """

    def __init__(self, reason: str, message: str, remedy: str, exit_code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(f"{reason}: {message}. {remedy}")
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code


class RequestError(Exception):
    """One request that cannot be answered: an HTTP status, a stable reason, and a message for the caller."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
