"""Invented patients under the official file names."""
