"""Pure decisions: a view of the world in, a decision out; no I/O, no clock, no randomness."""
