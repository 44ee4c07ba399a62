"""The training call, with every trap of ultralytics' defaults handled, and the export of what it made."""
