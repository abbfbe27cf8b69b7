"""The prior: a transformer that finds the embedding of a picture behind noise, told what the sentence says.

Ramesh et al., "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022, section 2.2.

Shapes: B samples, T tokens of a sentence, W channels of a token, S channels of CLIP's space, D channels inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config, Features, UserError
from sensorium.builtin.encoders.transformer import TransformerBlock
from sensorium.ops.diffusion import waves


@dataclass(frozen=True)
class Sentence:
    """What CLIP makes of a sentence.

    Attributes:
        words: Tokens (B, T, W) and their mask (B, T).
        embedding: (B, S), of variance about 1 in each channel.
    """

    words: Features
    embedding: Tensor


class Prior(nn.Module):
    """Reads, in this order and from left to right: the tokens, their embedding, the time, the noised embedding.

    A last, learnt token's output is the clean embedding itself, not the noise; `Dalle2.found` says around what. Learnt
    tokens stand for what is not told, and after the end of a sentence.

    Args:
        config: Sizes.
        words: W.
        space: S.
        length: Largest T.
        steps: Of the diffusion.
    """

    class Config(Config):
        """Sizes, and how samples are drawn."""

        dim: int = 96
        """D, channels."""
        depth: int = 3
        """Blocks."""
        heads: int = 4
        """Attention heads of a block; twice as many divide dim."""
        sampled: int = 25
        """Steps back when a sample is drawn."""
        guidance: float = 1.0
        """How far a sample is moved away from what is found without a sentence; 1 for not at all. Samples of one
        sentence become the more alike, the further."""
        candidates: int = 1
        """Embeddings that are drawn; the one closest to the sentence is taken. These are the more alike, the more."""

        def __post_init__(self) -> None:
            if min(self.dim, self.depth, self.heads, self.sampled, self.candidates) < 1 or self.dim % (2 * self.heads):
                raise ValueError(
                    "dim, depth, heads, sampled and candidates are at least 1, and dim a multiple of twice heads."
                )

    def __init__(self, config: Prior.Config, words: int, space: int, length: int, steps: int) -> None:
        super().__init__()
        dim = config.dim
        self.dim, self.steps = dim, steps
        self.words, self.sentence, self.noised = nn.Linear(words, dim), nn.Linear(space, dim), nn.Linear(space, dim)
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.positions = nn.Parameter(0.02 * torch.randn(length, dim))
        self.nothing = nn.Parameter(0.02 * torch.randn(length + 1, dim))
        self.answer = nn.Parameter(0.02 * torch.randn(dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, config.heads) for _ in range(config.depth))
        self.read = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, space))

    def forward(self, noised: Tensor, time: Tensor, sentence: Sentence, known: Tensor) -> Tensor:
        """Returns the clean embedding (B, S), of variance about 1 in each channel.

        Args:
            noised: (B, S).
            time: (B,).
            sentence: What is told.
            known: (B,), False where nothing is told of the sentence.
        """
        words = sentence.words
        if words.tokens is None or words.mask is None:
            raise UserError(
                "The text encoder of model.clip gives one vector, and no words.",
                "The prior reads every word.",
                "Take `text_transformer`.",
            )
        missing = len(self.positions) - words.tokens.shape[1]
        there = torch.cat([F.pad(words.mask, (0, missing)), known[:, None]], 1) & known[:, None]  # (B, length + 1)
        spoken = F.pad(self.words(words.tokens), (0, 0, 0, missing)) + self.positions
        told = torch.cat([spoken, self.sentence(sentence.embedding)[:, None]], 1)
        told = torch.where(there[:, :, None], told, self.nothing)
        others = [
            self.time(waves(time, self.steps, self.dim)),
            self.noised(noised),
            self.answer.expand(told.shape[0], -1),
        ]
        tokens = torch.cat([told, torch.stack(others, 1)], 1)
        for block in self.blocks:
            tokens = block(tokens, causal=True)
        found: Tensor = self.read(tokens[:, -1])
        return found
