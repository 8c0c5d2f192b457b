"""From the results of a study to a report: tables, figures, sentences and one page of HTML.

``inputs`` reads the results of others, ``analysis`` computes the statistics once, ``tables``, ``figures`` and ``text``
show them, ``writers`` give them a format, ``write`` fills a folder. Import from the modules: they load pandas and
matplotlib, this package does not.
"""

from enum import StrEnum


class Format(StrEnum):
    """Output formats."""

    latex = "latex"
    markdown = "markdown"
    csv = "csv"
    html = "html"
    all = "all"


#: Lies in a report that shows columns of patients: names its files, none of which is logged in MLflow unasked.
PERSONAL = "personal.txt"
