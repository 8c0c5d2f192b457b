"""``python -m harness``: the command line where no script is installed."""

import sys

from harness.cli import main

sys.exit(main())
