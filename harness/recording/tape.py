"""A recorder for a CPU. It is slower than doing the work: it shows what a recording on a GPU would do."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import RecordingError
from harness.recording.host_contact import tensors_in, waiting
from harness.recording.recorder import Work


class TapeRecorder:
    """Keeps a list of operators with the tensors they read and write, and applies them again.

    As in a CUDA graph, recording changes no tensor, tensors keep their addresses, numbers of Python are frozen, random
    numbers go on from the seed at the time of the replay, and reading a value back is refused.
    """

    def __init__(self) -> None:
        self._tape: _Tape | None = None

    def warm_up(self, work: Work) -> Tensor | None:
        """Does the work."""
        return work()

    def capture(self, work: Work) -> Tensor | None:
        """Does the work and undoes it.

        Raises:
            RecordingError: It reads a value back.
        """
        tape = _Tape()
        random_state = torch.get_rng_state()
        try:
            with tape:
                result = work()
        finally:
            tape.undo()
            torch.set_rng_state(random_state)
        self._tape = tape
        return result

    def replay(self) -> None:
        """Applies the operators again, in order."""
        assert self._tape is not None
        self._tape.replay()

    def invalidate(self) -> None:
        """Forgets the list."""
        self._tape = None


class _Tape(TorchDispatchMode):
    """Sees every operator below autograd, so that those of a backward pass are among them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._entries: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._inference = torch.is_inference_mode_enabled()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if what := waiting(func, args, "cpu"):
            raise RecordingError.because(f"something {what} ({func.overloadpacket.__name__})")
        read = tensors_in((args, kwargs))
        for tensor in read:
            self._save(tensor)
        out = func(*args, **kwargs)
        written = tensors_in(out)
        # `reshape` and others, which inference mode shows whole, copy where a view cannot be had.
        if not func.is_view or not {_memory(tensor) for tensor in written} <= {_memory(tensor) for tensor in read}:
            self._own |= {_memory(tensor) for tensor in written if _memory(tensor) not in self._before}
            self._entries.append((func, args, kwargs, written))
        return out

    def _save(self, tensor: Tensor) -> None:
        """Keeps what a tensor from outside held; some operators write into arguments and do not declare it."""
        memory = _memory(tensor)
        if memory not in self._own and memory not in self._before:
            whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
            self._before[memory] = (whole, whole.clone())

    def undo(self) -> None:
        """Gives all tensors from outside what they held."""
        with torch.inference_mode():
            for whole, before in self._before.values():
                whole.copy_(before)
        self._before = {memory: (whole, whole) for memory, (whole, _) in self._before.items()}

    def replay(self) -> None:
        """Applies the operators to the same tensors; what they return goes where it went."""
        # Below autograd, which refuses to write into views that it has made.
        with torch.inference_mode(self._inference), torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, written in self._entries:
                for old, new in zip(written, tensors_in(func(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _memory(tensor: Tensor) -> int:
    """Returns the identity of a tensor's memory, also where tensors share it."""
    shared: int = tensor.untyped_storage()._cdata
    return shared
