"""``harness check``: whether a network keeps the segmenter contract."""

from typing import Annotated

import typer

from harness.cli.shared.console import PlainConsole, styled
from harness.cli.shared.formatting import table


def check(
    name: Annotated[str, typer.Argument(help="Registered network.")],
    slow: Annotated[
        bool, typer.Option("--slow", help="Also run the checks that take minutes (torch.compile).")
    ] = False,
) -> None:
    """Run the conformance suite on a registered network and list the checks that fail."""
    from harness.segmenters import SEGMENTERS, conformance

    console = PlainConsole(highlight=False)
    segmenter = SEGMENTERS.get(name)
    run = conformance.run_apart if SEGMENTERS.is_foreign(name) else conformance.run
    results = run(segmenter, slow=slow)
    listing = table("check", "cases", "passed", "seconds")
    for check_name in dict.fromkeys(result.check for result in results):
        mine = [result for result in results if result.check == check_name]
        passed, seconds = sum(result.passed for result in mine), sum(result.seconds for result in mine)
        listing.add_row(check_name, str(len(mine)), str(passed), f"{seconds:.1f}")
    console.print(listing)
    failed = [result for result in results if not result.passed]
    for result in failed:
        case = f" [{result.case}]" if result.case else ""
        console.print(styled("red", "failed", f" {result.check}{case}: {result.message}"))
    console.print(f"{len(results) - len(failed)} of {len(results)} checks passed.")
    if failed:
        raise typer.Exit(1)
