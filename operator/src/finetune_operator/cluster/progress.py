"""How far a step is: the newest line of progress in the log of its pod, read now and then."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..api import names
from ..api.progress import PROGRESS_SCHEMA, ProgressLine
from ..api.value import InvalidObject, parse_json
from .job_views import RunningPod
from .port import Cluster

PROGRESS_EVERY: Final = timedelta(seconds=5)
SHORT_STEP: Final = timedelta(seconds=15)
"""How long another step than training runs before its log is read."""

LOG_LINES: Final = 20
LOG_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class _Progress:
    pod: str
    read_at: datetime
    line: ProgressLine | None


class ProgressReader:
    """Reads the logs of pods that run; remembers by uid of the owner what was read last, and when."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, _Progress] = {}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._known.pop(uid, None)

    async def read(
        self, namespace: str, uid: str, running: RunningPod | None, now: datetime
    ) -> tuple[ProgressLine | None, timedelta | None]:
        """Return the newest progress line, read at most every PROGRESS_EVERY, and when to look again.

        Training is looked at from its first second; of the shorter steps only what lasts is worth a request.
        """
        if running is None:
            self._known.pop(uid, None)
            return None, None
        early = timedelta() if running.step == "train" else SHORT_STEP - (now - (running.since or now))
        if early > timedelta():
            return None, early
        pod, known = running.name, self._known.get(uid)
        # What was read later than it is by now was read by a clock that was set back since.
        if known is None or known.pod != pod or not timedelta() <= now - known.read_at < PROGRESS_EVERY:
            tail = await self._cluster.log_tail(namespace, pod, names.TRAINER_CONTAINER, LOG_LINES, LOG_BYTES)
            line = last_progress(tail) or (known.line if known is not None and known.pod == pod else None)
            known = _Progress(pod, now, line)
            self._known[uid] = known
        return known.line, PROGRESS_EVERY


def last_progress(tail: str) -> ProgressLine | None:
    """Return the newest progress line in the end of a log; lines that are something else are passed over."""
    for line in reversed(tail.splitlines()):
        if PROGRESS_SCHEMA not in line:
            continue
        try:
            progress = parse_json(line, ProgressLine)
        except InvalidObject:
            continue
        if progress.schema == PROGRESS_SCHEMA and 0 <= progress.percent <= 100 and len(progress.losses) <= 10:
            return progress
    return None
