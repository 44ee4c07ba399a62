"""The attempt engine that runs and versions share: one Job after another until a step has its result."""
