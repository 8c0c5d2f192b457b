"""Tables on how much the results can show, and how they stand by the rule of the files they come from."""
