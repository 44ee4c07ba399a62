"""A pod of a Job, as the API server has it: its trainer, the containers beside it, its conditions and times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ..api import names
from ..api.step_result import EXIT_BAD_INPUT, EXIT_BAD_TRAINING, EXIT_OUT_OF_MEMORY
from ..api.value import InvalidObject, parse
from ..decide.text import readable
from ..decide.views import Span
from .port import Object

_NO_RETRY_HELPS: Final = frozenset((EXIT_BAD_INPUT, EXIT_BAD_TRAINING, EXIT_OUT_OF_MEMORY))
_FIRST_YEAR: Final = 2000
"""A container that could not be started is said to have started in 1970."""
_LAST_YEAR: Final = 9000
_LONGEST_IMAGE: Final = 512
"""Characters of an image's id that a status has room for."""
_SHOWN: Final = 200
"""Characters of a container's last words that a message quotes."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """A reader of one pod; total over whatever an API server may hold."""

    raw: Object

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.raw["metadata"].get("name", ""))

    @property
    def address(self) -> str:
        """Its name and namespace as kubectl takes them: whoever runs the command may be at home elsewhere."""
        return f"{self.name} -n {self.raw['metadata'].get('namespace', '')}"

    @property
    def node(self) -> str:
        """The node that it was given to; empty before."""
        return str(self.spec.get("nodeName") or "")

    @property
    def is_scheduled(self) -> bool:
        """A node was found for it: it says so, or a kubelet speaks of its containers."""
        spoken_of = self.statuses("containerStatuses") or self.statuses("initContainerStatuses")
        return bool(self.node or spoken_of) or self.condition("PodScheduled").get("status") == "True"

    @property
    def spec(self) -> Json:
        """Its spec."""
        return self.raw.get("spec") or {}

    @property
    def status(self) -> Json:
        """Its status."""
        return self.raw.get("status") or {}

    @property
    def created(self) -> datetime | None:
        """When it was made."""
        return moment_of(self.raw["metadata"].get("creationTimestamp"))

    @property
    def deleted_at(self) -> datetime | None:
        """When the grace period of its deletion ends, if it is being deleted."""
        return moment_of(self.raw["metadata"].get("deletionTimestamp"))

    @property
    def was_edited(self) -> bool:
        """Its spec was changed after it was made, other than by its deletion; False where no API server counts that."""
        generation = self.raw["metadata"].get("generation")
        return isinstance(generation, int) and generation > (1 if self.deleted_at is None else 2)

    @property
    def has_ended(self) -> bool:
        """No container of it runs any more."""
        return self.status.get("phase") in {"Succeeded", "Failed"}

    @property
    def is_leaving(self) -> bool:
        """It is on its way out, or is the remains of a pod: what it says is of the past."""
        return self.has_ended or self.raw["metadata"].get("deletionTimestamp") is not None

    @property
    def is_disrupted(self) -> bool:
        """The cluster, not the run, ended it."""
        return self.condition("DisruptionTarget").get("status") == "True"

    @property
    def trainer(self) -> Json:
        """The status of the trainer container; empty while there is none."""
        statuses = self.statuses("containerStatuses")
        return next((status for status in statuses if status.get("name") == names.TRAINER_CONTAINER), {})

    @property
    def image_id(self) -> str | None:
        """The image that the trainer runs, as the kubelet says; None while it says nothing."""
        said = self.trainer.get("imageID")
        return readable(said)[:_LONGEST_IMAGE] if isinstance(said, str) and said else None

    @property
    def running(self) -> Json | None:
        """The trainer's state, if it runs."""
        return state(self.trainer, "running")

    @property
    def terminated(self) -> Json | None:
        """The trainer's state, if it has ended."""
        return state(self.trainer, "terminated")

    @property
    def has_started(self) -> bool:
        """The trainer runs or has ended."""
        return self.running is not None or self.terminated is not None

    @property
    def speaks(self) -> bool:
        """The trainer has ended, and nothing will change what it said.

        A pod that is disrupted is replaced within its Job, unless its trainer had come to an end of its own.
        """
        ended = self.terminated
        if ended is None:
            return False
        code = ended.get("exitCode")
        if code == 0 or (code in _NO_RETRY_HELPS and ended.get("message")):
            return True
        return not self.is_disrupted and self.deleted_at is None

    @property
    def is_to_be_replaced(self) -> bool:
        """It was disrupted, has ended and says nothing: its Job makes another one."""
        return self.has_ended and self.is_disrupted and not self.speaks

    @property
    def has_neighbours(self) -> bool:
        """A container beside the trainer runs, or is to run; native sidecars end with it, and do not count."""
        statuses = () if self.has_ended else self.statuses("containerStatuses")
        return any(s.get("name") != names.TRAINER_CONTAINER and state(s, "terminated") is None for s in statuses)

    @property
    def spans(self) -> tuple[Span, ...]:
        """When the trainer ran here; where the pod should have ended, it is not known to run on."""
        before = state({"state": self.trainer.get("lastState")}, "terminated")
        spans = [self._span(ended) for ended in (before, self.terminated) if ended]
        start = self._not_before_it_was_made((self.running or {}).get("startedAt"))
        if start is not None:
            asked = self.deleted_at or self.since("DisruptionTarget")
            spans.append(Span(start, max(asked or start, start) if self.has_ended else self.deleted_at))
        return tuple(span for span in spans if span is not None)

    @property
    def finished_at(self) -> datetime | None:
        """When the trainer ended here, if it has."""
        return self._not_before_it_was_made((self.terminated or {}).get("finishedAt"))

    def _span(self, ended: Json) -> Span | None:
        start = moment_of(ended.get("startedAt"))
        if start is None or start.year < _FIRST_YEAR:
            return None
        start, end = max(start, self.created or start), self._not_before_it_was_made(ended.get("finishedAt"))
        return Span(start, max(end or start, start))

    def _not_before_it_was_made(self, text: object) -> datetime | None:
        """Return a time of the node's clock; where that is behind the API server's, nothing was before the pod."""
        at = moment_of(text)
        return at if at is None or self.created is None else max(at, self.created)

    def condition(self, kind: str) -> Json:
        """Return a condition; empty where there is none."""
        return next((c for c in self.status.get("conditions") or () if c.get("type") == kind), {})

    def since(self, kind: str) -> datetime | None:
        """Return since when a condition is True, if it is."""
        is_true = self.condition(kind).get("status") == "True"
        return moment_of(self.condition(kind).get("lastTransitionTime")) if is_true else None

    def statuses(self, kind: str) -> tuple[Json, ...]:
        """Return the statuses of its containers, of `containerStatuses` or `initContainerStatuses`."""
        return tuple(self.status.get(kind) or ())

    def init_containers(self) -> Iterator[tuple[str, Json, bool]]:
        """Yield name and status of each init container, and whether it is a native sidecar, which runs on."""
        stay = {c.get("name") for c in self.spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
        for status in self.statuses("initContainerStatuses"):
            yield str(status.get("name")), status, status.get("name") in stay


def state(status: Json, kind: str) -> Json | None:
    """Return the details of a container's state, if that is the one it is in."""
    details = (status.get("state") or {}).get(kind)
    return details if isinstance(details, dict) else None


def last_words(status: Json) -> str:
    """Return how a container ended, now or the last time: its exit code with its message or Kubernetes' reason."""
    ended = state(status, "terminated") or state({"state": status.get("lastState")}, "terminated") or {}
    words = readable(ended.get("message"))[-_SHOWN:]
    return f"exit code {ended.get('exitCode')}: {words or ended.get('reason') or 'no message'}"


def moment_of(text: object) -> datetime | None:
    """Return a time stamp of Kubernetes as a moment; None for anything else, and for one that nothing can follow."""
    if not isinstance(text, str):
        return None
    try:
        moment = parse(text, datetime)
    except InvalidObject:
        return None
    return moment if moment.year <= _LAST_YEAR else None
