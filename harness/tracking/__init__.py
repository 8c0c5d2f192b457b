"""MLflow: a view of the store, live while cells run, and rebuildable from it."""
