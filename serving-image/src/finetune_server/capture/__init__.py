"""Pages from production: which answered pages are kept, and how they get into the store without anybody waiting."""
