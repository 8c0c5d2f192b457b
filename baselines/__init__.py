"""The baselines: one folder each; README.md describes what a new one needs."""
