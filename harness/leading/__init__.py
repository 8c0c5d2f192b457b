"""Which modality should lead: short trainings of equal length, of which the worse half stops at each rung."""
