"""One cell of a study: its problem, its training, its test and what it leaves."""
