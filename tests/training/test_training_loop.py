"""The loop: exact continuation, refusal of a NaN loss, restart, choice of weights."""

from __future__ import annotations

import errno
import math

import pytest
import torch
from torch import nn

from harness.data import DATASETS
from harness.data.batches.batches import Batch, TrainingBatches
from harness.data.preparation.normalisation import Normaliser
from harness.data.preparation.prepare import prepare
from harness.data.settings import AugmentationSettings, PreparationSettings, SamplingSettings
from harness.errors import TrainingError
from harness.training.checkpoint import Checkpoints
from harness.training.device import Precision, choose_device
from harness.training.loop import Hooks, Interrupted, Trainer
from harness.training.settings import CheckpointSettings, LossSettings, OptimiserSettings, TrainingSettings
from harness.training.validation import Validation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def batches(small_cortex, tmp_path_factory):
    dataset = DATASETS.get("cortex")
    reader = dataset.open(small_cortex)
    cases = prepare(
        dataset, reader, reader.split(0).train[:2], PreparationSettings(), (32, 32), tmp_path_factory.mktemp("cache")
    )
    normaliser = Normaliser.fit("zscore_train", cases)
    sampling = SamplingSettings(batch_size=2)
    return TrainingBatches(cases, normaliser, (32, 32), sampling, AugmentationSettings(p_noise=0.5), seed=0)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout2d(0.5), nn.ReLU(), nn.Conv2d(4, 3, 1)
    )


def settings(**changes):
    values = {"epochs": 4, "steps_per_epoch": 3, "validate_every": 2, "refresh_batchnorm": 2, "precision": "fp32"}
    return TrainingSettings(**{**values, **changes})


def found(dice, dead=False):
    return Validation(dice, dead)


def train(
    batches, folder, given=None, stop=lambda: False, net=None, validate=None, fresh=None, parts=1, on_device=False
):
    net = net or network()
    given = given or settings()
    hooks = Hooks(
        validate=validate or (lambda *_: found(0.5)),
        fresh_weights=fresh or (lambda: network().state_dict()),
        on_step=lambda _: None,
        on_epoch=lambda _: None,
        should_stop=stop,
    )
    precision, kept = Precision.choose(CPU, given, 2), Checkpoints(folder)
    trainer = Trainer(net, batches, given, precision, kept, 0, 0, hooks, parts, augment_on_device=on_device)
    return net, trainer.run()


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def same_history(one, other):
    def key(epoch):
        return epoch.epoch, epoch.step, epoch.loss, epoch.lr, repr(epoch.val_dice)

    return [key(epoch) for epoch in one] == [key(epoch) for epoch in other]


def test_equal_seeds_give_equal_weights(batches, tmp_path):
    first, history = train(batches, tmp_path / "a")
    second, again = train(batches, tmp_path / "b")
    assert equal(first, second)
    assert same_history(history, again)


@pytest.mark.parametrize("after", [1, 3, 11, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 4, 7))])
def test_a_training_stopped_after_any_step_continues_exactly(batches, tmp_path, after):
    whole, history = train(batches, tmp_path / "whole")
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        train(batches, tmp_path / "parts", stop=lambda: next(calls) >= after)
    continued, resumed = train(batches, tmp_path / "parts")
    assert equal(whole, continued)
    assert same_history(history, resumed)


def test_a_training_with_batches_augmented_on_the_device_continues_exactly(batches, tmp_path):
    whole, history = train(batches, tmp_path / "whole", on_device=True)
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        train(batches, tmp_path / "parts", stop=lambda: next(calls) >= 5, on_device=True)
    continued, resumed = train(batches, tmp_path / "parts", on_device=True)
    assert equal(whole, continued)
    assert same_history(history, resumed)
    assert not equal(whole, train(batches, tmp_path / "by patch")[0]), "noise has other fields"


def test_a_training_killed_between_checkpoints_continues_exactly(batches, tmp_path):
    """Killed after 5 of 12 steps: the checkpoint of epoch 1 (3 steps) is what is left."""
    whole, history = train(batches, tmp_path / "whole")

    class Killed(BaseException):
        pass

    class Lethal(type(batches)):
        def __getitem__(self, step):
            if step == 5:
                raise Killed
            return super().__getitem__(step)

    lethal = Lethal.__new__(Lethal)
    lethal.__dict__.update(batches.__dict__)
    with pytest.raises(Killed):
        train(lethal, tmp_path / "parts")
    continued, resumed = train(batches, tmp_path / "parts")
    assert equal(whole, continued)
    assert same_history(history, resumed)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(batches, tmp_path):
    whole, _ = train(batches, tmp_path / "whole")
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        train(batches, tmp_path / "parts", stop=lambda: next(calls) >= 8)
    last = tmp_path / "parts" / "last.pt"
    last.write_bytes(last.read_bytes()[:200])
    continued, _ = train(batches, tmp_path / "parts")
    assert equal(whole, continued)


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one_before(batches, tmp_path):
    calls = iter(range(100))
    with pytest.raises(Interrupted):
        train(batches, tmp_path, stop=lambda: next(calls) >= 7)
    (tmp_path / "last.pt").write_bytes(b"half a file")
    assert Checkpoints(tmp_path).load()["state"]["step"] == 6
    assert not (tmp_path / "last.pt").exists()
    assert Checkpoints(tmp_path).load()["state"]["step"] == 6, "the good one is still there"


@pytest.mark.parametrize("damage", [b"", b".", b"J", b"h\x00.", b"c\x9b\n\n.", b"half a file"])
def test_damage_of_any_kind_is_damage(tmp_path, damage):
    """Torch's reader ends on it with errors of many classes."""
    Checkpoints(tmp_path).save({"step": 1})
    Checkpoints(tmp_path).save({"step": 2})
    (tmp_path / "last.pt").write_bytes(damage)
    assert Checkpoints(tmp_path).load() == {"step": 1}


def test_a_checkpoint_whose_disk_does_not_answer_is_not_thrown_away(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"step": 1})

    def fails(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", fails)
        with pytest.raises(OSError, match="Input/output"):
            checkpoints.load()
    assert checkpoints.load() == {"step": 1}


def test_a_checkpoint_that_cannot_be_opened_is_not_thrown_away(tmp_path):
    (tmp_path / "last.pt").mkdir()
    with pytest.raises(OSError, match=r"last\.pt"):
        Checkpoints(tmp_path).load()
    assert (tmp_path / "last.pt").exists()


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(batches, tmp_path):
    """Exact where nothing couples the images of a batch: no BatchNorm, no dropout, Dice an image."""
    given = settings(
        epochs=1, steps_per_epoch=2, refresh_batchnorm=0, loss=LossSettings(batch_dice=False, dice_background=True)
    )

    def plain():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))

    whole, history = train(batches, tmp_path / "whole", given, net=plain())
    parts, again = train(batches, tmp_path / "parts", given, net=plain(), parts=2)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert again[0].loss == pytest.approx(history[0].loss, rel=1e-5)


def test_a_loss_that_is_no_number_stops_with_the_epoch(batches, tmp_path):
    class Exploding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 3, 1)

        def forward(self, images):
            return self.layer(images) * float("inf")

    with pytest.raises(TrainingError, match="loss of epoch 1 is nan") as error:
        train(batches, tmp_path, net=Exploding())
    assert "lr" in error.value.hint


def test_a_network_that_learns_nothing_is_restarted_once_with_momentum_095(batches, tmp_path):
    fresh = []

    def new_weights():
        fresh.append(1)
        return network().state_dict()

    given = settings(restart_if_dead_at=2, validate_every=1, optimiser=OptimiserSettings(lr=1e-3))
    train(batches, tmp_path, given, validate=lambda *_: found(0.0, dead=True), fresh=new_weights)
    assert fresh == [1]
    state = Checkpoints(tmp_path).load()
    assert state["optimiser"]["param_groups"][0]["momentum"] == 0.95


def test_a_network_that_scores_where_nothing_is_to_be_found_can_still_be_dead(batches, tmp_path):
    given = settings(restart_if_dead_at=2, validate_every=1)
    train(batches, tmp_path / "dead", given, validate=lambda *_: found(0.4, dead=True))
    train(batches, tmp_path / "alive", given, validate=lambda *_: found(0.4, dead=False))
    momentum = [
        Checkpoints(tmp_path / name).load()["optimiser"]["param_groups"][0]["momentum"] for name in ("dead", "alive")
    ]
    assert momentum == [0.95, 0.99]


def test_a_restart_as_released_renews_kernels_alone_and_keeps_the_momentum_buffers(batches, tmp_path):
    given = settings(
        epochs=2, restart_if_dead_at=1, validate_every=1, restart="convolutions", optimiser=OptimiserSettings(lr=1e-9)
    )
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train(batches, tmp_path, given, net=net, validate=lambda *_: found(0.0, dead=True))
    after, state = net.state_dict(), Checkpoints(tmp_path).load()["optimiser"]
    assert not torch.allclose(before["0.weight"], after["0.weight"], atol=1e-3)
    assert after["0.bias"].abs().max() < 1e-3 < before["0.bias"].abs().max()
    assert torch.allclose(before["1.weight"], after["1.weight"], atol=1e-3)  # BatchNorm stays
    assert state["param_groups"][0]["momentum"] == 0.95
    assert state["state"][0]["momentum_buffer"].abs().max() > 0


def test_weights_can_be_chosen_by_the_exponential_average_of_the_score(batches, tmp_path):
    scores, kept = iter([0.2, 0.9, 0.0, 0.5]), []

    def validate(net, _):
        kept.append({name: value.clone() for name, value in net.state_dict().items()})
        return found(next(scores))

    # Averages: .2, .27, .243, .2687: the second is the best. The highest score alone would say the same; so the last
    # epoch, whose score is above the first two averages, must lose.
    given = settings(validate_every=1, refresh_batchnorm=0, checkpoint=CheckpointSettings(select="best_average"))
    net, _ = train(batches, tmp_path, given, validate=validate)
    assert all(torch.equal(value, kept[1][name]) for name, value in net.state_dict().items())
    assert Checkpoints(tmp_path).load()["state"]["average"] == pytest.approx(0.2687)


def test_the_best_weights_are_tested_where_the_protocol_says_so(batches, tmp_path):
    scores = iter([0.9, 0.1, 0.1, 0.1])
    kept = []

    def validate(net, _):
        kept.append({name: value.clone() for name, value in net.state_dict().items()})
        return found(next(scores))

    given = settings(validate_every=1, refresh_batchnorm=0, checkpoint=CheckpointSettings(select="best"))
    net, _ = train(batches, tmp_path, given, validate=validate)
    assert all(torch.equal(value, kept[0][name]) for name, value in net.state_dict().items())


def test_damaged_best_weights_are_an_error_and_never_the_last_ones_instead(batches, tmp_path):
    scores = iter([0.9, 0.1])

    def validate(*_):
        for file in tmp_path.glob("*best*"):
            file.write_bytes(b"cut off")
        return found(next(scores))

    given = settings(epochs=2, validate_every=1, refresh_batchnorm=0, checkpoint=CheckpointSettings(select="best"))
    with pytest.raises(TrainingError, match="best validation score"):
        train(batches, tmp_path, given, validate=validate)


def test_validation_happens_when_the_protocol_says_and_at_the_end(batches, tmp_path):
    _, history = train(batches, tmp_path, settings(epochs=5, validate_every=2))
    assert [not math.isnan(epoch.val_dice) for epoch in history] == [False, True, False, True, True]


def test_refreshed_batchnorm_statistics_are_those_of_the_final_weights(batches, tmp_path):
    net, _ = train(batches, tmp_path, settings(refresh_batchnorm=3))
    with torch.no_grad():
        inputs = torch.cat([batches[step].images for step in (12, 13, 14)])
        expected = net[0](inputs).mean(dim=(0, 2, 3))
    assert torch.allclose(net[1].running_mean, expected, atol=1e-4)


def test_mixed_precision_trains_and_stays_finite(batches, tmp_path):
    _, history = train(batches, tmp_path, settings(precision="bf16"))
    assert all(math.isfinite(epoch.loss) for epoch in history)


def test_a_card_of_another_precision_continues(batches, tmp_path):
    """A cell that Slurm moves from a card with bfloat16 to one without begins to scale its loss there."""
    states = iter([False] * 6 + [True])
    with pytest.raises(Interrupted):
        train(batches, tmp_path, settings(precision="bf16"), stop=lambda: next(states))
    _, history = train(batches, tmp_path, settings(precision="fp16"))
    assert len(history) == 4
    assert all(math.isfinite(epoch.loss) for epoch in history)


class Flat(nn.Module):
    """A network of volumes that works on their slices, as 2.5D networks do; it holds weights of four dimensions."""

    def __init__(self):
        super().__init__()
        self.inside = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv3d(4, 3, 3, padding=1)

    def forward(self, images):
        slices = self.inside(images.transpose(1, 2).flatten(0, 1))
        return self.head(slices.unflatten(0, (len(images), -1)).transpose(1, 2))


class Volumes(torch.utils.data.Dataset):
    def __getitem__(self, step):
        return Batch(torch.ones(2, 1, 4, 8, 8), torch.ones(2, 4, 8, 8, dtype=torch.long))


def test_a_network_may_hold_weights_of_other_dimensions_than_its_images(tmp_path):
    given = settings(epochs=1, validate_every=1, channels_last=True, refresh_batchnorm=0)
    hooks = Hooks(lambda *_: found(0.5), dict, lambda _: None, lambda _: None, lambda: False)
    net = Flat()
    precision = Precision.choose(CPU, given, 3)
    assert len(Trainer(net, Volumes(), given, precision, Checkpoints(tmp_path), 0, 0, hooks).run()) == 1
    assert net.head.weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_gpu_bears_its_number(monkeypatch):
    """Several processes that train together refuse a device without one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == CPU
