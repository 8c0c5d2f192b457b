"""Tables of groups of patients and of learning curves."""
