"""What the pool surely had when a run was made, by the store's own times: a plan leaves nothing of it out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from ..data.pool import Pool, PoolPage, StoredSample, replayed
from ..data.pool_log import entries_of, times_of
from ..storage import Storage

_MARGIN: Final = timedelta(hours=1)
"""The store and the cluster have clocks of their own, and some stores show, or date, a file a little late."""


def earlier_pages(storage: Storage, pool: Pool, created: datetime) -> Iterator[tuple[PoolPage, list[PoolPage]]]:
    """Yield each page as it was an hour before `created`, with those of `pool` that it is now.

    That is one page: two only where somebody wrote a batch since by a name that sorts before. `pool` was read before
    this is called: what came meanwhile came since.
    """
    times = times_of(storage, pool.uri)
    names = [name for name, since in times.items() if since is not None and since <= created - _MARGIN]
    if len(names) == len(times):
        yield from ((page, [page]) for page in pool.pages)
        return
    for page in replayed(pool.uri, entries_of(storage, pool.uri, names), {}).pages:
        now = {id(there): there for image in page.copies if (there := pool.page(image)) is not None}
        yield page, list(now.values())


def has_older_label(page: PoolPage, then: StoredSample, label: str) -> bool:
    """Tell whether a page had `label` only before the one that it had `then`; no where it knows nothing of that."""
    made = [(sample.label.sha256, sample.correction) for sample in page.samples]
    if (then.label.sha256, then.correction) not in made:
        return False
    return label not in {made_for for made_for, _ in made[made.index((then.label.sha256, then.correction)) :]}
