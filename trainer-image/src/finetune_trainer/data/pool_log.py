"""The pool's log: immutable manifests in the order of their names, each written once and last."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from ..documents.codec import encode
from ..documents.pool import PoolEntry, parse_pool_entry
from ..errors import Reason, bad_input
from ..storage import Storage, join

FOLDER: Final = "batches"
_AT_ONCE: Final = 200
"""Manifests that are in memory at once: those of a pool of 100,000 pages have 80 MB."""

_TIME: Final = "%Y%m%dT%H%M%SZ"


def entry_names(storage: Storage, uri: str) -> list[str]:
    """Return the file names of the log's manifests in order; none for a pool that nobody added to."""
    return [n for n in storage.names(join(uri, FOLDER)) if n.endswith(".json")]


def times_of(storage: Storage, uri: str) -> dict[str, datetime | None]:
    """Return since when the store has each of the log's manifests, by file name in order; None where it does not say.

    What manifests say themselves, in name or content, whoever wrote them chose.
    """
    return {n: since for n, since in sorted(storage.times(join(uri, FOLDER)).items()) if n.endswith(".json")}


def entries_of(storage: Storage, uri: str, names: Iterable[str] | None = None) -> Iterator[PoolEntry]:
    """Yield the log in order, few at a time, or of it what has these file names, as they come.

    StepError ContractViolated for a manifest of a kind that is not known.
    """
    places = [join(uri, FOLDER, name) for name in (entry_names(storage, uri) if names is None else names)]
    for start in range(0, len(places), _AT_ONCE):
        for place, data in storage.read_many(places[start : start + _AT_ONCE]).items():
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
