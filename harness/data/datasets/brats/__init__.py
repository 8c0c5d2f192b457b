"""What the three BraTS releases have in common: their layout, their reader, their generated patients."""
