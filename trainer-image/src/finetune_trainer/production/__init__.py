"""Production pages as the server leaves them: where they lie, how many there are, when they go."""
