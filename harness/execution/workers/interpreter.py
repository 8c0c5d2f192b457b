"""How processes of ours are started."""

import sys

#: This interpreter, without the working directory on its path: a file or folder there, say ``random.py`` or the source
#: of a user's own network, must not be taken for a package that is installed.
PYTHON = (sys.executable, "-P")
