"""Anchor, pool, labels, mix: from verified pages to a plan, and from a plan to files that train."""
