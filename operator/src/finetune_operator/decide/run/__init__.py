"""FineTuneRun: from acceptance to the end of its promotion, as a chain of stages."""
