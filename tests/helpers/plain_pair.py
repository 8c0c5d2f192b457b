"""AAHN and its plain twin with the same weights, and how far their numbers are apart."""

from __future__ import annotations

import torch
from plain_aahn import PlainAAHN
from torch import Tensor

from aahn import SEGMENTER
from aahn.network import AAHN
from aahn.released_checkpoint import translate
from harness.segmenters.contract import Task
from harness.segmenters.released import import_weights

BATCH = 4


def pair(side: int) -> tuple[PlainAAHN, AAHN]:
    """Returns the two paths with the same weights, none of them zero: at side 128 the released configuration."""
    torch.manual_seed(0)
    options: dict[str, object] = {}
    if side == 128:
        plain = PlainAAHN()
    else:
        plain = PlainAAHN(
            side=side, width=16, depths=(1, 1, 1, 1), patch=2, vit_depth=2, dim=32, heads=2, mlp=16, head_width=16
        )
        options = {
            "width": 16, "leading_depths": (1, 1, 1, 1), "token_patch": 2, "vit_depth": 2, "vit_dim": 32,
            "vit_heads": 2, "vit_mlp_dim": 16, "head_width": 16,
        }  # fmt: skip
    with torch.no_grad():
        for parameter in plain.parameters():
            if not parameter.any():  # what starts as the identity hides its inside
                parameter.normal_(std=0.1)
    ours = SEGMENTER.build(Task(("t1", "t1ce", "t2", "flair"), 1, 4, (side, side)), options)
    assert isinstance(ours, AAHN)
    assert import_weights(ours, plain.state_dict(), translate).complete
    return plain, ours


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


def gradient_difference(plain: PlainAAHN, ours: AAHN) -> float:
    """Returns the relative difference of the two paths' gradients, over all parameters."""
    given = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.grad is not None}
    needed = dict(ours.named_parameters())
    translated = translate(given, ours).weights
    assert translated.keys() == needed.keys()
    squares = [(float((translated[name] - p.grad).square().sum()), float(p.grad.square().sum()))
               for name, p in needed.items() if p.grad is not None]  # fmt: skip
    assert len(squares) == len(needed)
    return (sum(difference for difference, _ in squares) / sum(norm for _, norm in squares)) ** 0.5


def compare(plain: PlainAAHN, ours: AAHN, side: int) -> tuple[float, float, float]:
    """Returns relative differences: logits in eval mode, logits in training mode, gradients."""
    torch.manual_seed(1)
    x = torch.randn(BATCH, 4, side, side).to(next(plain.parameters()))
    with torch.no_grad():
        evaluated = relative(ours.eval()(x), plain.eval()(x))
    logits = []
    for network in (plain.train(), ours.train()):
        torch.manual_seed(2)  # the same channels drop out
        logits.append(network(x))
        logits[-1].square().mean().backward()
    return evaluated, relative(logits[1], logits[0]), gradient_difference(plain, ours)
