"""Results that others wrote, each format by its own reader, all in one form."""
