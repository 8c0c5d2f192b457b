"""Looks through a folder for words that must not be in it, whatever the kind of file."""

import html
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from harness.publication.names import Words


def find_leaks(folder: Path, words: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yields path in the folder and word, for each file whose name or content holds one of the words.

    Tables, arrays and weights are read: their bytes are compressed.
    """
    wanted = Words(words)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        texts = [name, *(_texts(path) if path.is_file() else ())]
        for word in dict.fromkeys(word for text in texts for word in wanted.found(text)):
            yield name, word


def _texts(path: Path) -> Iterator[str]:
    match path.suffix:
        case ".parquet":
            yield from _of_table(path)
        case ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                texts = [array for name in arrays if (array := arrays[name]).dtype.kind == "U"]
            yield "\n".join(str(text) for array in texts for text in array.ravel())
        case ".safetensors":
            with safe_open(str(path), framework="np") as file:
                yield "\n".join([*file.keys(), *(file.metadata() or {}).values()])
        case ".json":
            yield json.dumps(json.loads(path.read_bytes()), ensure_ascii=False, indent=0)
        case ".html":
            # Pictures inside were drawn from the other files.
            yield html.unescape(re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8")))
        case _:
            text = path.read_bytes().decode("utf-8", errors="replace")
            yield text.replace("\\", "") if path.suffix in (".tex", ".md") else text  # which escape signs of names


def _of_table(path: Path) -> Iterator[str]:
    rows = pq.read_table(path)
    yield "\n".join(str(value) for value in (rows.schema.metadata or {}).values())
    for column in rows.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield "\n".join(filter(None, column.unique().to_pylist()))
