"""The process of one attempt: how it is started, watched, stopped, and what its end means."""
