"""How a score came about."""

from typing import Literal, get_args

#: ``scored``: as computed. ``empty_both`` / ``empty_one``: region absent in both masks / in one of them, value
#: set by the declared policy. ``missing``: no prediction that can be read, or a metric that failed (the implementation
#: says why); the value is the metric's worst. ``skipped``: cannot be computed and the declared policy (``nan_skip``)
#: leaves it out: not part of any mean, but counted and printed; its value is what the policy ``worst`` gives.
Status = Literal["scored", "empty_both", "empty_one", "missing", "skipped"]

#: All of them, in the order above.
STATUSES: tuple[Status, ...] = get_args(Status)
