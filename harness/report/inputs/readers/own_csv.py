"""The csv file that ``harness evaluate`` writes: one row per case, region and metric."""

from harness.errors import DataError
from harness.report.inputs.csv_file import open_table, parse_numbers
from harness.report.inputs.readers.source import ROW_COLUMNS, Request, Source

#: Columns the file must have.
NEEDED = ("method", "label", "dataset", "patient", "case", "region", "metric", "value")

#: Columns it may have, and what stands for one that it lacks.
DEFAULTS = {"seed": "0", "fold": "0", "status": "scored", "leading": "-"}


class OwnCsvReader:
    """Reads our own csv file."""

    name = "harness csv"

    def recognises(self, request: Request) -> bool:
        """Any file without a mapping of columns that no other reader knows: its message says what is needed."""
        return not request.columns

    def read(self, request: Request) -> Source:
        """Reads the file; the texts of its numbers stay beside them, for messages."""
        path = request.path
        table = open_table(path, NEEDED)
        try:
            table.require(NEEDED, tuple(DEFAULTS))
        except DataError as error:
            hint = f"{error.hint} The columns of another table are named with --column."
            raise DataError(error.message, hint=hint) from error
        rows = table.rows(NEEDED, tuple(DEFAULTS), "One row per case, region and metric.")
        has_folds = "fold" in rows
        rows = rows.assign(**{key: DEFAULTS[key] for key in DEFAULTS if key not in rows})
        for column in ("value", "seed", "fold"):
            rows = rows.assign(**{column: parse_numbers(rows[column], path), f"{column} in file": rows[column]})
        labels = rows["label"].unique()
        if request.label:
            if len(labels) > 1:
                raise DataError(
                    f"{path} holds {len(labels)} methods, so '{request.label}' cannot name them.",
                    hint=f"Leave the name out: --with {path}",
                )
            rows["label"] = request.label
        regions = {
            str(name): tuple(map(str, group["region"].unique())) for name, group in rows.groupby("dataset", sort=False)
        }
        texts = [f"{column} in file" for column in ("value", "seed", "fold")]
        return Source(
            path=path,
            format=self.name,
            rows=rows[[*ROW_COLUMNS, *texts]],
            where=lambda row: f"row {row}",
            regions=regions,
            has_folds=has_folds,
            notes=table.notes,
            implementation=f"as in {path.name}",
            lists_missing=True,
        )
