"""Numbers of other people and of several studies."""
