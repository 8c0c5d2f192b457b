"""What tables, figures and text show, computed once."""
