"""All formats of others' results: a new one is its own module and a line here."""

from harness.errors import DataError
from harness.report.inputs.readers.mapped import MappedReader
from harness.report.inputs.readers.mist import MistReader
from harness.report.inputs.readers.nnunet import NnunetReader
from harness.report.inputs.readers.own_csv import OwnCsvReader
from harness.report.inputs.readers.panoptica import PanopticaReader
from harness.report.inputs.readers.source import Reader, Request, Source

#: Readers in the order in which they are asked; the last one says what is wrong with a file that none knows.
READERS: tuple[Reader, ...] = (NnunetReader(), MistReader(), PanopticaReader(), MappedReader(), OwnCsvReader())


def read_source(request: Request) -> Source:
    """Reads results by the first reader that recognises them.

    Raises:
        DataError: There is no such file, or it is not what its format says.
    """
    if not request.path.exists():
        raise DataError(f"There is no file {request.path}.", hint="--with takes LABEL=PATH, or a csv file.")
    reader = next(one for one in READERS if one.recognises(request))
    return reader.read(request)
