"""What the documentation tells its reader to do, and a place of its own to do it in.

A page is read as its reader would: a block of code with a title is a file to be written under that name, a block of
``sh`` holds commands to be typed one after another, in one shell.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "baselines").rglob("*.md")])

_FENCE = re.compile(r"^( *)```([\w-]*)([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"title=[\"']([^\"']+)[\"']")
_COMMENT = re.compile(r"(^|\s+)#\s.*$")


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        page: The page, relative to the repository.
        line: Where the block begins.
        language: What stands after the fence, e.g. ``sh``.
        title: Name of the file it is, or nothing.
        text: The code.
    """

    page: str
    line: int
    language: str
    title: str
    text: str

    def commands(self) -> list[str]:
        """The block's commands without comments; a line that ends in a backslash goes on in the next one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        bare = [re.sub(r"\s+", " ", _COMMENT.sub("", line)).strip() for line in lines]
        return [line for line in bare if line]


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent, language, rest, code = match.groups()
        title = _TITLE.search(rest)
        code = re.sub(rf"(?m)^{indent}", "", code)
        line = text[: match.start()].count("\n") + 1
        name = str(page.relative_to(ROOT))
        found.append(Block(name, line, language, title.group(1) if title else "", code))
    return found


def documented_commands() -> Iterator[tuple[Block, str]]:
    """Every command of every page."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == "sh":
                for command in block.commands():
                    yield block, command


def shortened(study: Mapping[str, Any]) -> dict[str, Any]:
    """A study that takes seconds: its own demo profile, under its protocol with very few steps.

    Commands are typed as the page gives them; what makes them quick is in the study file.
    """
    short = _merged(study, study.get("profiles", {}).get("demo", {}))
    protocol = short["protocol"] if isinstance(short["protocol"], dict) else {"base": short["protocol"]}
    short["protocol"] = _merged(protocol, _SHORT)
    if "tuning" in short:
        short["tuning"] |= {"trials": 2, "epochs": 2, "validate_every": 1}
    short["profiles"] = {
        name: {key: value for key, value in changes.items() if key != "protocol"} if name != "demo" else {}
        for name, changes in study.get("profiles", {}).items()
    }
    return short


_SHORT = {"training": {"epochs": 2, "steps_per_epoch": 2, "validate_every": 1, "refresh_batchnorm": 2}}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = _merged(both[key], value) if nested else value
    return both


class Sandbox:
    """A folder, a shell and an environment of Python of a reader; what is installed in it leaves ours alone.

    Attributes:
        folder: Where commands begin; also holds the reader's home.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = variables
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "home").mkdir(exist_ok=True)
        self._environment()
        self._state().write_text("")

    def write(self, name: str, text: str) -> None:
        """Writes a file that a page shows; a study is shortened."""
        path = self.here() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else None
        if isinstance(values, dict) and "matrix" in values:
            text = yaml.safe_dump(shortened(values), sort_keys=False)
        path.write_text(text)

    def here(self) -> Path:
        """The folder the shell is in."""
        where = self.folder / ".here"
        return Path(where.read_text().strip()) if where.exists() else self.folder

    def run(self, command: str, timeout: float = 600) -> tuple[int, str]:
        """Types a command; folder and variables are kept for the next one.

        Returns:
            Exit status, and all that was printed.
        """
        keep = f"export -p > {self._state()}; pwd > {self.folder / '.here'}"
        script = f"source {self._state()}\n{command}\nstatus=$?\n{keep}\nexit $status\n"
        bin_folder = self.folder / ".venv" / "bin"
        variables = {
            "PATH": f"{bin_folder}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "COLUMNS": "160",
            "OMP_NUM_THREADS": "1",
            "PIP_NO_INDEX": "1",  # what a package needs is there already, in our environment
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "LANG": "C.UTF-8",
            **self.variables,
        }
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self.here(),
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        return done.returncode, done.stdout

    def _state(self) -> Path:
        return self.folder / ".state"

    def _environment(self) -> None:
        """Makes ``.venv``: an empty environment that sees all of ours."""
        place = self.folder / ".venv"
        venv.create(place, symlinks=True)
        host = Path(sys.prefix)
        packages = next(path for path in (place / "lib").glob("python*/site-packages"))
        ours = host / packages.relative_to(place)
        (packages / "ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
        for script in (host / "bin").iterdir():
            target = place / "bin" / script.name
            if script.is_symlink() or not script.is_file() or target.exists():
                continue
            first, _, rest = script.read_bytes().partition(b"\n")
            if first.startswith(b"#!") and str(host).encode() in first:
                target.write_bytes(f"#!{place}/bin/python\n".encode() + rest)
                target.chmod(0o755)
