"""When two scores are equal: they differ by no more than what the order of a sum makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Scores are up to some hundred (HD95 in mm), where floating point leaves at least twelve decimals.
_DECIMALS = 9


def without_rounding(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns scores, means or differences of which equal ones are equal to the last digit."""
    return np.asarray(np.round(values, _DECIMALS))
