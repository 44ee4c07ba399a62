"""Pictures for the person who decides: curves, and pages before and after."""
