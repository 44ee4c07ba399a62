"""The one error that reaches a user: what is wrong, and how to mend it."""


class ClusterError(Exception):
    """Something that the person at the keyboard can mend.

    `problem` says what failed and where, `remedy` what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  remedy: {remedy}")
        self.problem = problem
        self.remedy = remedy
