"""Patch sizes that a network cannot take, refused with the nearest one that it can."""

from harness.errors import StudyError


def require_multiples(patch_size: tuple[int, ...], unit: int, why: str) -> None:
    """Refuses a patch whose sides are not all multiples of a number.

    Args:
        patch_size: Spatial size of the input.
        unit: The number.
        why: Cause of the requirement, as the beginning of a sentence.

    Raises:
        StudyError: A side is not a multiple of it; the hint names the nearest size that is valid.
    """
    nearest = tuple(max(unit, (side + unit // 2) // unit * unit) for side in patch_size)
    if nearest != patch_size:
        given, valid = (" x ".join(map(str, sides)) for sides in (patch_size, nearest))
        raise StudyError(f"{why}, so it cannot take a patch of {given}.", hint=f"Nearest valid patch_size: {valid}.")
