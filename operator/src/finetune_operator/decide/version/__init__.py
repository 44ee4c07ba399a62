"""ModelVersion: what is known of a version, and the measuring of imported bases."""
