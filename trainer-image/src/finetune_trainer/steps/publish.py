"""Where a step writes: files of one execution in a folder of their own, then one manifest that makes them exist."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from ..digests import sha256_of
from ..documents.codec import FileReference, decode, encode
from ..documents.result import (
    MANIFEST_SCHEMA,
    RESULT_SCHEMA,
    Emitted,
    Manifest,
    ManifestFile,
    StepName,
    StepResult,
)
from ..errors import ErrorClass, Reason, StepError
from ..storage import Storage, join, normalise

MANIFEST_NAME: Final = "manifest.json"
"""The file that is written last; what none lists does not exist."""

EVALUATIONS: Final = "evaluations"
"""The folder of an owner's prefix that only what measures writes to, so that a store can keep training out of it."""

MEASURING: Final[frozenset[StepName]] = frozenset(("evaluate", "verify"))
"""Steps that never take a manifest that they find: a result that lies in the store is anybody's."""


class Publisher:
    """The files of one step as they are published.

    A place carries the attempt's nonce, which nobody knew before: what lies there was written by a pod of the attempt,
    or by somebody who reads the cluster. Two pods of one attempt can run for a moment. Where they make something
    (prepare, train), each has a folder for its files, and the manifest, created exclusively, decides whose files count.
    Where they measure, each has a place of its own, and what anybody else wrote is not believed.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        artifacts: str,
        owner: str,
        step: StepName,
        attempt: int,
        round_: int | None,
        nonce: str,
    ) -> None:
        self._storage = storage
        self._owner = owner
        self._step: StepName = step
        self._attempt = attempt
        self._round = round_
        self._measures = step in MEASURING
        execution, prefix = secrets.token_hex(4), normalise(artifacts)
        if self._measures:
            of = f"attempt-{attempt}" if round_ is None else f"attempt-{attempt}-round-{round_}"
            self._folder = join(prefix, EVALUATIONS, f"{step}-{of}-{nonce}", execution)
            self._subfolder = ""
        else:
            self._folder = join(prefix, f"attempt-{attempt}", f"{step}-{nonce}")
            self._subfolder = f"{execution}/"
        self._files: list[ManifestFile] = []

    def file(self, name: str, data: bytes) -> FileReference:
        """Write one file (once), and return its URI and digest."""
        path = f"{self._subfolder}{name}"
        uri = join(self._folder, path)
        self._storage.write_once(uri, data)
        digest = sha256_of(data)
        self._files.append(ManifestFile(path, digest, len(data)))
        return FileReference(uri, digest)

    def finish(self, result: StepResult) -> Emitted:
        """Write the manifest, last, and return what to emit.

        That is ours; of a step that makes something it may be another pod's that was first. StepError where somebody
        wrote to a place of a measurement that only this pod knows.
        """
        emitted = self.emitted(result)
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            step=self._step,
            owner=self._owner,
            attempt=self._attempt,
            round=self._round,
            files=tuple(self._files),
            emitted=msgspec.to_builtins(emitted),
        )
        uri, data = join(self._folder, MANIFEST_NAME), encode(manifest)
        if self._measures:
            self._storage.write_once(uri, data)
            return emitted_of(manifest, FileReference(uri, sha256_of(data)))
        try:
            self._storage.write_once(uri, data)
        except StepError as error:
            if error.error_class is not ErrorClass.INTERNAL:
                raise
        existing = self.existing()
        if existing is None:
            raise StepError(
                ErrorClass.UNAVAILABLE,
                Reason.STORAGE_UNAVAILABLE,
                f"The manifest below {self._folder} cannot be read back after writing it.",
                "Check the artifact storage; the operator tries again.",
            )
        return existing

    def emitted(self, result: StepResult) -> Emitted:
        """Return what a step without files emits; no manifest is written."""
        return Emitted(
            schema=RESULT_SCHEMA,
            step=self._step,
            owner=self._owner,
            attempt=self._attempt,
            outcome="Succeeded",
            result=msgspec.to_builtins(result),
        )

    def existing(self) -> Emitted | None:
        """Return what a complete manifest of this step says, with its digest, or None when there is none.

        A step that measures has none that it would believe, and a scan has none.
        """
        if self._measures or self._step == "scan":
            return None
        uri = join(self._folder, MANIFEST_NAME)
        data = self._storage.read_if_there(uri)
        if data is None:
            return None
        manifest = decode(data, Manifest, f"The manifest {uri}", MANIFEST_SCHEMA)
        if (manifest.owner, manifest.step, manifest.attempt) != (self._owner, self._step, self._attempt):
            raise StepError(
                ErrorClass.INTERNAL,
                Reason.INTERNAL,
                f"{uri} belongs to {manifest.owner}, not to {self._owner}.",
                "Give each owner an artifact prefix of its own.",
            )
        return emitted_of(manifest, FileReference(uri, sha256_of(data)))


def emitted_of(manifest: Manifest, written: FileReference) -> Emitted:
    """Return the result in a manifest, completed by the manifest's own file reference."""
    emitted: Mapping[str, object] = {**manifest.emitted, "manifest": msgspec.to_builtins(written)}
    return msgspec.convert(emitted, Emitted)
