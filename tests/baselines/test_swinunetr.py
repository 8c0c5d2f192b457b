from __future__ import annotations

import pytest
import torch
from golden import PRECISIONS, Arithmetic, Golden, unfilled
from monai.networks.nets import SwinUNETR

from baselines.swinunetr import SEGMENTER
from harness.errors import StudyError
from harness.segmenters import Task
from harness.segmenters.size import count, measure

SLICES = Task(("ct", "pet"), None, 3, (64, 32))
OFFICIAL = [
    (3, {}, 3, 62_191_941),
    (3, {"preset": "v2"}, 3, 72_767_301),
    (3, {"feature_size": 24}, 4, 15_705_646),
    (2, {}, 4, 25_140_094),
    (2, {"preset": "v2"}, 4, 28_665_214),
]


@pytest.mark.parametrize(("dims", "options", "classes", "expected"), OFFICIAL)
def test_parameters_equal_the_official_ones(dims: int, options: dict, classes: int, expected: int) -> None:
    task = Task(("flair", "t1ce", "t1", "t2"), None, classes, (64,) * dims)
    assert sum(parameter.numel() for parameter in unfilled(SEGMENTER, task, options).parameters()) == expected


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "options"), [("swinunetr", {}), ("swinunetr_v2", {"preset": "v2"})])
def test_function_is_that_of_the_golden(name: str, options: dict, precision: Arithmetic) -> None:
    golden = Golden.load(name, precision)
    network = unfilled(SEGMENTER, Task(("flair", "t1ce", "t1", "t2"), None, 3, (64, 64, 64)), options, precision)
    missing, unexpected = network.load_state_dict(golden.released(), strict=False)
    assert not unexpected
    assert set(missing) == set(golden.facts["not_filled"])
    golden.check_network(network, lambda path: path)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_function_and_initialisation_are_monais(version: str) -> None:
    torch.manual_seed(5)
    ours = SEGMENTER.build(SLICES, {"preset": "tiny", "version": version}).eval()
    torch.manual_seed(5)
    monais = SwinUNETR(
        2, 3, depths=(2, 1, 1, 1), window_size=4, feature_size=12, spatial_dims=2, use_v2=version == "v2"
    ).eval()
    assert ours.state_dict().keys() == monais.state_dict().keys()
    image = torch.randn(2, 2, *SLICES.patch_size)
    with torch.no_grad():
        assert torch.equal(ours(image), monais(image))


@pytest.mark.slow
def test_size_is_measured_though_its_constructor_reads_a_tensor() -> None:
    options = SEGMENTER.parse_options({"preset": "tiny"})
    size = measure(SEGMENTER, SLICES, options)
    work = count(SEGMENTER, SLICES, options, batch=2, mixed=True)
    built = sum(parameter.numel() for parameter in SEGMENTER.build(SLICES, options).parameters())
    assert size.parameters == work.parameters == built
    assert sum(operation.flops for operation in work.operations) == pytest.approx(2 * 1e9 * size.gflops)


@pytest.mark.parametrize(
    ("patch_size", "nearest"), [((100, 128), "96 x 128"), ((32, 32, 32), "64 x 64 x 64"), ((64, 40), "64 x 32")]
)
def test_patch_it_cannot_take_is_refused_with_the_nearest_valid_one(patch_size: tuple[int, ...], nearest: str) -> None:
    with pytest.raises(StudyError, match="swinunetr") as caught:
        SEGMENTER.build(Task(("ct",), None, 2, patch_size), {"preset": "tiny"})
    assert nearest in str(caught.value)
