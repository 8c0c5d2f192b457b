"""The baselines: one folder each; README.md says what a new one needs."""
