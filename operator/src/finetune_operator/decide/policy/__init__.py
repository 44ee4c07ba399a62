"""FineTunePolicy: its concerns side by side, its memory, and the flight of a promotion."""
