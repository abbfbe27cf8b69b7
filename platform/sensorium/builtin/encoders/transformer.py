"""The block that all transformers here are made of.

Shapes: B samples, T tokens, D channels, N heads.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron, each after a layer normalisation and added to its input.

    Vaswani et al., NeurIPS 2017, with the normalisation first (Xiong et al., ICML 2020).

    Args:
        dim: D.
        heads: N, divides D.
        ratio: Hidden channels of the perceptron over D.
        activation: What lies between the two layers of the perceptron.
    """

    def __init__(self, dim: int, heads: int, ratio: float = 4.0, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        hidden = round(ratio * dim)
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.perceptron = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), activation(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Returns tokens (B, T, D).

        Args:
            tokens: (B, T, D).
            mask: (B, T), True where a token may be attended to.
            causal: Whether a token attends only to itself and to those before it.
        """
        joint = self.query_key_value(self.attention_norm(tokens))
        query, key, value = joint.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, N, T, D / N)
        visible = None if mask is None else mask[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible, is_causal=causal)
        tokens = tokens + self.output(mixed.transpose(1, 2).flatten(2))
        changed: Tensor = tokens + self.perceptron(tokens)
        return changed
