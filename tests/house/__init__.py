"""What several tests share: the CRDs, sample objects, and a plain client of an API server."""
