"""From prepared cases to training batches."""
