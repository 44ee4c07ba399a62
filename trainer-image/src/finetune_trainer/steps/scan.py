"""Step `scan`: what a policy's triggers and people go by, counted by manifests alone; old production pages go."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ..data.earlier_plans import judged_listing, listing_of
from ..data.pool import Pool, read_pool
from ..data.pool_count import PoolCount, count_pool
from ..documents.inputs import ScanInputs
from ..documents.result import CapturedPages, ScanResult, WaitingPages, WeeklyReports
from ..documents.run import ScanDocument
from ..labelling.waiting import count_waiting
from ..production.counts import CapturedCounts, count_answered, count_captured
from ..production.expiry import expire
from ..production.layout import production_of
from ..production.weeks import WeekTotal, total_weeks
from ..storage import normalise
from .context import StepContext


def scan(context: StepContext, document: ScanDocument, inputs: ScanInputs, now: datetime) -> ScanResult:
    """Count the pool and the production pages, and remove those whose time is over at `now`.

    Nothing is published; what is written are the totals of weeks, in the production prefix. A pool that nobody has
    added to yet has no samples. StepError for a pool, plan of the base or prefix that cannot be read; production pages
    expire before the pool is looked at, so that nothing wrong with it keeps them.
    """
    captured, answered, weeks, expired = _production(context, document, now)
    pool, count = _pool(context, document, inputs)
    return ScanResult(
        pool=count.samples.current,
        held_out=count.samples.held_out,
        withdrawn=count.withdrawn,
        outside=count.samples.outside,
        new=count.samples.new,
        corrected=count.samples.corrected,
        by_image=count.unmeasured,
        listing=count.listing,
        pages=None if captured is None else _pages(captured),
        waiting=_waiting(context, document, pool),
        reports=tuple(WeeklyReports(total.week, total.documents) for total in weeks),
        answered=answered,
        expired_days=expired,
    )


def _production(
    context: StepContext, document: ScanDocument, now: datetime
) -> tuple[CapturedCounts | None, int | None, list[WeekTotal], int]:
    wanted, storage = document.data.production, context.storage
    if wanted is None:
        return None, None, [], 0
    context.progress.report(percent=0, activity="production pages")
    production = production_of(storage, wanted.uri, document.owner.namespace, document.deployment)
    # Totals first: they need what is about to go.
    weeks = total_weeks(storage, production, now)
    expired = expire(storage, production, keep_days=wanted.keep_days, now=now)
    if expired.more:
        context.progress.report(percent=30, activity="more old production pages are left for the next scan")
    return count_captured(storage, production), count_answered(storage, production, now), weeks, expired.days


def _pool(context: StepContext, document: ScanDocument, inputs: ScanInputs) -> tuple[Pool, PoolCount]:
    context.progress.report(percent=40, activity="the pool")
    base = listing_of(context.storage, inputs.base_plan)
    judged, lost = judged_listing(context.storage, inputs.judged)
    for error in lost:
        context.progress.report(percent=60, activity=f"passed over the plan of a judged run: {error.message}")
    pool = read_pool(context.storage, normalise(document.data.pool.uri), document.classes)
    return pool, count_pool(pool, Decimal(document.holdout), base=base, judged=judged)


def _waiting(context: StepContext, document: ScanDocument, pool: Pool) -> WaitingPages | None:
    """Return what waits to be labelled: pages that the pool has, or had, do not."""
    wanted = document.data.production
    if wanted is None:
        return None
    context.progress.report(percent=80, activity="pages that wait to be labelled")
    production = production_of(context.storage, wanted.uri, document.owner.namespace, document.deployment)
    waiting = count_waiting(context.storage, production, pool, document.classes)
    return WaitingPages(waiting.pages, waiting.fields)


def _pages(captured: CapturedCounts) -> CapturedPages:
    return CapturedPages(
        random=captured.pages["Random"],
        uncertain=captured.pages["Uncertain"],
        reported=captured.pages["Reported"],
        oldest=None if captured.oldest is None else captured.oldest.isoformat(),
    )
