"""Recorders: what keeps the kernels of a piece of work and launches them again."""

from collections.abc import Callable
from typing import Protocol

import torch

from harness.errors import HarnessError, RecordingError

#: Work on a device; what it returns is None, or tensors that every replay fills anew.
Work = Callable[[], torch.Tensor | None]


class Recorder(Protocol):
    """Records one piece of work.

    A recording holds the addresses of all tensors, so that they must stay where they are, and the values of all numbers
    of Python, which are frozen.
    """

    def warm_up(self, work: Work) -> torch.Tensor | None:
        """Does the work without recording it, as it must be done before the recording."""

    def capture(self, work: Work) -> torch.Tensor | None:
        """Records the work and executes nothing of it; returns what replays will fill.

        Raises:
            RecordingError: The work cannot be recorded. The device's memory may be unusable from then on.
        """

    def replay(self) -> None:
        """Does the recorded work again; random numbers go on from the seed that is set at the time."""

    def invalidate(self) -> None:
        """Forgets the recording and frees its memory."""


class CudaRecorder:
    """Records a CUDA graph, with memory of its own.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        # Warm-up and recording share one stream: gradients are accumulated on the stream of their first forward pass.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        self._graph: torch.cuda.CUDAGraph | None = None

    def warm_up(self, work: Work) -> torch.Tensor | None:
        """Does the work on the stream of the recording, after all that was asked of the device before."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        if result is not None:
            result.record_stream(current)  # its memory is not handed out again before the work on it is done
        return result

    def capture(self, work: Work) -> torch.Tensor | None:
        """Records the work.

        Loader threads go on pinning memory meanwhile: only this thread's calls are checked.

        Raises:
            RecordingError: Something in it cannot be recorded, or the recording does not fit in memory.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                result = work()
        except HarnessError:
            raise
        except Exception as error:  # of CUDA, of the allocator, of a network
            raise RecordingError.because(_first(error)) from error
        self._graph = graph
        return result

    def replay(self) -> None:
        """Launches the graph on the current stream."""
        assert self._graph is not None
        self._graph.replay()

    def invalidate(self) -> None:
        """Waits for the last replay and frees the graph with its memory."""
        if self._graph is not None:
            torch.cuda.synchronize(self._device)
            self._graph.reset()
            self._graph = None


def _first(error: BaseException) -> str:
    """Returns the error that came first, in a line: ending a recording that has failed raises another one."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
