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


def require_more_than_one_voxel(patch_size: tuple[int, ...], unit: int, name: str) -> None:
    """Refuses a patch of which one voxel is left, which instance norm cannot normalise.

    Args:
        patch_size: Spatial size of the input.
        unit: Number by which every axis is divided at the coarsest level.
        name: Name of the network.

    Raises:
        StudyError: The coarsest map is one voxel.
    """
    if all(side == unit for side in patch_size):
        given, valid = (" x ".join(map(str, sides)) for sides in (patch_size, (2 * unit,) * len(patch_size)))
        raise StudyError(
            f"{name} would normalise the one voxel that it makes of a patch of {given}.",
            hint=f"Nearest valid patch_size: {valid}.",
        )


def require_at_least(patch_size: tuple[int, ...], smallest: int, why: str) -> None:
    """Refuses a patch with a side below a number.

    Args:
        patch_size: Spatial size of the input.
        smallest: The number.
        why: Cause of the requirement, as the beginning of a sentence.

    Raises:
        StudyError: A side is below it; the hint names the nearest size that is valid.
    """
    nearest = tuple(max(smallest, side) for side in patch_size)
    if nearest != patch_size:
        given, valid = (" x ".join(map(str, sides)) for sides in (patch_size, nearest))
        raise StudyError(f"{why}, so it cannot take a patch of {given}.", hint=f"Nearest valid patch_size: {valid}.")
