"""Several processes that train one cell: the worker is the first of them and starts the others.

``python -m harness.execution.peers CELL_FOLDER --rank 1 --ranks 4 ...`` is one of the others. It trains with the first,
writes nothing, and ends with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from harness.training.ranks import Ranks, join

__all__ = ["lead", "main"]

#: Seconds the others have to end by themselves once the first is through.
_GRACE = 20.0


@contextmanager
def lead(count: int, folder: Path, cache: Path, device: torch.device, accumulate: int) -> Iterator[Ranks]:
    """Starts the other processes and joins them; ends them with the block.

    Args:
        count: Processes in all; 1 starts none.
        folder: The cell's folder.
        cache: Folder of prepared data, complete already: the others read it.
        device: Device of the first process; on CUDA the others take the next ones.
        accumulate: Parts a batch is cut into.
    """
    if count == 1:
        yield Ranks()
        return
    with tempfile.TemporaryDirectory(prefix="harness-ranks-") as place:
        meeting = Path(place) / "meeting"
        command = [sys.executable, "-m", "harness.execution.peers", str(folder), "--cache", str(cache)]
        command += ["--ranks", str(count), "--meeting", str(meeting), "--device", device.type]
        command += ["--threads", str(torch.get_num_threads()), "--accumulate", str(accumulate)]
        peers = [
            subprocess.Popen([*command, "--rank", str(rank)], stdin=subprocess.DEVNULL)  # noqa: S603 - our own module
            for rank in range(1, count)
        ]
        try:
            with join(0, count, device, meeting) as ranks:
                yield ranks
            for peer in peers:
                with suppress(subprocess.TimeoutExpired):  # it has nothing more to give, and is ended below
                    peer.wait(_GRACE)
        finally:
            for peer in peers:
                if peer.poll() is None:
                    peer.kill()
                    peer.wait()


def main(arguments: list[str] | None = None) -> int:
    """Trains beside the first process; returns the exit status."""
    parser = argparse.ArgumentParser(description="Trains a cell beside its worker.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--meeting", type=Path, required=True)
    for name in ("--rank", "--ranks", "--threads", "--accumulate"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args(arguments)

    from harness.execution.own_training import train_beside
    from harness.results.store import CellFolder
    from harness.study.cell import CellSpec
    from harness.training.loop import Interrupted

    torch.set_num_threads(given.threads)
    device = torch.device(f"cuda:{given.rank}" if given.device == "cuda" else given.device)
    folder = CellFolder(given.folder)
    with join(given.rank, given.ranks, device, given.meeting) as ranks:
        try:
            train_beside(CellSpec.from_json(folder.spec()), folder, given.cache, device, ranks, given.accumulate)
        except Interrupted:
            return 0  # the first process wrote the checkpoint
    return 0


if __name__ == "__main__":
    sys.exit(main())
