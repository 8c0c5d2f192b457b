"""MIST's ``results.csv``: ``id``, then ``REGION_METRIC``; five rows of statistics at its end.

MIST gives empty masks the best or the worst value itself (the image's diagonal for distances), so its numbers are taken
as they stand. Its surface Dice is ours, at a tolerance that the table does not say and MIST's ``config.json`` does.
Source of the format: ``mist/evaluation/evaluator.py`` of mist-medical/MIST.
"""

from contextlib import suppress
from pathlib import Path

from harness.files import read_json
from harness.report.inputs.csv_file import open_table
from harness.report.inputs.readers.source import UNNAMED, Request, Source
from harness.report.inputs.readers.wide import long_rows, ordered_regions, refuse_double_cases

#: MIST's names of metrics to ours; ``None`` where ours would not mean the same (its average is another).
_METRICS = {"dice": "dice", "haus95": "hd95", "surf_dice": "nsd", "avg_surf": None}
#: MIST's tolerance in mm where nothing says another, and that of our ``nsd``.
_TOLERANCE = 1.0
#: What our names of metrics with a tolerance can say.
_MOST_MM, _DIGITS = 1000, 3
_CASES = "id"
_STATISTICS = ("Mean", "Std", "25th Percentile", "Median", "75th Percentile")


class MistReader:
    """Reads MIST's table."""

    name = "MIST"

    def recognises(self, request: Request) -> bool:
        """A column ``id``, and one that ends with a metric of MIST."""
        if request.columns or request.path.suffix.lower() not in (".csv", ".tsv", ".txt"):
            return False
        headings = open_table(request.path).headings
        return _CASES in headings and bool(_columns(headings))

    def read(self, request: Request) -> Source:
        """Reads the cases; rows of statistics are left out."""
        table = open_table(request.path)
        stated = _stated_tolerance(request.path)
        columns = _columns(table.headings, stated or _TOLERANCE)
        rows = table.rows([_CASES, *(heading for heading, _, _ in columns)])
        rows = rows[~rows[_CASES].isin(_STATISTICS)]
        refuse_double_cases(rows, _CASES, request)
        unread = [name for name in table.headings if name != _CASES and name not in {one for one, _, _ in columns}]
        notes = [f"{request.path}: not read: {', '.join(unread)}."] if unread else []
        if stated is None and any(metric.startswith("nsd") for _, metric, _ in columns):
            notes.append(
                f"{request.path}: surface Dice is taken to be at {_TOLERANCE:g} mm, MIST's default: no config.json "
                "beside it says `surf_dice_tol`."
            )
        return Source(
            path=request.path,
            format=self.name,
            rows=long_rows(rows, request, _CASES, columns),
            where=lambda row: f"row {row}",
            regions={request.dataset or UNNAMED: ordered_regions(columns)},
            notes=(*table.notes, *notes),
            implementation="MIST",
        )


def _stated_tolerance(path: Path) -> float | None:
    """Returns the tolerance that MIST's configuration beside a table states; None where it states none that we name."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        tolerance = float(read_json(path.parent / "config.json")["evaluation"]["params"]["surf_dice_tol"])
        if 0 < tolerance < _MOST_MM and tolerance == round(tolerance, _DIGITS):
            return tolerance
    return None


def _columns(headings: tuple[str, ...], tolerance: float = _TOLERANCE) -> list[tuple[str, str, str]]:
    """Returns heading, metric and region of each column of scores."""
    found = []
    for heading in headings:
        fits = [name for name in _METRICS if heading.endswith(f"_{name}")]
        theirs = max(fits, key=len, default="")  # surf_dice ends like dice
        ours, region = _METRICS.get(theirs), heading.removesuffix(f"_{theirs}")
        if ours == "nsd" and tolerance != _TOLERANCE:
            ours = f"nsd_{tolerance:g}mm"
        if ours is not None and region:
            found.append((heading, ours, region))
    return found
