"""Our form of a library's network or block against a plain call of the original: the same numbers, no slower.

Both sides hold the same weights and take turns in one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from monai.networks.nets import UNETR as MonaiUNETR
from monai.networks.nets.swin_unetr import WindowAttention as MonaiWindowAttention
from timm.models.swin_transformer import WindowAttention as TimmWindowAttention
from torch import Tensor, nn

from baselines.nnunet import SEGMENTER as NNUNET
from baselines.shared.windows import WindowAttention, shift_mask
from baselines.unetr import SEGMENTER as UNETR
from harness.segmenters import Task

ROUNDS = 9
#: Two sides of equal work differ by a few per cent from run to run.
SCATTER = 1.08

TASK = Task(("t1", "t1ce", "t2", "flair"), None, 4, (128, 128))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def step(network: nn.Module, x: Tensor) -> None:
    """One forward and backward pass."""
    output = network(x)
    loss = sum(one.square().mean() for one in (output if isinstance(output, list | tuple) else [output]))
    network.zero_grad(set_to_none=True)
    loss.backward()


def forward(network: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        network(x)


def medians(actions: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Returns the median seconds of each; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(ROUNDS + 1):
        for name, action in actions.items():
            start = time.process_time()  # one thread: the process's own time does not see its neighbours
            action()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compare(ours: nn.Module, original: nn.Module, x: Tensor, what: str, show: pytest.CaptureFixture[str]) -> None:
    """Prints and checks the ratios of evaluation pass and training step."""
    ours.eval(), original.eval()
    evaluated = medians({"ours": lambda: forward(ours, x), "original": lambda: forward(original, x)})
    ours.train(), original.train()
    trained = medians({"ours": lambda: step(ours, x), "original": lambda: step(original, x)})
    ratios = evaluated["ours"] / evaluated["original"], trained["ours"] / trained["original"]
    with show.disabled():
        print(f"\n{what}: forward {ratios[0]:.2f}, forward and backward {ratios[1]:.2f} of the original's time", end="")
    assert max(ratios) < SCATTER


@pytest.mark.benchmark
def test_unetr_is_no_slower_than_monais(capsys: pytest.CaptureFixture[str]) -> None:
    options = UNETR.parse_options({})
    ours = UNETR.build(TASK, options)
    original = MonaiUNETR(
        in_channels=4,
        out_channels=4,
        img_size=TASK.patch_size,
        feature_size=options.feature_size,
        hidden_size=options.hidden_size,
        mlp_dim=options.mlp_dim,
        num_heads=options.num_heads,
        proj_type=options.proj_type,
        norm_name="instance",
        spatial_dims=2,
    )
    original.load_state_dict(ours.state_dict(), strict=False)
    compare(ours, original, torch.randn(2, 4, 128, 128), "UNETR against MONAI's", capsys)


@pytest.mark.benchmark
def test_nnunet_is_no_slower_than_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    ours = NNUNET.build(TASK, {})
    original = PlainConvUNet(
        input_channels=4,
        n_stages=6,
        features_per_stage=[32, 64, 128, 256, 512, 512],
        conv_op=nn.Conv2d,
        kernel_sizes=[[3, 3]] * 6,
        strides=[[1, 1], *[[2, 2]] * 5],
        n_conv_per_stage=[2] * 6,
        num_classes=4,
        n_conv_per_stage_decoder=[2] * 5,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    original.load_state_dict(ours.state_dict())  # the same modules under the same names
    original.decoder.deep_supervision = True

    class Original(nn.Module):
        """The package's own switch between training and prediction, thrown by hand there."""

        def __init__(self) -> None:
            super().__init__()
            self.network = original

        def forward(self, x: Tensor) -> Tensor | list[Tensor]:
            self.network.decoder.deep_supervision = self.training
            return self.network(x)

    compare(ours, Original(), torch.randn(4, 4, 128, 128), "nnU-Net's network against the package's", capsys)


def library_attention(kind: str, dims: int) -> nn.Module:
    if kind == "timm":
        return TimmWindowAttention(96, num_heads=3, window_size=(7, 7))
    return MonaiWindowAttention(96, num_heads=3, window_size=(7,) * dims, qkv_bias=True)


@pytest.mark.benchmark
@pytest.mark.parametrize(("kind", "dims"), [("timm", 2), ("monai", 2), ("monai", 3)])
def test_window_attention_is_no_slower(kind: str, dims: int, capsys: pytest.CaptureFixture[str]) -> None:
    window, side = (7,) * dims, 56 if dims == 2 else 14
    ours, original = WindowAttention(96, window, heads=3), library_attention(kind, dims)
    weights = {name: value for name, value in original.state_dict().items() if "index" not in name}
    weights["position_bias.table"] = weights.pop("relative_position_bias_table")
    ours.load_state_dict(weights)
    mask = shift_mask((side,) * dims, window, (3,) * dims)
    assert mask is not None
    x = torch.randn(2 * len(mask), 7**dims, 96)

    class Masked(nn.Module):
        def __init__(self, attention: nn.Module) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, mask)

    with torch.inference_mode():
        assert torch.allclose(ours(x, mask), original(x, mask), atol=1e-5)
    compare(Masked(ours), Masked(original), x, f"Window attention in {dims}D against {kind}'s", capsys)
