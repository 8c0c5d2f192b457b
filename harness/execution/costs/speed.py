"""What GPUs and their hosts reach of what is stated, fitted to published times; docs/performance.md shows on which.

An operation takes its arithmetic or its memory traffic, whichever is longer, and a constant beside it for starting and
ending its kernel. Steps as written take no less than the host needs to launch their kernels one by one; recorded steps
are launched at once. A step waits for its batch where loader processes are slower.
"""

from dataclasses import dataclass

from harness.execution.costs.gpus import GpuSpec
from harness.segmenters.size import Operation, Work


@dataclass(frozen=True)
class Speed:
    """Parameters of the estimate; ``scripts/fit_costs.py`` fits those from ``kernel`` to ``loading_3d``.

    Attributes:
        compute: Share of the peak rate that a matrix product or convolution reaches.
        bandwidth: Share of the memory's bandwidth that an operation's counted traffic reaches.
        kernel: Seconds of an operation beside its arithmetic and traffic.
        per_map: How often an InstanceNorm would have to move its maps at the stated bandwidth to take as long as it
            does: torch gives a whole map to one block of threads.
        per_map_compiled: The same where it is compiled.
        fused: Time of operations without arithmetic where they are compiled into others, against as written.
        loading_3d: Seconds of a loader process for a voxel of a channel of a volume; the label is one more channel.
        idle: Share of the board's power drawn while the GPU waits.
        rising: Share added where it always computes, up to ``most``.
        most: Share of the board's power drawn at most.
    """

    compute: float = 0.6
    bandwidth: float = 0.6
    kernel: float = 4.1e-6
    per_map: float = 20.0
    per_map_compiled: float = 9.0
    fused: float = 0.35
    loading_3d: float = 1.1e-7
    idle: float = 0.25
    rising: float = 0.92
    most: float = 0.97

    def forward(self, work: Work, gpu: GpuSpec, compiled: bool) -> float:
        """Returns the GPU's seconds for a forward pass.

        Args:
            work: The pass.
            gpu: GPU model.
            compiled: Whether torch.compile has fused its operations.
        """
        return sum(self._operation(one, gpu, compiled) for one in work.operations)

    def launches(self, work: Work, compiled: bool) -> float:
        """Returns how many kernels the host launches for a forward pass that is not recorded."""
        return sum(self._left(one, compiled) for one in work.operations)

    def power(self, busy: float) -> float:
        """Returns the share of the board's power drawn where the GPU computes for a share of the time."""
        return min(self.most, self.idle + self.rising * busy)

    def _operation(self, one: Operation, gpu: GpuSpec, compiled: bool) -> float:
        traffic = one.traffic / (gpu.bandwidth * 1e9)
        if one.per_map:
            moved = traffic * (self.per_map_compiled if compiled else self.per_map)
        else:
            moved = traffic / self.bandwidth
        seconds = max(one.flops / (gpu.peak(one.rate) * self.compute), moved) + self.kernel
        return seconds * self._left(one, compiled)

    def _left(self, one: Operation, compiled: bool) -> float:
        """Returns what compiling leaves of an operation: nothing is fused into arithmetic and norms."""
        return self.fused if compiled and not one.flops and not one.per_map else 1.0


FITTED = Speed()


@dataclass(frozen=True)
class Bound:
    """One end of the stated range, or the usual estimate, as factors and times of the parts of a step.

    Attributes:
        device: Factor of the GPU's time.
        launch: Seconds that a host of which nothing is known needs to launch a kernel.
        measured_launch: Factor where `harness doctor` has measured that.
        loading_2d: Factor of the loader processes' time for slices.
        loading_3d: The same for volumes, whose published trainings had slower cores than ours.
    """

    device: float
    launch: float
    measured_launch: float
    loading_2d: float
    loading_3d: float


#: The device's range holds nine in ten of the published times that were not fitted; a good workstation launches a
#: kernel in 5 to 8 us, a slow virtual machine in 40.
LOW = Bound(device=0.7, launch=4e-6, measured_launch=0.6, loading_2d=0.4, loading_3d=0.25)
USUAL = Bound(device=1.0, launch=8e-6, measured_launch=1.0, loading_2d=1.0, loading_3d=1.0)
HIGH = Bound(device=1.45, launch=40e-6, measured_launch=1.5, loading_2d=2.0, loading_3d=1.6)

#: One loader process makes a batch of 16 patches of 128 x 128, four modalities and a label, all augmentation, in 47 ms
#: (docs/preparation.md).
_LOADING_2D = 0.047 / (16 * 128 * 128 * 5)

#: What is left of it where the GPU augments: one slice took 0.24 ms of a core without augmentation, 2.9 ms with it.
READING = 0.08


def host_seconds(work: Work, compiled: bool, bound: Bound, launch: float | None, speed: Speed = FITTED) -> float:
    """Returns what the host needs to launch a forward pass as written.

    Args:
        work: The pass.
        compiled: Whether torch.compile has fused its operations.
        bound: Which estimate.
        launch: Seconds of one launch as measured; None where nothing is known.
        speed: Fitted parameters.
    """
    each = bound.launch if launch is None else launch * bound.measured_launch
    return each * speed.launches(work, compiled)


def loading_seconds(voxels: int, channels: int, dimensions: int, bound: Bound, speed: Speed = FITTED) -> float:
    """Returns what one loader process needs for a batch.

    Args:
        voxels: Of all patches of the batch.
        channels: Modalities.
        dimensions: Of a patch.
        bound: Which estimate.
        speed: Fitted parameters.
    """
    if dimensions == 3:
        return voxels * (channels + 1) * speed.loading_3d * bound.loading_3d
    return voxels * (channels + 1) * _LOADING_2D * bound.loading_2d
