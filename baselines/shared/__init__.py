"""Parts that several baselines share; each lives here once."""
