"""Figures on how much the results can show."""
