"""kopf as watcher and frame: wake-ups, keyed queue, reconcile loop, probes, metrics."""
