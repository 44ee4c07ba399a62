"""Labels both ways: captured pages to labelling tools, and what these write back to a batch of the pool."""
