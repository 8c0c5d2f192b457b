"""Released weights that differ from ours in names alone."""

from collections.abc import Callable, Mapping

from torch import Tensor

from harness.segmenters.released import Translation


def rename(
    released: Mapping[str, Tensor], our_name: Callable[[str], str], ignored: frozenset[str] = frozenset()
) -> Translation:
    """Gives released tensors our names; layouts are the same.

    Args:
        released: Released names, without trainer prefixes, to tensors.
        our_name: Released name to ours.
        ignored: Released names that never enter the released network's output.
    """
    names = {theirs: our_name(theirs) for theirs in released if theirs not in ignored}
    return Translation(
        weights={ours: released[theirs] for theirs, ours in names.items()},
        sources={ours: (theirs,) for theirs, ours in names.items()},
        ignored=ignored,
    )
