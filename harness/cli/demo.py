"""``harness demo``: a table and a picture after about a minute, by the parts that make real ones."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.run import run_file
from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.engines import local_engine, make_policy
from harness.cli.shared.options import CacheOption, ResultsOption, study_arguments
from harness.shipped import shipped

#: The shipped study, and the profile of it that takes a minute and that which takes six.
STUDY, MINUTE, WHOLE = "ablation_tcfaf", "minute", "demo"


def demo(
    cpu: Annotated[bool, typer.Option("--cpu", help="Use no GPU.")] = False,
    results: ResultsOption = Path("results"),
    cache: CacheOption = Path("cache"),
) -> None:
    """Train two small networks for some steps on the embedded images, and write table, pictures and page.

    About a minute on two CPU cores. It shows that everything works, and nothing about the networks; every output says
    so. After Ctrl-C the same command goes on where it was.
    """
    from harness.report.write import write_report
    from harness.results.reading import load_results
    from harness.results.store import Store

    console = PlainConsole(highlight=False)
    file = shipped("studies") / f"{STUDY}.yaml"
    folder = run_file(console, file, [MINUTE], local_engine(cpu), results, cache, make_policy(0, None, False), False)
    found = load_results(folder, Store(results))
    out = results / "reports" / STUDY / MINUTE
    write_report(found, out)
    for facts in found.datasets.values():
        console.print(styled("bold yellow", f"{facts.caveat}."))
    for what, path in (
        ("page", out / "report.html"),
        ("pictures", out / "figures"),
        ("tables", out / "tables.md"),
        ("predictions, weights, rows", results / "cells"),
    ):
        console.print(f"{what:<28} {path}", soft_wrap=True)
    console.print(
        styled("bold", "Next: the whole ablation, 180 steps each, about 6 minutes; `make demo` types it, too")
    )
    console.print(f"  harness run {study_arguments(STUDY, WHOLE, results)}", soft_wrap=True)
