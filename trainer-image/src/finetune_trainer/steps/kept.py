"""What a training keeps on its way, so that the next attempt goes on from it: scratch, sealed, gone at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..documents.codec import digest
from ..documents.inputs import TrainInputs
from ..documents.result import ResumedFrom
from ..documents.run import FineTuneDocument
from ..errors import Reason, StepError
from ..storage import join
from ..training.state import TrainingState
from ..training.state_file import Header, NotOurs, read_state, write_state
from .context import StepContext
from .scratch import scratch_folder

_NAME: Final = re.compile(r"attempt-([1-9][0-9]{0,3})/epoch-([0-9]{4})\.state")
_KEPT: Final = 2
"""States that lie there at once: a newer one is written before an older one goes."""

_TRIED: Final = 4
"""Files that are read at most to find one; who writes the store may have put any number there."""

_LISTED: Final = 8
"""Earlier attempts that a result names."""

_PLACES: Final = frozenset(("data", "project", "name", "device", "workers"))
"""Arguments that another pod may have otherwise."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where an earlier attempt stood, and which attempts that goes back to, the newest first."""

    state: TrainingState
    attempts: tuple[ResumedFrom, ...]


@dataclass(slots=True)
class KeptStates:
    """The states of one training, as its attempts come and go; it changes as states are written."""

    context: StepContext
    document: FineTuneDocument
    inputs: TrainInputs
    binding: str
    device: str
    started: float
    resumed: tuple[ResumedFrom, ...] = ()
    _files: list[str] = field(default_factory=list)

    def newest(self) -> Resumed | None:
        """Return the newest state of an earlier attempt that this training may go on from; None: it begins anew.

        It must be sealed by that attempt's nonce and be of this very training. StepError where the store is away.
        """
        found = sorted(self._earlier(), key=lambda entry: (entry[1], entry[0]))
        self._files = [join(self._folder, name) for _, _, name in found]
        nonces = {earlier.attempt: earlier.nonce for earlier in self.inputs.earlier}
        for attempt, _, name in [entry for entry in reversed(found) if entry[0] in nonces][:_TRIED]:
            read = self._read(join(self._folder, name), nonces[attempt])
            if read is not None and self._is_of_this_training(read[0], attempt):
                header, state = read
                before = ResumedFrom(attempt, header.figures.epochs, header.seconds, header.device)
                self.resumed = (before, *header.resumed)[:_LISTED]
                return Resumed(state, self.resumed)
        return None

    def keep(self, state: TrainingState) -> None:
        """Write the state; a store that does not take it costs nothing but what a killed pod loses."""
        header = Header(
            owner=self.document.owner.uid,
            attempt=self.inputs.attempt,
            binding=self.binding,
            seconds=round(time.monotonic() - self.started),
            device=self.device,
            resumed=self.resumed,
            figures=state.figures,
        )
        epochs = state.figures.epochs
        path = self.context.scratch / "kept.state"
        write_state(path, header, state, self.inputs.nonce)
        uri = join(self._folder, f"attempt-{self.inputs.attempt}", f"epoch-{epochs:04}.state")
        try:
            self.context.storage.put(uri, path)
            self._files.append(uri)
            while len(self._files) > _KEPT:
                self.context.storage.remove(self._files[0])
                del self._files[0]
        except StepError as error:
            self.context.progress.report(
                percent=min(100 * epochs // self.document.training.epochs, 99),
                epoch=epochs,
                epochs=self.document.training.epochs,
                activity=f"epoch {epochs} is not kept for another attempt: {error.message}",
            )

    def _read(self, uri: str, nonce: str) -> tuple[Header, TrainingState] | None:
        path = self.context.scratch / "earlier.state"
        try:
            self.context.storage.copy(uri, path)
            return read_state(path, nonce)
        except NotOurs:
            return None
        except StepError as error:
            if error.reason is Reason.DATA_UNREADABLE:  # gone since it was listed
                return None
            raise
        finally:
            path.unlink(missing_ok=True)

    def _is_of_this_training(self, header: Header, attempt: int) -> bool:
        expected = (self.document.owner.uid, attempt, self.binding)
        return (header.owner, header.attempt, header.binding) == expected

    def _earlier(self) -> Iterator[tuple[int, int, str]]:
        """Yield attempt, epoch and name of what lies there of earlier attempts."""
        try:
            names = self.context.storage.walk(self._folder).files if self.inputs.earlier else ()
        except StepError as error:
            if error.reason is not Reason.DATA_UNREADABLE:  # nothing there, or nobody may list it
                raise
            names = ()
        for name in names:
            match = _NAME.fullmatch(name)
            if match is not None and int(match[1]) < self.inputs.attempt:
                yield int(match[1]), int(match[2]), name

    @property
    def _folder(self) -> str:
        return scratch_folder(self.document.artifacts.uri)


def binding_of(plan_sha256: str, base_sha256: str, arguments: Mapping[str, object]) -> str:
    """Return a digest of all that a training hangs on: plan, base, every argument, and whose code it is."""
    import torch
    import ultralytics

    from .. import __version__

    settings = {name: value for name, value in arguments.items() if name not in _PLACES}
    code = (__version__, ultralytics.__version__, str(torch.__version__))
    return digest({"plan": plan_sha256, "base": base_sha256, "arguments": settings, "code": code})
