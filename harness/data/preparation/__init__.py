"""From a case's files to a prepared case in the cache."""
