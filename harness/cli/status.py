"""``harness status``: what has become of a study's cells."""

from pathlib import Path

from harness.cli.shared.console import PlainConsole
from harness.cli.shared.options import ProfileOption, ResultsOption, StudyName


def status(study: StudyName = None, profile: ProfileOption = None, results: ResultsOption = Path("results")) -> None:
    """Show the state of every cell of a study: done, running, interrupted, failed or new, with progress or failure."""
    from harness.cli.shared.status_table import status_table
    from harness.results.store import Store

    store = Store(results)
    PlainConsole().print(status_table(store.find_study(study, profile), store))
