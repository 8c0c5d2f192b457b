"""AAHN written the plain way, from the same facts and under the released code's names: the fast path's yardstick.

Every operation is spelled out: attention is einsum, softmax, einsum with its energies in memory; tokens, graphs and
maps are re-ordered by copies; ReLU makes a new tensor; modules that never reach the output are built all the same. It
shares no line with :mod:`aahn`, so that equal outputs and gradients of the two say something about both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 4


class Mhsa(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = head_dim**-0.5
        self.to_qvk = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.W_0 = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        joint = self.to_qvk(x).view(batch, tokens, -1, 3, self.heads)  # (head dimension, {q, k, v}, head)
        query, key, value = joint.permute(3, 0, 4, 1, 2).contiguous()
        energy = torch.einsum("bhid,bhjd->bhij", query, key) * self.scale
        out = torch.einsum("bhij,bhjd->bhid", energy.softmax(-1), value)
        return self.W_0(out.permute(0, 2, 1, 3).contiguous().view(batch, tokens, -1))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int, mlp: int) -> None:
        super().__init__()
        self.mhsa = Mhsa(dim, heads, head_dim)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear = nn.Sequential(
            nn.Linear(dim, mlp), nn.GELU(), nn.Dropout(0.0), nn.Linear(mlp, dim), nn.Dropout(0.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_1(self.mhsa(x) + x)
        return self.norm_2(self.linear(y) + y)


class Layers(nn.Module):
    def __init__(self, depth: int, dim: int, heads: int, head_dim: int, mlp: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(dim, heads, head_dim, mlp) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Vit(nn.Module):
    def __init__(self, channels: int, side: int, patch: int, depth: int, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.patch, self.tokens = patch, side // patch
        self.project_patches = nn.Linear(patch * patch * channels, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_emb1D = nn.Parameter(torch.randn(1 + self.tokens**2, dim))
        self.transformer = Layers(depth, dim, heads, 64, mlp)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.shape
        n, p = self.tokens, self.patch
        x = x.view(batch, channels, p, n, p, n).permute(0, 3, 5, 2, 4, 1).contiguous().view(batch, n * n, -1)
        x = torch.cat([self.cls_token.repeat(batch, 1, 1), self.project_patches(x)], dim=1)
        return self.transformer(x + self.pos_emb1D)[:, 1:]


class Bottleneck(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))
        self.conv1, self.bn1 = nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after)
        self.conv3, self.bn3 = nn.Conv2d(after, after, 1, bias=False), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class SingleConv(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def two_convs(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


class DoubleConv(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = two_convs(before, after)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Res(nn.Module):
    def __init__(self, before: int, after: int, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 1)
        self.conv2 = DoubleConv(before, after)
        self.block_list = nn.ModuleList(DoubleConv(after, after) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(x)
        for block in self.block_list:
            y = block(y) + y
        return y + self.conv1(x)


class Se(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.compress = nn.Conv2d(channels, channels // 8, 1)
        self.excitation = nn.Conv2d(channels // 8, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.excitation(torch.relu(self.compress(self.squeeze(x)))))


class NonLocal(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.g, self.theta, self.phi = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        self.lastconv = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        value = self.g(x).view(batch, -1, height * width).permute(0, 2, 1).contiguous()
        query = self.theta(x).view(batch, -1, height * width).permute(0, 2, 1).contiguous()
        key = self.phi(y).view(batch, -1, height * width)
        found = torch.matmul(torch.softmax(torch.matmul(query, key), dim=-1), value)
        return self.W(found.permute(0, 2, 1).contiguous().view(batch, -1, height, width)) + x


class Gcn(nn.Module):
    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(nodes, nodes, 1), nn.Conv1d(nodes, nodes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(torch.relu(self.conv1(x) + x))


class Transfer(nn.Module):
    def __init__(self, nodes: int) -> None:
        super().__init__()
        names = ("query_conv", "key_conv", "value_conv_vis", "value_conv_word")
        for name in names:
            setattr(self, name, nn.Conv1d(nodes, nodes // 2, 1))
        self.lastconv_vis, self.lastconv_word = nn.Conv1d(nodes // 2, nodes, 1), nn.Conv1d(nodes // 2, nodes, 1)

    def forward(self, word: Tensor, vis: Tensor) -> Tensor:
        batch, _, channels = word.shape
        query, key, value = (
            conv(graph).contiguous().view(batch, channels, -1)
            for conv, graph in ((self.query_conv, word), (self.key_conv, vis), (self.value_conv_vis, vis))
        )
        attention = torch.softmax(torch.bmm(query.permute(0, 2, 1), key), dim=-1)
        found = torch.bmm(value, attention.permute(0, 2, 1)).permute(0, 2, 1).contiguous()
        return self.lastconv_vis(found)


class Graph(nn.Module):
    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.vis_gcn, self.word_gcn = Gcn(nodes), Gcn(nodes)
        self.transfer = Transfer(nodes)
        self.gamma_vis, self.gamma_word = nn.Parameter(torch.zeros(nodes)), nn.Parameter(torch.zeros(nodes))

    def forward(self, word: Tensor, vis: Tensor) -> Tensor:
        batch, channels, height, width = word.shape
        own = self.word_gcn(word.view(batch, channels, -1).permute(0, 2, 1).contiguous())
        other = self.vis_gcn(vis.view(batch, channels, -1).permute(0, 2, 1).contiguous())
        fused = self.gamma_word.view(1, -1, 1) * own + self.transfer(own, other)
        return fused.permute(0, 2, 1).contiguous().view(batch, channels, height, width) + word


class Up(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.transconv = nn.ConvTranspose2d(before, after, 3, 2, 1, 1)
        self.DoubleConv = two_convs(2 * after, after)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.DoubleConv(torch.cat([self.transconv(x), skip], dim=1))


class Last(nn.Module):
    def __init__(self, before: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(before, width, 1), nn.BatchNorm2d(width)
        self.deconv2, self.norm2 = nn.ConvTranspose2d(width, width, 3, 2, 1, 1), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, 2 * width, 1), nn.BatchNorm2d(2 * width)
        self.drop = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.drop(self.norm1(self.conv1(x))))
        x = torch.relu(self.drop(self.norm2(self.deconv2(x))))
        return torch.relu(self.drop(self.norm3(self.conv3(x))))


class PlainAAHN(nn.Module):
    """The released configuration for square patches; sizes can be reduced."""

    def __init__(
        self,
        modalities: int = 4,
        leading: int = 1,
        classes: int = 4,
        side: int = 128,
        width: int = 128,
        depths: tuple[int, ...] = (3, 4, 6, 2),
        patch: int = 8,
        vit_depth: int = 8,
        dim: int = 768,
        heads: int = 12,
        mlp: int = 512,
        head_width: int = 32,
    ) -> None:
        super().__init__()
        self.leading = leading
        self.patch = patch
        widths = [width << level for level in range(LEVELS)]
        self.trans_init_conv = nn.Sequential(
            nn.Conv2d(modalities, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.conv_init_conv = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        for level in range(1, LEVELS):
            before, after = widths[level - 1], widths[level]
            parts = {
                "conv": Bottleneck(before, after),
                "vit": Vit(after, side >> (level + 1), patch, vit_depth, dim, heads, mlp),
                "project_patches_back": nn.Linear(dim, patch * patch * after),
                "vit_conv": SingleConv(after),
                "Convtdown": nn.Sequential(
                    nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.LeakyReLU(0.01)
                ),
                "dec": Up(widths[-level], widths[-level - 1]),
            }
            for name, part in parts.items():
                setattr(self, f"{name}{level}", part)
        for level, channels in enumerate(widths, start=1):
            parts = {
                "trans_se": Se(2 * channels),
                "delchl": Res(2 * channels, channels, depths[0])
                if level == 1
                else nn.Conv2d(2 * channels, channels, 1),
                "mutual_trans": NonLocal(channels),
            }
            for name, part in parts.items():
                setattr(self, f"{name}{level}", part)
            setattr(self, f"layer{level}_Conv", Res(channels, channels, depths[level - 1]))
        self.GraphTrans = Graph((side >> LEVELS) ** 2)
        self.dec4 = Last(width, head_width, 0.3)
        self.finaldeconv1 = nn.Sequential(
            nn.Conv2d(2 * head_width, head_width, 3, 1, 1), nn.BatchNorm2d(head_width), nn.ReLU()
        )
        self.finaldeconv2 = nn.Sequential(
            nn.Conv2d(head_width, head_width // 2, 3, 1, 1), nn.BatchNorm2d(head_width // 2), nn.ReLU()
        )
        self.conv1x1 = nn.Conv2d(head_width // 2, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        own = self.conv_init_conv(x[:, self.leading].unsqueeze(1).repeat(1, 3, 1, 1))
        other = self.trans_init_conv(x)
        maps = []
        for level in range(1, LEVELS + 1):
            if level > 1:
                own = getattr(self, f"Convtdown{level - 1}")(own)
                other = self.transformer_stage(level - 1, other)
            fused = getattr(self, f"trans_se{level}")(torch.cat([own, other], dim=1))
            fused = getattr(self, f"delchl{level}")(fused)
            fused = fused + own if level == 1 else getattr(self, f"mutual_trans{level}")(own, fused)
            own = getattr(self, f"layer{level}_Conv")(fused)
            maps.append(own)
        y = self.GraphTrans(own, other)
        for level in range(1, LEVELS):
            y = getattr(self, f"dec{level}")(y, maps[-level - 1])
        return self.conv1x1(self.finaldeconv2(self.finaldeconv1(self.dec4(y))))

    def transformer_stage(self, level: int, x: Tensor) -> Tensor:
        x = getattr(self, f"conv{level}")(x)
        batch, channels, side, _ = x.shape
        n, p = side // self.patch, self.patch
        x = getattr(self, f"project_patches_back{level}")(getattr(self, f"vit{level}")(x))
        x = x.view(batch, n, n, p, p, channels).permute(0, 5, 3, 1, 4, 2).contiguous().view(batch, channels, side, side)
        return getattr(self, f"vit_conv{level}")(x)
