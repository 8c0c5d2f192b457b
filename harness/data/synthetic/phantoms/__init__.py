"""Pieces that generated datasets are made of."""
