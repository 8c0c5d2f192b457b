"""What fuzz tests share: documents changed at random, and a forked process that bounds memory and time."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

Content = TypeVar("Content")

#: Settings of every fuzz: what is drawn does not depend on the day, and failing inputs are printed, not stored.
CALM = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

#: Inputs that hypothesis draws in one go: it remembers all of them.
_TOGETHER = 500

#: Values that documents do not expect.
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 255, 256, 2**63, -(2**200), 1e308, -0.0, float("nan"), float("inf"), "", " ", "a", "0",
    "../x", "/", "~", "~nobody/x", "$HOME", "${X}", "-rf", ".", "..", "a/b", "\0", "a\0b", "\x1b[2J", "\r\n", "[/x]",
    "bad \ud800", "\u202eabc", "\ufeff", "肿瘤", "t\u043ey", "x" * 300, "x" * 5000, "default", "all", "none",
    "2026-13-45", [], {}, [[]], {"": {}}, [None], ["a", "a"], {"a": 1}, [0, -1, 1e400], {"name": "x"}, {"base": "x"},
]  # fmt: skip

#: Pieces of text that YAML, JSON or csv give a meaning, or should not hold.
PIECES = [
    "\0", "\ufeff", "\t", "\r", "\n", "\n\n", "  ", ":", ": ", "- ", ",", ";", "|", '"', "'", "{", "}", "[", "]", "&a ",
    "*a", "<<: *a", "!!int ", "!!python/object:os.system ", "!!binary ", "!!timestamp ", "---\n", "...", "%YAML 9\n",
    "? ", "#",
    "2026-13-45", "12:61:61", "1e999", "0x", "0o9", "1_0", ".inf", "\ud800", "\x85", "\u2028", "\x1b[2J", "9" * 5000,
    "[" * 200, "{a: " * 200, "sep=;\n", "1.234,5", "0,8", "nan", "=1+1", "é",
]  # fmt: skip


@contextmanager
def most_memory(extra: int) -> Iterator[None]:
    """Lets this process take no more than so many bytes besides what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (taken + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def run_bounded(fuzz: Callable[[Callable[[object], None]], Any], memory: int = 1 << 29, patience: float = 60) -> Any:
    """Returns what a fuzz returns in a forked process of bounded memory; fails if it raises, dies or stands still.

    Args:
        fuzz: Called with a function that it calls with each input before it tries it.
        memory: Bytes that the process may take besides those of this one.
        patience: Seconds that one input may take.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        try:
            with most_memory(memory):
                found = fuzz(lambda content: sender.send(("trying", repr(content)[:2000])))
            sender.send(("returned", found))
        except BaseException:
            sender.send(("raised", traceback.format_exc()[-5000:]))

    process = context.Process(target=work)
    process.start()
    sender.close()
    last = "nothing"
    try:
        while receiver.poll(patience):
            what, content = receiver.recv()
            if what == "returned":
                return content
            assert what == "trying", f"{content}\nat {last}"
            last = content
        raise AssertionError(f"{patience} seconds were not enough for {last}")
    except EOFError:
        process.join()
        raise AssertionError(f"the process ended with {process.exitcode} at {last}") from None
    finally:
        process.kill()
        process.join()


def tried(
    contents: st.SearchStrategy[Content],
    attempt: Callable[[Content], str],
    count: int,
    memory: int = 1 << 29,
    trains: bool = False,
) -> Counter[str]:
    """Returns how often an attempt ended in which way; each few hundred have a process and a seed of their own.

    Args:
        contents: What is tried.
        attempt: Tries one, and says how it ended; whatever it raises fails the test.
        count: Number of inputs.
        memory: Bytes that a process may take besides those of this one.
        trains: An attempt runs backward passes, which torch may refuse in a fork: it is tried in this process.
    """
    ends: Counter[str] = Counter()
    for first in range(0, count, _TOGETHER):

        def work(note: Callable[[object], None], first: int = first) -> Counter[str]:
            found: Counter[str] = Counter()

            @seed(first)
            @settings(CALM, max_examples=min(_TOGETHER, count - first))
            @given(contents)
            def one(content: Content) -> None:
                note(content)
                found[attempt(content)] += 1

            one()
            return found

        if trains:
            with most_memory(memory):
                ends += work(lambda content: None)
        else:
            ends += run_bounded(work, memory)
    return ends


def write_raw_folder(
    root: Path, facts: Mapping[str, Any], cases: Sequence[tuple[list[np.ndarray], np.ndarray]]
) -> None:
    """Writes a raw folder of nnU-Net.

    Args:
        root: The folder.
        facts: Content of ``dataset.json``.
        cases: Images (X, Y, Z), one per channel, and label map (X, Y, Z) of each case; they are called ``case0`` on.
    """
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for number, (images, label) in enumerate(cases):
        files = {f"imagesTr/case{number}_{channel:04d}": image for channel, image in enumerate(images)}
        for name, voxels in {**files, f"labelsTr/case{number}": label}.items():
            nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 3, 1])), root / f"{name}.nii.gz")
    (root / "dataset.json").write_text(json.dumps(facts))


def changed(document: Any, more: list[Any]) -> st.SearchStrategy[Any]:
    """Returns a strategy for a document with up to three of its parts replaced, removed, renamed, doubled or nested.

    Args:
        document: Mappings, lists and scalars.
        more: Values that stand for a part besides :data:`HOSTILE`.
    """
    change = st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["replace", "replace", "replace", "remove", "rename", "twice", "nest", "deepen"]),
        st.one_of(st.sampled_from([*HOSTILE, *more]), st.text(max_size=8), st.integers(), st.floats()),
    )
    return st.lists(change, max_size=3).map(lambda changes: _apply(document, changes))


def rewritten(text: str) -> st.SearchStrategy[bytes]:
    """Returns a strategy for a text with pieces put in, lines doubled, cut off, or in another encoding."""
    edit = st.tuples(
        st.sampled_from(["insert", "insert", "insert", "line", "cut", "over"]),
        st.integers(0, 10**6),
        st.sampled_from(PIECES),
    )
    encoding = st.sampled_from(["utf-8"] * 8 + ["utf-8-sig", "utf-16", "latin-1", "utf-32"])
    return st.tuples(st.lists(edit, max_size=3), encoding).map(lambda drawn: _encoded(_edit(text, drawn[0]), drawn[1]))


def _apply(document: Any, changes: list[tuple[int, str, Any]]) -> Any:
    for number, how, value in changes:
        places = list(_places(document, ()))
        path = places[number % len(places)]
        document = _with(document, path, how, value)
    return document


def _places(document: Any, above: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield above
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from _places(value, (*above, key))


def _with(document: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    if not path or (len(path) == 1 and how in ("remove", "rename", "twice")):
        return _changed_part(document, path, how, value)
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = _with(copy[path[0]], path[1:], how, value)
    return copy


def _changed_part(part: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    if not path:
        deep = part
        for _ in range(100 if how == "deepen" else 0):
            deep = [deep]
        return {"replace": value, "nest": {"a": [part, value]}, "deepen": deep}.get(how, part)
    if isinstance(part, list):
        at = path[0]
        return part[:at] + (part[at : at + 1] * 2 if how == "twice" else []) + part[at + 1 :]
    kept = {key: item for key, item in part.items() if key != path[0]}
    return kept if how == "remove" else {**part, str(value)[:50]: part[path[0]]}


def _edit(text: str, edits: list[tuple[str, int, str]]) -> str:
    for how, number, piece in edits:
        at = number % (len(text) + 1)
        lines = text.splitlines(keepends=True) or [""]
        line = number % len(lines)
        text = {
            "insert": text[:at] + piece + text[at:],
            "over": text[:at] + piece + text[at + len(piece) :],
            "cut": text[:at],
            "line": "".join([*lines[: line + 1], *lines[line:]]),
        }[how]
    return text


def _encoded(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")
