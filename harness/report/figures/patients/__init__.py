"""Figures of groups of patients and of learning curves."""
