"""What modalities are worth, and which should lead."""
