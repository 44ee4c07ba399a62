"""What bounds a status: an object of Kubernetes is small, and a policy's memory stays under 32 KiB."""

from typing import Final

MESSAGE: Final = 1024
"""Characters of a run's or a version's summary."""

HOLD_MESSAGE: Final = 800
"""Characters of a hold's message, and of a promotion's."""

CONSUMED: Final = 64
"""Promotions that a policy remembers as acted upon."""

CONSUMED_MESSAGES: Final = 8
"""Only the newest entries keep their message: the promotions themselves carry it, and a status stays small."""

CONSUMED_MESSAGE: Final = 300
"""Characters of such a message."""

QUARANTINED: Final = 50
"""Digests that a policy remembers as failed in production."""

LAST_GOOD: Final = 5
"""Versions that a policy can go back to."""

RESERVATIONS: Final = 50
"""Version numbers reserved for runs whose ModelVersion is not made yet."""

ATTEMPT_MESSAGE: Final = 600
"""Characters of what the newest attempt said."""

OLD_ATTEMPT_MESSAGE: Final = 120
"""Characters of what older attempts said."""

SUSPENDED_ATTEMPTS: Final = 5
"""Suspended attempts that a status keeps; older ones are dropped."""

VERIFY_ATTEMPTS: Final = 10
"""Failed attempts that a base's status keeps: its verification is tried without end."""
