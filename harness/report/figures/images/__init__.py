"""Figures that show images of cases."""
