"""What torch.compile needs: a compiler, and a folder for what it makes."""

import os
import shutil
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path

from harness.errors import TrainingError
from harness.user_folder import user_folder

#: Variable by which torch names the folder; a user's own choice stays.
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"

#: Programs that torch's inductor (C++, for a CPU) and Triton (C, for a GPU) look for, beside those of CXX and CC.
_COMPILERS = ("g++", "gcc", "clang++", "clang", "c++", "cc")


def prepare_compilation(
    environment: MutableMapping[str, str] = os.environ, which: Callable[[str], str | None] = shutil.which
) -> None:
    """Sees to it that the training step can be compiled, once per network for all cells of this user.

    Args:
        environment: Environment of the process; names the folder afterwards.
        which: Finds a program.

    Raises:
        TrainingError: There is no compiler, or no folder that is the user's alone: it holds code that is executed.
    """
    named = [environment[name] for name in ("CXX", "CC") if environment.get(name)]
    if not any(which(program) for program in (*named, *_COMPILERS)):
        raise TrainingError(
            f"`training.compile` needs a C compiler, and none was found ({', '.join((*named, *_COMPILERS))}).",
            hint="Install one (Debian and Ubuntu: apt install g++), or set `training.compile: none` in the protocol.",
        )
    if not environment.get(_FOLDER):
        environment[_FOLDER] = str(_private_folder(environment))


def _private_folder(environment: Mapping[str, str]) -> Path:
    """Returns a folder that only this user can read and write."""
    try:
        return user_folder("inductor", environment)
    except OSError as error:
        raise TrainingError(
            f"No folder for compiled code: {error}.",
            hint=f"Set {_FOLDER} to a folder that only you can write to.",
        ) from error
