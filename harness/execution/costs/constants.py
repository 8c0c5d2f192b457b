"""Constants that the estimators of time and memory share."""

#: A training step takes about as long as three forward passes: forward, and twice that backward.
STEP_OVER_FORWARD = 3

#: Memory of tensors times this is what PyTorch's allocator holds: fragments and rounding.
ALLOCATOR_OVERHEAD = 1.15

#: GB a process needs beside its tensors: CUDA context, cuDNN workspaces.
CUDA_GB = 0.9

#: Share of a GPU's memory that cells are given.
USABLE_MEMORY = 0.95
