"""CLIP's towers: a vision transformer and a transformer over text, each with a projection into the common space.

Radford et al. 2021, sections 2.4 and 2.5. Blocks apart, parameters have the names that open_clip's weights give them.

Shapes: B samples, W channels inside, D channels of the common space, H rows and V columns of patches, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import Features, Padded
from sensorium.builtin.encoders.transformer import TransformerBlock


class QuickGELU(nn.Module):
    """The approximation of GELU that OpenAI's weights were trained with (Hendrycks and Gimpel 2016, section 2)."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns x * sigmoid(1.702 x)."""
        return x * torch.sigmoid(1.702 * x)


class VisionTransformer(nn.Module):
    """Patches and a class token through pre-normalised blocks; the class token stands for the picture.

    Args:
        size: Rows and columns of the picture, in pixels; what is left beyond whole patches is not seen.
        patch: Side of a patch in pixels.
        width: W.
        depth: Number of blocks.
        heads: Attention heads of a block.
        dim: D.
        quick_gelu: Whether blocks have `QuickGELU`, rather than GELU.
    """

    def __init__(
        self, size: tuple[int, int], patch: int, width: int, depth: int, heads: int, dim: int, quick_gelu: bool
    ) -> None:
        super().__init__()
        self.grid = (size[0] // patch, size[1] // patch)
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(self.grid[0] * self.grid[1] + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = _blocks(width, depth, heads, quick_gelu)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, dim))

    def forward(self, picture: Tensor) -> Features:
        """Returns pooled (B, D), and the patches as tokens (B, H * V, D) on their grid (H, V)."""
        patches = self.conv1(picture).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        for block in self.blocks:
            tokens = block(tokens)
        joint = self.ln_post(tokens) @ self.proj
        return Features(joint[:, 0], joint[:, 1:], None, self.grid)


class TextTransformer(nn.Module):
    """Tokens through blocks that look to the left alone; the token that ends a text stands for it.

    Args:
        words: A vector (W,) for each id.
        length: Largest T.
        depth: Number of blocks.
        heads: Attention heads of a block.
        dim: D.
        quick_gelu: Whether blocks have `QuickGELU`, rather than GELU.
    """

    def __init__(self, words: nn.Embedding, length: int, depth: int, heads: int, dim: int, quick_gelu: bool) -> None:
        super().__init__()
        width = words.embedding_dim
        self.token_embedding = words
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(length, width))
        self.blocks = _blocks(width, depth, heads, quick_gelu)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, dim))

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and tokens (B, T, D) with their mask (B, T)."""
        tokens = self.token_embedding(batch.data) + self.positional_embedding[: batch.data.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, causal=True)  # what pads comes after, where no real token looks
        joint = self.ln_final(tokens) @ self.text_projection
        last = batch.mask.sum(1) - 1
        return Features(joint[torch.arange(joint.shape[0], device=joint.device), last], joint, batch.mask)


def _blocks(width: int, depth: int, heads: int, quick_gelu: bool) -> nn.ModuleList:
    """Returns blocks, initialised as the paper's code does: what adds to the stream is the smaller, the more add."""
    blocks = nn.ModuleList(
        TransformerBlock(width, heads, activation=QuickGELU if quick_gelu else nn.GELU) for _ in range(depth)
    )
    deviations = {
        "query_key_value.weight": width**-0.5,
        "output.weight": width**-0.5 * (2 * depth) ** -0.5,
        "perceptron.1.weight": (2 * width) ** -0.5,
        "perceptron.3.weight": width**-0.5 * (2 * depth) ** -0.5,
    }
    for name, parameter in blocks.named_parameters():
        if deviation := deviations.get(name.partition(".")[2]):
            nn.init.normal_(parameter, std=deviation)
        elif name.endswith(("query_key_value.bias", "output.bias")):
            nn.init.zeros_(parameter)
    return blocks
