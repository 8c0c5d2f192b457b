"""Common parts of the three BraTS releases: layout, reader and generated patients."""
