"""The API server behind one narrow Protocol: observe, act, errors."""
