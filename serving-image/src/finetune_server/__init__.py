"""The serving image: fetches a gated detector by digest, serves it, and exports the monitoring contract."""

__version__ = "0.1.0"
