"""The documents that pass between operator and trainer (docs/reference/contracts.md), as frozen values."""
