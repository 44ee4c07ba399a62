"""The documents that pass between operator and trainer (docs/contracts.md), as frozen values."""
