"""How many examples hypothesis tries: a quarter by default, all of them among the slow tests (`make slow`)."""

import os

#: Set to try all examples.
EVERY = "HARNESS_EVERY_EXAMPLE"


def examples(full: int) -> int:
    """Returns how many examples are tried now of the number that a property deserves."""
    return full if os.environ.get(EVERY) else max(5, full // 4)
