"""Window sizes that fit a patch."""

from baselines.shared.patches import require_multiples
from harness.errors import StudyError

TOKEN_SIDE = 4
"""Side of the image patch that becomes one token at the finest level."""
LEVELS = 4
MULTIPLE = TOKEN_SIDE * 2 ** (LEVELS - 1)
PAPER = 7
"""The paper's window, which fits patches of 224."""


def fits(window: int, side: int) -> bool:
    """Returns whether windows tile every level's grid; a grid that one window covers is a single window."""
    grids = [side // TOKEN_SIDE // 2**level for level in range(LEVELS)]
    return all(grid <= window or grid % window == 0 for grid in grids)


def choose(patch_size: tuple[int, ...], window: int | None) -> tuple[int, int]:
    """Returns the window's side along each axis.

    Args:
        patch_size: Spatial size of the input in pixels.
        window: Side from the options; ``None`` takes, along each axis, the one nearest to 7 (of two the larger).

    Raises:
        StudyError: The patch cannot be merged down to the deepest level, or the window does not tile it.
    """
    require_multiples(patch_size, MULTIPLE, f"swinunet halves a grid of {TOKEN_SIDE}-pixel tokens three times")
    fitting = [
        [candidate for candidate in range(2, side // TOKEN_SIDE + 1) if fits(candidate, side)] for side in patch_size
    ]
    if window is not None:
        if not all(fits(window, side) for side in patch_size):
            common = sorted(set(fitting[0]).intersection(*fitting[1:]))
            given = " x ".join(map(str, patch_size))
            raise StudyError(
                f"swinunet cannot tile a patch of {given} with windows of {window} x {window} tokens.",
                hint=f"Windows that fit: {', '.join(map(str, common)) or 'none of one side'}; or leave `window` out.",
            )
        return window, window
    height, width = (min(axis, key=lambda candidate: (abs(candidate - PAPER), -candidate)) for axis in fitting)
    return height, width
