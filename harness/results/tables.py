"""The tables of a result: sealed by checksums when they are written, checked before they are read.

``checksums.json`` beside them holds the checksum of each. Results of versions before 0.3.0 have none: their tables are
read once to see whether they hold what they should.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from harness.files import hash_of_file
from harness.results.json_record import DamagedRecordError, Record, UnreadableRecordError, find_damage

_FILE = "checksums.json"

#: The table of scores, in a result, in what was added to it, and in a test with fewer modalities.
ROWS = "cases.parquet"

#: The table of what trivial methods score, in a result and in what was added to it.
FLOORS = "floors.parquet"

_SCORES_REMEDY = "`harness evaluate STUDY` computes these scores anew; until then they count as absent."

#: Columns that each table must have, and whether they hold numbers. What an earlier version did not store is not here.
_CASES = {
    **dict.fromkeys(("dataset", "model", "leading", "patient", "case", "region", "metric", "status"), False),
    **dict.fromkeys(("fold", "seed", "value"), True),
}
_COLUMNS: Mapping[str, Mapping[str, bool]] = {ROWS: _CASES, "history.parquet": {"epoch": True}}

#: Columns in which a value is never absent.
_WHOLE = ("value", "fold", "seed", "epoch")


class Checksums(Record):
    """Checksums of the tables of a result: ``checksums.json``.

    Attributes:
        files: Checksum by name of the file.
    """

    files: Mapping[str, str]


def seal_tables(folder: Path) -> None:
    """Writes the checksums of the tables in a folder, which is about to become a result."""
    files = {path.name: hash_of_file(path) for path in sorted(folder.glob("*.parquet"))}
    Checksums(files=files).write(folder / _FILE)


def has_seal(folder: Path) -> bool:
    """Whether the tables in a folder were sealed."""
    return (folder / _FILE).is_file()


def damaged_tables(folder: Path, names: tuple[str, ...], remedy: str) -> Iterator[DamagedRecordError]:
    """Yields what is wrong with the tables of a result.

    Args:
        folder: The result.
        names: Files that it must have, where it has no checksums, which name them.
        remedy: What a person can do.
    """
    if (damage := find_damage(Checksums, folder / _FILE)) is not None:
        yield DamagedRecordError(damage.path, "the checksums of the tables beside it cannot be read", remedy)
        return
    stated = Checksums.read(folder / _FILE).files if has_seal(folder) else None
    for name in names if stated is None else stated:
        path = folder / name
        try:
            seen = path.stat()
            what = _fault(path, None if stated is None else stated[name], seen.st_ctime_ns, seen.st_size, seen.st_ino)
        except FileNotFoundError:
            what = "it is missing"
        except OSError as error:
            yield UnreadableRecordError(path, error)
            continue
        if what:
            yield DamagedRecordError(path, what, remedy)


def score_folders(result: Path) -> list[Path]:
    """Returns the folders of the scores that were added to a result, one per metric."""
    found = (path for path in (result / "scores").glob("*") if not path.name.startswith("."))
    return sorted(path for path in found if path.is_dir())


def damaged_scores(folder: Path) -> tuple[DamagedRecordError, ...]:
    """Returns what is wrong with the scores of one metric that were added to a result."""
    return tuple(damaged_tables(folder, (ROWS,), _SCORES_REMEDY))


@lru_cache(maxsize=1 << 16)
def _fault(path: Path, stated: str | None, changed: int, size: int, inode: int) -> str:
    """Returns what is wrong with a table; empty where nothing is."""
    del changed, size, inode  # what tells one content of the file from another
    if stated is None:
        return _fault_of_rows(path)
    return "" if hash_of_file(path) == stated else "its checksum is not that of its content"


def _fault_of_rows(path: Path) -> str:
    """Returns what is wrong with a table that has no checksum."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return f"it is no table ({str(error).partition(chr(10))[0]})"
    for name, is_number in _COLUMNS.get(path.name, {}).items():
        if name not in rows.column_names:
            return f"it lacks the column '{name}'"
        kind = rows.schema.field(name).type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if len(rows) and numeric != is_number:
            return f"the column '{name}' holds values of type {kind}"
        if name in _WHOLE and (rows[name].null_count or pc.any(pc.is_nan(rows[name].cast(pa.float64()))).as_py()):
            return f"a value of the column '{name}' is absent"
    if not len(rows) and path.name == ROWS:
        return "it is empty"
    return ""
