"""The pool's log: immutable manifests in the order of their names, each written once and last."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from ..documents.codec import encode
from ..documents.pool import PoolEntry, parse_pool_entry
from ..errors import ErrorClass, Reason, StepError, bad_input
from ..local_files import is_utf8
from ..storage import Storage, join

FOLDER: Final = "batches"
_AT_ONCE: Final = 200
"""Manifests that are in memory at once: those of a pool of 100,000 pages have 80 MB."""

_LONGEST_NAME: Final = 255
"""Bytes of a file's name."""

_TIME: Final = "%Y%m%dT%H%M%SZ"


def entry_names(storage: Storage, uri: str) -> list[str]:
    """Return the file names of the log's manifests in order; none for a pool that nobody added to."""
    return [name for name in storage.names(join(uri, FOLDER)) if _is_manifest(name)]


def times_of(storage: Storage, uri: str) -> dict[str, datetime | None]:
    """Return since when the store has each of the log's manifests, by file name in order; None where it does not say.

    What manifests say themselves, in name or content, whoever wrote them chose.
    """
    return {name: since for name, since in sorted(storage.times(join(uri, FOLDER)).items()) if _is_manifest(name)}


def has_manifest(storage: Storage, uri: str, name: str) -> bool:
    """Tell whether a manifest is there, asked for by its name: a listing may show a little late what was written."""
    may_be = _is_manifest(name) and "/" not in name and len(name.encode()) <= _LONGEST_NAME
    return may_be and storage.exists(join(uri, FOLDER, name))


def _is_manifest(name: str) -> bool:
    # What macOS leaves beside a file that is copied to another file system has its name, and is none.
    return name.endswith(".json") and not name.startswith("._")


def entries_of(storage: Storage, uri: str, names: Iterable[str] | None = None) -> Iterator[PoolEntry]:
    """Yield the log in order, few at a time, or of it what has these file names, as they come.

    StepError ContractViolated for a manifest of a kind that is not known, DataUnreadable for a name that is no text.
    """
    wanted = list(entry_names(storage, uri) if names is None else names)
    if odd := next((name for name in wanted if not is_utf8(name)), None):
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"The name {odd!r} of a file below {join(uri, FOLDER)} is no UTF-8.",
            "Rename it, or take it away where it is no manifest.",
        )
    places = [join(uri, FOLDER, name) for name in wanted]
    for start in range(0, len(places), _AT_ONCE):
        for place, data in storage.read_many(places[start : start + _AT_ONCE]).items():
            yield parse_pool_entry(data, place)


def entries_beside(storage: Storage, uri: str, names: Collection[str]) -> Iterator[PoolEntry]:
    """Yield what the log has beside these manifests, in order, as far as it can be read here.

    What came since something was drawn is asked for one thing only. It must not end what goes on by what was there:
    a manifest that a later release wrote, that is being written, or that this pod may not read is passed over.
    """
    since = (name for name in entry_names(storage, uri) if name not in names and is_utf8(name))
    places = [join(uri, FOLDER, name) for name in since]
    for start in range(0, len(places), _AT_ONCE):
        yield from _usable(storage, places[start : start + _AT_ONCE])


def _usable(storage: Storage, places: Sequence[str]) -> Iterator[PoolEntry]:
    try:
        contents = storage.read_those_there(places)
    except StepError as error:
        if error.error_class is not ErrorClass.BAD_INPUT:
            raise
        if len(places) > 1:  # one of them: each for itself
            for place in places:
                yield from _usable(storage, [place])
        return
    for place, data in contents.items():
        with suppress(StepError):
            yield parse_pool_entry(data, place)


def read_log(storage: Storage, uri: str) -> list[PoolEntry]:
    """Return the whole log in order, as `entries_of` yields it."""
    return list(entries_of(storage, uri))


def existing_log(storage: Storage, uri: str) -> list[PoolEntry]:
    """Return what read_log does; StepError as `existing_names`."""
    return list(entries_of(storage, uri, existing_names(storage, uri)))


def existing_names(storage: Storage, uri: str) -> list[str]:
    """Return what entry_names does; StepError DataUnreadable where there is none: most often the URI is wrong."""
    names = entry_names(storage, uri)
    if not names:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"No batch of a pool lies below {uri}.",
            "Check the URI, or add pages with `finetune-trainer pool add`.",
        )
    return names


def next_id(storage: Storage, uri: str, now: datetime) -> str:
    """Return an id for a new manifest, which sorts behind all that are there.

    So it is a second later than the newest where this machine's clock is behind, or two are written in one second.
    """
    moment = now.astimezone(UTC)
    # Other names, which somebody gave by hand, say nothing of what comes after them.
    for time in filter(None, map(_time_of, entry_names(storage, uri))):
        moment = max(moment, time + timedelta(seconds=1))
    return f"{moment:{_TIME}}-{secrets.token_hex(4)}"


def _time_of(name: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(name.partition("-")[0], _TIME).replace(tzinfo=UTC)
    return None


def created_at(now: datetime) -> str:
    """Return the time as manifests have it, RFC 3339 in UTC."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def append(storage: Storage, uri: str, entry: PoolEntry) -> None:
    """Write a manifest: from now on, what it says is so. What it names must lie there already."""
    storage.write_once(join(uri, FOLDER, f"{entry.id}.json"), encode(entry))
