"""``harness data``: list, generate, check, preview, prepare and export datasets; one file per verb."""

from harness.cli.data.check import check
from harness.cli.data.export import export
from harness.cli.data.generate import generate
from harness.cli.data.listing import data
from harness.cli.data.prepare import prepare
from harness.cli.data.preview import preview
from harness.cli.data.splits import splits

__all__ = ["check", "data", "export", "generate", "prepare", "preview", "splits"]
