"""What a study will cost in time, memory and disk space."""
