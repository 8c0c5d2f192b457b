"""Work on a device that is recorded once and replayed: one launch for all its kernels, where Python would launch each.

:mod:`~harness.recording.work` decides when work is recorded, :mod:`~harness.recording.recorder` records it on CUDA,
:mod:`~harness.recording.tape` does the same on a CPU, for tests, and :mod:`~harness.recording.host_contact` finds what
a recording would break on or would freeze.
"""
