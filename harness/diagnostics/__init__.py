"""What this machine has, and how fast networks run on it."""
