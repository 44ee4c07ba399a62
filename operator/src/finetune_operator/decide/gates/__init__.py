"""The gates: a file for each, the verdict over all of them, and the evidence that a verdict is bound to."""
