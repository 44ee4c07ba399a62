"""What bounds a status: an object of Kubernetes is small, and a policy's memory stays under 96 KiB."""

from typing import Final

MESSAGE: Final = 2400
"""Characters of a run's or a version's summary: it may quote a command whole."""

SUMMARY: Final = 1024
"""Characters of a policy's summary; the hold and the conditions that it sums up say all."""

HOLD_MESSAGE: Final = 2200
"""Characters of a hold's message, and of a promotion's: three commands with the longest names fit."""

EVENT: Final = 1000
"""Bytes of an Event's note that the API takes."""

EVIDENCE: Final = 240
"""Bytes of what a quarantine stands on: container, pod, exit code, last words."""

EVIDENCES: Final = 10
"""Only the newest quarantines keep their evidence in the policy."""

CONSUMED: Final = 64
"""Promotions that a policy remembers as acted upon."""

CONSUMED_MESSAGES: Final = 8
"""Only the newest entries keep their message, for the promotions themselves carry it, and a status stays small.

So no more are refused before those promotions say it: a command would be lost.
"""

CONSUMED_MESSAGE: Final = 1600
"""Characters of such a message: the longest command fits, and on what evidence it overrules something."""

CAUSE: Final = 400
"""Characters of why a flight ended, before the ways out."""

FORGOTTEN: Final = 512
"""Promotions of which a policy remembers only that they acted, beyond those it knows the outcome of."""

OLDER_SERIES: Final = 16
"""Series before the newest of which a policy knows the next number."""

QUARANTINED: Final = 50
"""Digests that a policy remembers as failed in production."""

TAKEN_BACK: Final = 50
"""Versions that a policy remembers as taken back by people."""

REJECTED: Final = 32
"""Digests that a policy remembers as rejected by a person; versions that are there have the rest."""

JUDGED: Final = 8
"""Judged runs that a policy remembers: the plan of each names what those before it had listed, too."""

FIRED: Final = 32
"""Runs made by triggers that a policy remembers: more than maxRunsPerWeek allows in a week."""

FIRED_REASON: Final = 300
"""Bytes of why a run was fired; the run says it, too."""

DIGEST: Final = 128
"""Bytes of a digest that others name."""

RUN_UID: Final = 64
"""Characters of a run's uid; Kubernetes makes them of 36."""

REVIEWED: Final = 46
"""Bytes of the names of run and version in what is remembered of a review; a run's has no more."""

SERVED_ON: Final = 16
"""Deployments that a version's service record names, the newest."""

EARLIER_EVIDENCE: Final = 8
"""Digests of void evidence that a run keeps: more than it has rounds."""

BY: Final = 63
"""Bytes of a promotion's name in what is remembered of a version; most are no longer."""

MARK: Final = 160
"""Bytes of a person's reason that is kept of a version that was taken back, or whose quarantine was lifted."""

LAST_GOOD: Final = 5
"""Versions that a policy can go back to."""

RESERVATIONS: Final = 50
"""Version numbers reserved for runs whose ModelVersion is not made yet."""

REFUSAL: Final = 500
"""Characters of the API server's words that a refused write is shown with: its remedy stands after them."""

ATTEMPT_MESSAGE: Final = 600
"""Characters of what the newest attempt said."""

OLD_ATTEMPT_MESSAGE: Final = 120
"""Characters of what older attempts said."""

SUSPENDED_ATTEMPTS: Final = 5
"""Suspended attempts that a status keeps: the newest, and those that ran; what others ran is counted with these."""

SCAN_ATTEMPTS: Final = 10
"""Attempts of scans that a policy's status keeps: those since the newest success. Scans are tried without end."""

VERIFY_ATTEMPTS: Final = 10
"""Failed attempts that a base's status keeps: its verification is tried without end."""
