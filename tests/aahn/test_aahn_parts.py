"""The parts against formulas written another way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from aahn.blocks import unscaled_attention
from aahn.cmhgf import GraphFusion, NodeSimilarity, reread
from aahn.options import AAHNOptions
from aahn.tcfaf import CrossModalityAttention
from aahn.transformer_branch import VisionTransformer, gather_tokens, resize_positions, scatter_tokens


def test_a_token_takes_every_nth_pixel() -> None:
    x = torch.randn(2, 5, 8, 12)
    tokens = gather_tokens(x, patch=4).reshape(2, 2, 3, 4, 4, 5)
    for row in range(2):
        for column in range(3):
            expected = x[:, :, row::2, column::3].permute(0, 2, 3, 1)
            assert torch.equal(tokens[:, row, column], expected)


def test_scattering_undoes_gathering() -> None:
    x = torch.randn(2, 5, 8, 12)
    assert torch.equal(scatter_tokens(gather_tokens(x, 4), (2, 3), 4), x)


def test_positions_are_resized_smoothly_and_the_class_token_kept() -> None:
    ramp = torch.arange(4.0).repeat_interleave(4)[:, None]  # rows 0, 1, 2, 3 of a 4 x 4 grid
    positions = torch.cat([torch.full((1, 1), 9.0), ramp])
    small = resize_positions(positions, (4, 4), (2, 3))
    assert small[0] == 9
    torch.testing.assert_close(small[1:].reshape(2, 3), torch.tensor([[0.5] * 3, [2.5] * 3]))
    assert resize_positions(positions, (4, 4), (4, 4)) is positions
    with pytest.raises(ValueError, match="do not belong"):
        resize_positions(positions, (3, 4), (2, 2))


def test_class_token_and_positions_start_standard_normal() -> None:
    options = AAHNOptions(width=8, vit_depth=1, vit_heads=1, vit_head_dim=4, vit_mlp_dim=4, token_patch=1)
    vit = VisionTransformer(2, (16, 16), options)
    assert vit.positions.shape == (257, 768)
    assert abs(vit.positions.std().item() - 1) < 0.02
    assert abs(vit.class_token.std().item() - 1) < 0.15


def test_unscaled_attention_is_a_plain_softmax() -> None:
    query, key, value = torch.randn(2, 6, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    expected = torch.softmax(query @ key.transpose(1, 2), dim=-1) @ value
    torch.testing.assert_close(unscaled_attention(query, key, value), expected)


def test_unscaled_attention_survives_half_precision() -> None:
    query = torch.full((1, 4, 64), 60.0, dtype=torch.float16)  # energies of 230 400, beyond fp16's 65 504
    value = torch.randn(1, 4, 64).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = unscaled_attention(query, query, value)
    assert found.dtype == torch.float16
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, value.mean(1, keepdim=True).expand_as(value), rtol=1e-2, atol=1e-2)


def test_cross_modality_attention_starts_as_the_identity() -> None:
    attention = CrossModalityAttention(8)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(attention(x, torch.randn(2, 8, 4, 4)), x)


def test_cross_modality_attention_by_its_formula() -> None:
    attention = CrossModalityAttention(8).eval()
    torch.nn.init.normal_(attention.out[1].weight)
    x, y = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)
    energy = torch.einsum("bep,beq->bpq", attention.query(x).flatten(2), attention.key(y).flatten(2))
    found = torch.einsum("bpq,beq->bep", energy.softmax(-1), attention.value(x).flatten(2)).reshape(2, 4, 4, 4)
    torch.testing.assert_close(attention(x, y), x + attention.out(found), rtol=1e-4, atol=1e-5)


def test_rereading_is_no_transpose() -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)
    assert reread(x).tolist() == [[[0, 1], [2, 3], [4, 5]]]


def test_node_similarity_by_its_formula() -> None:
    similarity = NodeSimilarity(6)
    leading, transformer = torch.randn(2, 6, 10), torch.randn(2, 6, 10)
    query = similarity.query(leading).reshape(2, 10, 3)
    key = similarity.key(transformer).reshape(2, 10, 3)
    value = similarity.value(transformer).reshape(2, 10, 3)
    attention = F.softmax(query.transpose(1, 2) @ key, dim=-1)
    expected = similarity.out((value @ attention.transpose(1, 2)).transpose(1, 2))
    torch.testing.assert_close(similarity(leading, transformer), expected)


def test_graph_gamma_starts_at_zero_and_weighs_the_leading_graph_by_node() -> None:
    fusion = GraphFusion((2, 3), update=False, skip=False)
    assert not fusion.gamma.any()
    leading, transformer = torch.randn(1, 4, 2, 3), torch.randn(1, 4, 2, 3)
    without = fusion(leading, transformer)
    weights = torch.randn(6)
    with torch.no_grad():
        fusion.gamma.copy_(weights)
    torch.testing.assert_close(fusion(leading, transformer) - without, leading * weights.reshape(2, 3))
