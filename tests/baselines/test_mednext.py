from __future__ import annotations

import pytest
import torch
from monai.networks.nets.mednext import create_mednext
from torch import nn
from torch.nn import functional

from baselines.mednext import SEGMENTER
from baselines.mednext.released import translate
from harness.errors import HarnessError, StudyError
from harness.segmenters import Task
from harness.segmenters.released import import_weights

MODALITIES = ("t1", "t1ce", "t2", "flair")
VOLUMES = Task(MODALITIES, None, 4, (128, 128, 128))
#: Size, and parameters without and with deep supervision: the authors' code, then MONAI's.
COUNTS = [
    ("S", "released", 5_551_076, 5_554_932),
    ("B", "released", 10_526_468, 10_530_324),
    ("M", "released", 17_549_124, 17_552_980),
    ("L", "released", 61_779_428, 61_783_284),
    ("B", "monai", 10_511_012, 10_514_868),
    ("M", "monai", 17_533_668, 17_537_524),
    ("L", "monai", 61_726_916, 61_730_772),
]
#: The authors' networks with kernels of 5.
COUNTS_OF_KERNEL_5 = [("S", 5_980_708), ("B", 10_956_100), ("M", 18_260_996), ("L", 62_993_060)]


def parameters(options: dict, task: Task = VOLUMES) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in SEGMENTER.build(task, options).parameters())


@pytest.mark.parametrize(("size", "expansion", "plain", "supervised"), COUNTS)
def test_parameters_equal_the_official_ones(size: str, expansion: str, plain: int, supervised: int) -> None:
    options = {"size": size, "down_expansion": expansion}
    assert parameters({**options, "deep_supervision": False}) == plain
    assert parameters(options) == supervised


@pytest.mark.parametrize(("size", "expected"), COUNTS_OF_KERNEL_5)
def test_wider_kernels_have_the_official_parameters(size: str, expected: int) -> None:
    assert parameters({"size": size, "kernel": 5, "deep_supervision": False}) == expected


def test_presets_are_the_authors_sizes() -> None:
    found = [parameters({"preset": preset}) for preset in ("paper", "base", "medium", "large")]
    assert found == [supervised for _, expansion, _, supervised in COUNTS if expansion == "released"]


@pytest.mark.parametrize(("size", "expansion"), [("S", "released"), ("B", "monai")])
def test_function_is_monais(size: str, expansion: str) -> None:
    task = Task(("ct", "pet"), None, 3, (32, 16))
    ours = SEGMENTER.build(task, {"size": size, "down_expansion": expansion, "deep_supervision": False}).eval()
    monais = create_mednext(size, 2, 2, 3).eval()
    monais.load_state_dict(ours.state_dict())
    image = torch.randn(2, 2, 32, 16)
    with torch.no_grad():
        assert torch.equal(ours(image), monais(image))


def test_downsampling_has_the_expansion_of_the_next_level() -> None:
    with torch.device("meta"):
        network = SEGMENTER.build(VOLUMES, {"preset": "large"})
    found = [block.conv2.out_channels // block.conv2.in_channels for block in network.down_blocks]
    assert found == [4, 8, 8, 8]


def official_names(network: nn.Module) -> dict[str, torch.Tensor]:
    """Returns a state dict under the authors' names, written down from their class."""
    kinds = {
        "enc_stages": lambda n: f"enc_block_{n}",
        "down_blocks": lambda n: f"down_{n}",
        "up_blocks": lambda n: f"up_{3 - n}",
        "dec_stages": lambda n: f"dec_block_{3 - n}",
        "out_blocks": lambda n: f"out_{4 - n}",
    }
    named = {"dummy_tensor": torch.ones(1)}
    for name, tensor in network.state_dict().items():
        kind, _, rest = name.partition(".")
        number, _, tail = rest.partition(".")
        named[f"{kinds[kind](int(number))}.{tail}" if kind in kinds else name] = tensor
    return named


@pytest.mark.parametrize("supervised", [True, False])
def test_released_weights_have_their_places(supervised: bool) -> None:
    task = Task(("ct", "pet"), None, 3, (32, 32))
    theirs = SEGMENTER.build(task, {"preset": "tiny"})
    ours = SEGMENTER.build(task, {"preset": "tiny", "deep_supervision": supervised})
    released = official_names(theirs)
    assert {"enc_block_0.0.conv1.weight", "down_3.res_conv.weight", "up_3.conv1.weight", "out_4.conv_out.bias"} <= set(
        released
    )
    report = import_weights(ours, released, translate)
    assert report.complete
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
    with pytest.raises(HarnessError, match=r"1 surplus: other\.weight"):
        import_weights(ours, {**released, "other.weight": torch.ones(1)}, translate)


@pytest.mark.parametrize(
    ("patch_size", "nearest"), [((100, 128), "96 x 128"), ((16, 16, 16), "32 x 32 x 32"), ((8, 64, 70), "16 x 64 x 64")]
)
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(patch_size: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(StudyError, match="mednext") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)


#: The authors' expansions and blocks: four levels of the encoder, the bottleneck, four of the decoder, coarse to fine.
EXPANSIONS = {"B": (2, 3, 4, 4, 4, 4, 4, 3, 2), "M": (2, 3, 4, 4, 4, 4, 4, 3, 2), "L": (3, 4, 8, 8, 8, 8, 8, 4, 3)}
BLOCKS = {"B": (2,) * 9, "M": (3, 4, 4, 4, 4, 4, 4, 4, 3), "L": (3, 4, 8, 8, 8, 8, 8, 4, 3)}


class Written:
    """The authors' network, written down from its description as functions of weights under their names.

    Args:
        weights: The weights.
        blocks: Number of blocks of each level.
    """

    def __init__(self, weights: dict[str, torch.Tensor], blocks: tuple[int, ...]) -> None:
        self.weights, self.blocks = weights, blocks
        self.expansions: dict[str, int] = {}

    def of(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]

    def inside(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """What follows the depthwise convolution of every block."""
        widen, narrow = self.of(f"{name}.conv2"), self.of(f"{name}.conv3")
        self.expansions[name] = widen[0].shape[0] // widen[0].shape[1]
        x = functional.group_norm(x, x.shape[1], *self.of(f"{name}.norm"))
        return functional.conv3d(functional.gelu(functional.conv3d(x, *widen)), *narrow)

    def block(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x + self.inside(name, functional.conv3d(x, *self.of(f"{name}.conv1"), padding=1, groups=x.shape[1]))

    def down(self, name: str, x: torch.Tensor) -> torch.Tensor:
        narrow = functional.conv3d(x, *self.of(f"{name}.conv1"), padding=1, stride=2, groups=x.shape[1])
        return functional.conv3d(x, *self.of(f"{name}.res_conv"), stride=2) + self.inside(name, narrow)

    def up(self, name: str, x: torch.Tensor) -> torch.Tensor:
        wide = functional.conv_transpose3d(x, *self.of(f"{name}.conv1"), padding=1, stride=2, groups=x.shape[1])
        short_cut = functional.conv_transpose3d(x, *self.of(f"{name}.res_conv"), stride=2)
        front = (1, 0, 1, 0, 1, 0)
        return functional.pad(short_cut, front) + functional.pad(self.inside(name, wide), front)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        skips, x = [], functional.conv3d(x, *self.of("stem"))
        for level in range(4):
            x = self.level(f"enc_block_{level}", level, x)
            skips.append(x)
            x = self.down(f"down_{level}", x)
        x = self.level("bottleneck", 4, x)
        for level in (3, 2, 1, 0):
            x = self.level(f"dec_block_{level}", 8 - level, skips[level] + self.up(f"up_{level}", x))
        return functional.conv_transpose3d(x, *self.of("out_0.conv_out"))

    def level(self, name: str, place: int, x: torch.Tensor) -> torch.Tensor:
        for number in range(self.blocks[place]):
            x = self.block(f"{name}.{number}", x)
        return x


@pytest.mark.parametrize("size", ["B", "M", "L"])
def test_function_is_the_authors_written_down_from_its_description(size: str) -> None:
    """Of these sizes MONAI's class is another function; there are no outputs of the authors' code to compare with."""
    torch.manual_seed(0)
    task = Task(("ct", "pet"), None, 3, (32, 16, 16))
    network = SEGMENTER.build(task, {"size": size, "width": 2, "deep_supervision": False}).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    written = Written(official_names(network), BLOCKS[size])
    image = torch.randn(1, 2, 32, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = network(image), written(image)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11 * float(theirs.abs().max()))
    # Every weight has its place, and a block that leads to another level has the expansion of that level.
    places = {"enc_block": lambda n: n, "down": lambda n: n + 1, "up": lambda n: 8 - n, "dec_block": lambda n: 8 - n}
    for name, expansion in written.expansions.items():
        kind, _, number = name.split(".")[0].rpartition("_")
        assert expansion == EXPANSIONS[size][places[kind](int(number)) if kind else 4], name
    assert len(written.expansions) == sum(BLOCKS[size]) + 8


def test_tiny_network_trains_in_channels_last_on_a_cpu():
    task = Task(("t1", "t2"), None, 4, (64, 64))
    network = SEGMENTER.build(task, {"preset": "tiny"}).to(memory_format=torch.channels_last).train()
    strided = [
        m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride == (2, 2)
    ]
    assert strided
    assert min(m.in_channels for m in strided) >= 16, "torch crashes there, and takes this process with it"
    images = torch.randn(2, 2, 64, 64).contiguous(memory_format=torch.channels_last)
    network(images)[0].square().mean().backward()
    assert all(bool(m.weight.grad.isfinite().all()) for m in strided)
