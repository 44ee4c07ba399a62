"""What a training keeps on its way, so that the next attempt goes on from it: scratch, sealed, gone at the end."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ..documents.codec import digest
from ..documents.inputs import TrainInputs
from ..documents.result import ResumedFrom
from ..documents.run import TrainingDocument
from ..errors import Reason, StepError
from ..local_files import is_full
from ..storage import join
from ..training.state import TrainingState
from ..training.state_file import Header, NotOurs, read_state, write_state
from .context import StepContext
from .scratch import scratch_folder

_NAME: Final = re.compile(r"attempt-([1-9][0-9]{0,3})/[01]\.state")
_TRIED: Final = 4
"""Attempts whose files are read at most to find one: each is as large as the model with its optimizer."""

_PAUSE: Final = 10
"""Times as long as a write that failed took, until the next one: a store that is away costs a tenth of the time."""

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
    document: TrainingDocument
    inputs: TrainInputs
    binding: str
    device: str
    started: float
    resumed: tuple[ResumedFrom, ...] = ()
    _earlier: dict[int, list[str]] = field(default_factory=dict)
    _paused_until: float = 0.0

    def newest(self) -> Resumed | None:
        """Return the newest state of an earlier attempt that this training may go on from; None: it begins anew.

        It must be sealed by that attempt's nonce and be of this very training. StepError where the store is away.
        """
        nonces = {earlier.attempt: earlier.nonce for earlier in self.inputs.earlier}
        self._earlier = self._listed() if nonces else {}
        for attempt in sorted(nonces.keys() & self._earlier.keys(), reverse=True)[:_TRIED]:
            read = [self._read(uri, attempt, nonces[attempt]) for uri in self._earlier[attempt]]
            sealed = [entry for entry in read if entry is not None]
            if sealed:
                header, state = max(sealed, key=lambda entry: entry[0].figures.epochs)
                before = ResumedFrom(attempt, header.figures.epochs, header.seconds, header.device)
                self.resumed = (before, *header.resumed)[:_LISTED]
                return Resumed(state, self.resumed)
        return None

    def keep(self, state: TrainingState) -> None:
        """Write the state. A store that does not take it costs what a killed pod loses, and some time now and then."""
        began, epochs = time.monotonic(), state.figures.epochs
        if began < self._paused_until:
            return
        try:
            self._write(state)
        except (StepError, OSError) as error:
            now = time.monotonic()
            self._paused_until = now + _PAUSE * (now - began)
            self.context.progress.report(
                percent=min(100 * epochs // self.document.training.epochs, 99),
                epoch=epochs,
                epochs=self.document.training.epochs,
                activity=f"epoch {epochs} is not kept for another attempt: {getattr(error, 'message', error)}",
            )
            return
        with suppress(StepError):
            self.context.storage.remove_many(uri for uris in self._earlier.values() for uri in uris)
        self._earlier = {}

    def _write(self, state: TrainingState) -> None:
        header = Header(
            owner=self.document.owner.uid,
            attempt=self.inputs.attempt,
            binding=self.binding,
            seconds=round(time.monotonic() - self.started),
            device=self.device,
            resumed=self.resumed,
            figures=state.figures,
        )
        path = self.context.scratch / "kept.state"
        # Two names in turn: the last state stands until the next one does, and nothing needs to be deleted on the way.
        name = f"{state.figures.epochs % 2}.state"
        try:
            write_state(path, header, state, self.inputs.nonce)
            self.context.storage.put(join(self._folder, f"attempt-{self.inputs.attempt}", name), path)
        finally:
            path.unlink(missing_ok=True)  # where the disk is full, training needs the room for its own checkpoint

    def _read(self, uri: str, attempt: int, nonce: str) -> tuple[Header, TrainingState] | None:
        """Return a state that this training may go on from, or None where there is none."""
        path = self.context.scratch / "earlier.state"
        try:
            fetched = self.context.progress.fetching(
                f"what attempt {attempt} kept", percent=0, epochs=self.document.training.epochs
            )
            self.context.storage.copy(uri, path, fetched)
            read = read_state(path, nonce)
            return read if self._is_of_this_training(read[0], attempt) else None
        except NotOurs:
            return None
        except StepError as error:
            # Gone since it was listed, or too large for this pod's disk: each attempt would fail alike, and need not.
            if error.reason is Reason.DATA_UNREADABLE or is_full(error.__cause__):
                return None
            raise
        finally:
            path.unlink(missing_ok=True)

    def _is_of_this_training(self, header: Header, attempt: int) -> bool:
        expected = (self.document.owner.uid, attempt, self.binding)
        return (header.owner, header.attempt, header.binding) == expected

    def _listed(self) -> dict[int, list[str]]:
        """Return what lies there of earlier attempts, by attempt."""
        try:
            names = self.context.storage.own(self._folder)
        except StepError as error:
            if error.reason is not Reason.DATA_UNREADABLE:  # nothing there, or nobody may list it
                raise
            return {}
        listed: dict[int, list[str]] = {}
        for name in names:
            match = _NAME.fullmatch(name)
            if match is not None and int(match[1]) < self.inputs.attempt:
                listed.setdefault(int(match[1]), []).append(join(self._folder, name))
        return listed

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
