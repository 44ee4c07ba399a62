"""What somebody else wrote in the moment in which a manifest was written. Nobody waits for a lock: it is told after."""

from __future__ import annotations

from collections.abc import Iterator

from ..documents.pool import PoolBatch, PoolCorrection
from .pool import Pool, PoolPage


def beside_batch(pool: Pool, batch: PoolBatch) -> list[str]:
    """Return a line on pages that somebody else added with another label; `pool` is what it is with the batch."""
    pages = []
    for sample in batch.samples:
        page = pool.page(sample.image.sha256)
        if page is None:
            continue
        labels = {file.sha256 for place, file in page.files.items() if place.endswith(".txt")}
        if page.withdrawal is not None or labels != {sample.label.sha256}:
            pages.append(page)
    return list(_told(pages, "added"))


def beside_correction(pool: Pool, correction: PoolCorrection) -> list[str]:
    """Return a line on pages that somebody else corrected, too; `pool` is what it is with the correction."""
    pages = []
    for sample in correction.samples:
        page = pool.page(sample.image)
        if page is None:
            continue
        *_, before = [s for s in page.samples if s.correction != correction.id]
        alone = page.last.correction == correction.id and before.label.sha256 == sample.replaces
        alone = alone and before.fields <= page.last.fields
        if page.withdrawal is not None or not alone:
            pages.append(page)
    return list(_told(pages, "corrected"))


def _told(pages: list[PoolPage], done: str) -> Iterator[str]:
    withdrawn = [page for page in pages if page.withdrawal is not None]
    if withdrawn:
        yield f"{len(withdrawn)} pages were withdrawn in this moment: {withdrawn[0].withdrawal}"
    others = [page.last for page in pages if page.withdrawal is None]
    if others:
        yield (
            f"{len(others)} pages were {done} with another label by somebody else in this moment; of "
            f"{others[0].image.uri} that of {others[0].verified_by} counts. `pool correct` replaces a wrong one"
        )
