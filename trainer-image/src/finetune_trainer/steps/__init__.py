"""The steps of a run: prepare, train, evaluate, verify; each reads documents and publishes files and a result."""
