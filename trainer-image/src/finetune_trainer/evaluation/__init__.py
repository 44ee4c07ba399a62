"""One evaluator for candidate, base and live version, on the artifact that is served."""
