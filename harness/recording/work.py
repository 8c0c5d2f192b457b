"""Work that is done as written at first, then recorded, then replayed."""

from collections.abc import Callable

from torch import Tensor

from harness.recording.recorder import Recorder

#: Times that a training step is done as written.
WARM_UP = 3


class RecordedWork:
    """Does the same work on inputs of one size, again and again.

    Everything else that the work reads and writes must stay in the same tensors, or :meth:`invalidate` be called.

    Args:
        work: Function of the inputs, on the device alone; returns nothing or a tensor.
        recorder: Records it.
        before_recording: Called before each recording.
        warm_up: Times the work is done as written after each start: libraries allocate and choose their kernels then.
    """

    def __init__(
        self,
        work: Callable[..., Tensor | None],
        recorder: Recorder,
        before_recording: Callable[[], None] = lambda: None,
        warm_up: int = WARM_UP,
    ) -> None:
        self._work = work
        self._recorder = recorder
        self._before_recording = before_recording
        self._warm_up = warm_up
        self._warmed_up = 0
        self._inputs: tuple[Tensor, ...] = ()
        self._result: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor | None:
        """Does the work once.

        Returns:
            The work's result, in memory of its own.

        Raises:
            RecordingError: It cannot be recorded; nothing was done.
        """
        if self._warmed_up < self._warm_up:
            self._warmed_up += 1
            return self._recorder.warm_up(lambda: self._work(*inputs))
        if not self._inputs:
            self._record(inputs)
        elif [one.shape for one in inputs] != [one.shape for one in self._inputs]:  # as good, but slower
            return self._recorder.warm_up(lambda: self._work(*inputs))
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self._recorder.replay()
        return None if self._result is None else self._result.clone()

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        kept = tuple(one.clone() for one in inputs)  # in the same memory format
        self._before_recording()
        self._result = self._recorder.capture(lambda: self._work(*kept))
        self._inputs = kept

    def invalidate(self) -> None:
        """Forgets the recording: another one follows, after doing the work as written for some times again."""
        self._warmed_up, self._inputs, self._result = 0, (), None
        self._recorder.invalidate()
