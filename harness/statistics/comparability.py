"""Whether methods were trained and tested under the same conditions."""

import pandas as pd

_SHOWN = 3
#: Column, what it is called, and whether it differs between folds by nature.
_CONDITIONS = (
    ("protocol", "training protocols", False),
    ("budget", "training budgets", False),
    ("data", "data files", False),
    ("split", "splits", True),
)


def reasons_not_comparable(cells: pd.DataFrame) -> list[str]:
    """Reasons not to rank the methods of one dataset together; none where they are comparable.

    Args:
        cells: Cells of one dataset with column ``method`` and those of the results store. ``budget`` is optional, and
            so is ``start`` (what training started from): a table without it holds methods trained from scratch.

    Returns:
        One sentence a difference, in a fixed order whatever the order of the rows.
    """
    reasons = []
    for column, called, by_fold in _CONDITIONS:
        if column in cells and (found := _differing(cells, column, by_fold=by_fold)):
            reasons.append(f"different {called}: {found}")
    if "start" in cells and (found := _differing(cells.assign(start=cells["start"].map(_start)), "start")):
        reasons.append(f"different starting weights: {found}")
    return reasons


def _start(value: object) -> str:
    """Weights each method has of its own are one kind of start; what matters is having seen other data or not."""
    return str(value).split(":", maxsplit=1)[0].strip() or "scratch"


def _differing(cells: pd.DataFrame, column: str, *, by_fold: bool = False) -> str:
    """Which methods have which value; ``''`` where all have the same (in each fold)."""
    groups = [group for _, group in cells.groupby("fold", sort=True)] if by_fold else [cells]
    for group in groups:
        values = group[column].astype(str)
        # A share of the training patients is drawn anew for each seed: then methods have the same several splits.
        if values.nunique() <= 1 or (by_fold and values.groupby(group["method"]).agg(frozenset).nunique() == 1):
            continue
        parts = []
        for value in sorted(values.unique()):
            names = sorted(set(group.loc[values == value, "method"].astype(str)))
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{value or 'unknown'} ({', '.join(names[:_SHOWN])}{more})")
        return "; ".join(parts)
    return ""
