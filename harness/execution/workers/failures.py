"""What can go wrong with a cell, what to do about it, and whether another attempt may help."""

from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, NotFiniteError, RecordingError
from harness.execution.background import ProcessEndedError
from harness.results.attempt_folder import DISK_FULL

#: Attempts that end through no fault of the cell's are repeated this often, whatever `--retries` says.
LOST_RETRIES = 3

#: Ends that are not the cell's fault: its machine went, or somebody stopped it.
RETRIED_ALWAYS = frozenset({"lost", "stopped"})

#: Ends after which another attempt, from the last checkpoint, may fare better. What is wrong with the study, a loss
#: that is NaN and a full disk stay as they are.
RETRIED_IF_ASKED = frozenset({"exception", "out_of_memory", "timeout", "killed", *RETRIED_ALWAYS})

_TORCH_CANNOT_WRITE = ("PytorchStreamWriter failed writing", "unexpected pos")


@dataclass(frozen=True)
class Reason:
    """Why an attempt failed.

    Attributes:
        kind: ``refused`` (something the user can put right), ``not_finite``, ``not_recorded`` (the training step cannot
            be recorded), ``exception``, ``out_of_memory``, ``cuda_out_of_memory``, ``disk_full``; beside them
            ``timeout``, ``killed``, ``stopped`` and ``lost``, which no exception tells.
        text: What happened, in a sentence.
        hint: What to do.
    """

    kind: str
    text: str
    hint: str


class RankFailedError(Exception):
    """One of the processes that train a cell together failed, and took the others along.

    Args:
        reason: Why it failed.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


def explain(error: BaseException, log: Path) -> Reason:
    """Returns a failure's kind, reason and remedy, for a person."""
    if isinstance(error, RankFailedError):
        return error.reason
    if isinstance(error, ProcessEndedError):
        return Reason(error.kind, error.message, error.hint)
    if isinstance(error, NotFiniteError):
        return Reason("not_finite", error.message, error.hint)
    if isinstance(error, RecordingError):
        return Reason("not_recorded", error.message, error.hint)
    if isinstance(error, HarnessError):
        return Reason("refused", error.message, error.hint)
    first_line, remarks = str(error).partition("\n")[0], _remarks(error)
    if _is_cuda_out_of_memory(error):
        hint = (
            "Lower `sampling.batch_size` in the protocol, choose a smaller preset or fewer `--cells-per-gpu`; where "
            "the GPU augments batches, `augmentation.device: cpu` needs less of its memory."
        )
        return Reason("cuda_out_of_memory", f"Out of GPU memory. {first_line}{remarks}", hint)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "not enough memory" in str(error):
        return Reason("out_of_memory", f"Out of memory.{remarks}", "Run fewer cells at once: --workers.")
    if _is_full_disk(error):
        return Reason(
            "disk_full", f"The disk is full. {first_line}{remarks}", "Make room (`harness clean`), then run again."
        )
    if isinstance(error, SystemExit):
        text = f"The process ended with status {error.code or 0} and no result: something called `exit`."
        return Reason("exception", text.partition("\n")[0], f"The whole log: {log}")
    return Reason("exception", f"{type(error).__name__}: {first_line}{remarks}", f"The whole log: {log}")


def _remarks(error: BaseException) -> str:
    """Returns what was noted of an error in a line each, e.g. which case was being scored."""
    return "".join(f" ({note.rstrip('.')})" for note in getattr(error, "__notes__", ()) if "\n" not in note)


def _is_cuda_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "CUDA out of memory" in str(error)


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    # torch writes its files itself and says no more than this
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _TORCH_CANNOT_WRITE)
