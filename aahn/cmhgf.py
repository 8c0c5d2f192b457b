"""CMHGF: Cross-Modality Heterogeneous Graph Fusion of the two branches at the deepest level.

Source: the paper's CMHGF module and the released code's
``nnunet/network_architecture/transunet/trans_disunet_grpah_transfuse.py``.

Departure of the released code from the paper's figure, reproduced here: where the figure transposes the reduced graphs,
the code re-reads them in memory order (:func:`reread`), which mixes nodes and channels. It is part of the function the
authors trained, so it is part of parity.
"""

import torch
from torch import Tensor, nn

from aahn.blocks import unscaled_attention
from aahn.options import AAHNOptions
from aahn.tcfaf import CrossModalityAttention


def reread(x: Tensor) -> Tensor:
    """Reads ``(B, R, C)`` as ``(B, C, R)`` in memory order: same values in the same order, not a transpose."""
    return x.reshape(x.shape[0], x.shape[2], x.shape[1])


class GraphConvolution(nn.Module):
    """Updates the nodes of one graph: ``second(relu(first(X) + X))``, both mixing nodes channel by channel.

    Args:
        nodes: Number of nodes N, one a position.
    """

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(nodes, nodes, 1)
        self.second = nn.Conv1d(nodes, nodes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(B, N, C)`` to ``(B, N, C)``."""
        out: Tensor = self.second(torch.relu(self.first(x) + x))
        return out


class NodeSimilarity(nn.Module):
    """Carries the Transformer's graph over to the leading one by the similarity of their nodes.

    Nodes are first reduced to half as many. The softmax is not scaled; see :func:`aahn.blocks.unscaled_attention`.

    Args:
        nodes: Number of nodes N.
    """

    def __init__(self, nodes: int) -> None:
        super().__init__()
        reduced = max(1, nodes // 2)
        self.query = nn.Conv1d(nodes, reduced, 1)
        self.key = nn.Conv1d(nodes, reduced, 1)
        self.value = nn.Conv1d(nodes, reduced, 1)
        self.out = nn.Conv1d(reduced, nodes, 1)

    def forward(self, leading: Tensor, transformer: Tensor) -> Tensor:
        """Maps two graphs ``(B, N, C)`` to one ``(B, N, C)``."""
        # (B, R, C) re-read as (B, C, R), then transposed: R reduced nodes of width C
        query = reread(self.query(leading)).transpose(1, 2)
        key = reread(self.key(transformer)).transpose(1, 2)
        value = reread(self.value(transformer)).transpose(1, 2)
        attended = unscaled_attention(query, key, value)  # (B, R, C)
        out: Tensor = self.out(attended)  # (B, N, C)
        return out


class GraphFusion(nn.Module):
    """The graph form of CMHGF: each position of the map is a node, its channels are the node's features.

    Args:
        size: Height and width of the map; their product is the number of nodes N.
        update: Whether each graph's nodes are updated by a :class:`GraphConvolution` of its own.
        skip: Whether the incoming leading map is added to the result.
    """

    def __init__(self, size: tuple[int, int], *, update: bool = True, skip: bool = True) -> None:
        super().__init__()
        nodes = size[0] * size[1]
        self.leading_update = GraphConvolution(nodes) if update else None
        self.transformer_update = GraphConvolution(nodes) if update else None
        self.similarity = NodeSimilarity(nodes)
        self.gamma = nn.Parameter(torch.zeros(nodes))
        self.skip = skip

    def forward(self, leading: Tensor, transformer: Tensor) -> Tensor:
        """Maps two ``(B, C, H, W)`` to one ``(B, C, H, W)``."""
        own = leading.flatten(2).transpose(1, 2)  # (B, N, C)
        other = transformer.flatten(2).transpose(1, 2)  # (B, N, C)
        if self.leading_update is not None and self.transformer_update is not None:
            own, other = self.leading_update(own), self.transformer_update(other)
        fused: Tensor = self.gamma[:, None] * own + self.similarity(own, other)  # (B, N, C)
        fused = fused.transpose(1, 2).reshape(leading.shape)  # (B, C, H, W)
        return fused + leading if self.skip else fused


class ConcatFusion(nn.Module):
    """The ablation's plain form: channel concatenation and a 1x1 convolution back to C channels.

    Args:
        channels: Channels C of each map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, leading: Tensor, transformer: Tensor) -> Tensor:
        """Maps two ``(B, C, H, W)`` to one ``(B, C, H, W)``."""
        fused: Tensor = self.project(torch.cat([leading, transformer], dim=1))
        return fused


def build_fusion(channels: int, size: tuple[int, int], options: AAHNOptions) -> nn.Module:
    """Returns the module that ``options.cmhgf`` names: two ``(B, C, H, W)`` to one.

    Args:
        channels: Channels C at the deepest level.
        size: Height and width of the deepest maps.
        options: The switch.
    """
    if options.cmhgf == "concat":
        return ConcatFusion(channels)
    if options.cmhgf == "cma":
        return CrossModalityAttention(channels)
    return GraphFusion(size, update=options.cmhgf != "no_gnn", skip=options.cmhgf != "no_skip")
