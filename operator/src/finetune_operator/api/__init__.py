"""The kinds and contracts as frozen values: parsing, names, conditions; no I/O."""
