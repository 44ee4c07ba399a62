"""Pure builders of the Kubernetes objects and patches that the operator writes."""
