"""Removing the bytes of erased pages, whatever others write to the pool meanwhile. Nobody waits for a lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..documents.codec import FileReference
from ..storage import Storage, join
from .incoming import Incoming, label_path, store_label
from .pool import Pool, PoolPage, replayed
from .pool_log import entry_names, read_log
from .repeated import NewPage


def remove_erased(storage: Storage, uri: str, pixels: Mapping[str, str]) -> tuple[FileReference, ...]:
    """Delete every file that only erased pages have, those of earlier erasures that were cut off too.

    A label that somebody else's page came to need while it went is put back: labels are stored by content. Ends when
    the log stayed as it was. `pixels` are digests of images that the log does not say.
    """
    removed: dict[str, FileReference] = {}
    labels: dict[str, bytes] = {}
    while True:
        before = entry_names(storage, uri)
        pages = replayed(uri, read_log(storage, uri), pixels).pages
        needed = {place for page in pages if not _erased(page) for place in page.files}
        for place in labels.keys() & needed:
            storage.write_once(place, labels.pop(place))
            del removed[place]
        files = {p: file for page in pages if _erased(page) for p, file in page.files.items() if p not in needed}
        sizes = storage.sizes(files)
        for place, file in ((place, file) for place, file in files.items() if sizes[place] is not None):
            if file.uri.endswith(".txt"):
                labels[place] = storage.read(place)
            storage.remove(place)
            removed[place] = file
        if entry_names(storage, uri) == before:
            return tuple(removed.values())


def restore_labels(storage: Storage, uri: str, incoming: Incoming, pages: Iterable[NewPage]) -> Pool:
    """Store labels again that an erasure removed before it could know that these pages need them; return the pool.

    Called once the log names them: an erasure that reads it from now on leaves them. And what of these pages was erased
    meanwhile goes.
    """
    mine = list(pages)
    sizes = storage.sizes(join(uri, label_path(page)) for page in mine)
    pool = replayed(uri, read_log(storage, uri), {})
    gone = False
    for page in mine:
        there = pool.page(page.image_sha256, page.checked.picture.pixels)
        if there is not None and _erased(there):
            gone = True
        elif sizes[join(uri, label_path(page))] is None:
            store_label(storage, uri, incoming, page)
    if gone:
        remove_erased(storage, uri, {})
    return pool


def _erased(page: PoolPage) -> bool:
    return page.withdrawal is not None and page.withdrawal.erased
