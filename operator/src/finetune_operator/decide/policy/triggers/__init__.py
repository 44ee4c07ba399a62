"""When a policy makes a run by itself: what fires, what keeps anything from firing, and what was fired."""
