"""Speech to units: a network that hears, a codebook of what it hears, and runs of one unit as a single one.

W.-N. Hsu, D. Harwath, C. Song, J. Glass, Text-Free Image-to-Speech Synthesis Using Learned Segmental Units, ACL 2021;
the network is a small relative of that of D. Harwath, W.-N. Hsu, J. Glass, Learning Hierarchical Discrete Linguistic
Units from Visually-Grounded Speech, ICLR 2020.

Shapes: B sounds, M mel bands, T frames, U steps of four frames, D channels, K units, L units that are left of U.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config, Features, Modality, Padded, workers
from sensorium.builtin.encoders.pooling import mean_pool
from sensorium.builtin.modalities.text import BOS, EOS, SPECIAL
from sensorium_image2speech.spectrum import Mel

STEP = 4
"""Frames of a step."""
REACH = 7
"""Frames that a step hears before its first and after its last one."""
FIRST = len(SPECIAL)
"""Id of the first unit among the words of a decoder; those before it are signs."""
ROWS = 20_000
"""Steps that the codebook is learnt from, at most."""
TURNS = 30
"""Steps of k-means."""


class Hearing(nn.Module):
    """Convolutions over a log-mel spectrogram; each step hears 18 frames around it and knows nothing of the rest.

    Args:
        config: Sizes.
        mel: Makes the spectrograms.
        longest: Steps after which speech is cut.
        space: Channels of the space in which speech is compared with pictures.
    """

    class Config(Config):
        """Sizes."""

        dim: int = 64
        """D."""
        units: int = 64
        """K."""

        def __post_init__(self) -> None:
            if self.dim < 1 or self.units < 2:
                raise ValueError("dim is at least 1, units at least 2.")

    def __init__(self, config: Hearing.Config, mel: Mel, longest: int, space: int) -> None:
        super().__init__()
        self.mel, self.longest, dim = mel, longest, config.dim
        shapes = ((mel.bands.shape[1], 4, 2), (dim, 4, 2), (dim, 3, 1))
        self.layers = nn.ModuleList(nn.Conv1d(before, dim, width, stride) for before, width, stride in shapes)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in shapes)
        self.match = nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, space), nn.GELU(), nn.Linear(space, space))
        self.codebook = Codebook(config.units, dim)

    def spectrogram(self, sounds: Padded) -> Padded:
        """Returns log-mel spectrograms (B, M, T) of sounds (B, 1, S), as far as these are not too long."""
        mel = self.mel(sounds)
        return Padded(mel.data[..., : STEP * self.longest], mel.mask[:, : STEP * self.longest])

    def embed(self, sounds: Padded) -> Tensor:
        """Returns sounds in the space of pictures, (B, D)."""
        embedded: Tensor = self.match(self(self.spectrogram(sounds)).pooled)
        return embedded

    def learn(self, sounds: Iterable[tuple[Padded, Tensor]]) -> None:
        """Learns the codebook from sounds (B, 1, S), each step with a number of its own (B, `longest`)."""

        def heard() -> Iterator[tuple[Tensor, Tensor]]:
            for each, numbers in sounds:
                features = self(self.spectrogram(each))
                yield features.tokens[features.mask], numbers[:, : features.mask.shape[1]][features.mask]

        self.codebook.fit(heard())

    @torch.no_grad()
    def units(self, sounds: Padded) -> Runs:
        """Returns the units of sounds, in full precision."""
        with torch.autocast(sounds.data.device.type, enabled=False):
            features = self(self.spectrogram(sounds))
            assert features.mask is not None
            return collapsed(self.codebook(features), features.mask)

    def forward(self, mel: Padded) -> Features:
        """Returns tokens (B, U, D), with their mask, and their mean; what is left at the end of T is not heard."""
        steps = (mel.mask.sum(1) // STEP).clamp(min=1)
        count = int(steps.max())
        mask = torch.arange(count, device=steps.device) < steps[:, None]
        within = mel.data[:, :, : STEP * count] * mask.repeat_interleave(STEP, 1)[:, None, : mel.data.shape[2]]
        # Silence is 0, so that the beginning and the end of a sound are as if there was more of it.
        grid = F.pad(within, (REACH, REACH + STEP * count - within.shape[2]))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            grid = F.gelu(norm(layer(grid).transpose(1, 2))).transpose(1, 2)
        tokens = grid.transpose(1, 2)
        return Features(mean_pool(tokens, mask), tokens, mask)


class Codebook(nn.Module):
    """The centres that k-means finds among what is heard; a step is the unit whose centre is nearest."""

    centres: Tensor

    def __init__(self, units: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.randn(units, dim))

    def fit(self, heard: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Learns the centres, the same ones on any number of workers.

        Args:
            heard: Steps (N, D), each with a number of its own (N,) that does not depend on the worker: of those with
                the lowest ones the codebook is made.
        """
        rows, keys = self.centres[:0], self.centres[:0, 0]
        for more, own in heard:
            rows, keys = torch.cat([rows, more.float()]), torch.cat([keys, own])
            kept = keys.argsort()[:ROWS]
            rows, keys = rows[kept], keys[kept]
        rows, keys = workers.gather_rows(rows), workers.gather_rows(keys)
        self.centres.copy_(kmeans(rows[keys.argsort()[:ROWS]].cpu(), len(self.centres)))

    def forward(self, features: Features) -> Tensor:
        """Returns the unit of each step, (B, U)."""
        assert features.tokens is not None
        return torch.cdist(features.tokens.float(), self.centres).argmin(2)


def kmeans(rows: Tensor, count: int) -> Tensor:
    """Returns the centres (count, D) of rows (N, D): k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps."""
    random = torch.Generator().manual_seed(0)
    centres = rows[:1]
    far = torch.cdist(rows, centres)[:, 0].square()
    for _ in range(1, count):
        drawn = torch.multinomial(far + 1e-9, 1, generator=random)
        centres = torch.cat([centres, rows[drawn]])
        far = far.minimum(torch.cdist(rows, rows[drawn])[:, 0].square())
    for _ in range(TURNS):
        nearest = torch.cdist(rows, centres).argmin(1)
        sums, sizes = torch.zeros_like(centres).index_add(0, nearest, rows), nearest.bincount(minlength=count)
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
    return centres


@dataclass(frozen=True)
class Runs:
    """What is said, as units of which no two neighbours are the same.

    Attributes:
        units: (B, L), from 0 to K - 1, with a mask.
        steps: How long each lasts, (B, L); 0 where nothing is.
    """

    units: Padded
    steps: Tensor


def collapsed(units: Tensor, mask: Tensor) -> Runs:
    """Returns units (B, U) with the mask (B, U) as runs."""
    begins = F.pad(units[:, 1:] != units[:, :-1], (1, 0), value=True) & mask
    count = begins.sum(1)
    longest = int(count.max())
    place = torch.where(mask, begins.cumsum(1) - 1, longest)  # what pads goes into a column of its own
    steps = torch.zeros(len(units), longest + 1, dtype=torch.int64, device=units.device)
    kept = torch.zeros_like(steps).scatter(1, place, units)[:, :longest]
    real = torch.arange(longest, device=units.device) < count[:, None]
    return Runs(Padded(kept * real, real), steps.scatter_add(1, place, mask.long())[:, :longest])


def within(mel: Padded, said: Runs) -> Padded:
    """Returns the frames of a spectrogram (B, M, T) that lie within what is said."""
    frames = (STEP * said.steps.sum(1)).minimum(mel.mask.sum(1))
    mask = torch.arange(int(frames.max()), device=frames.device) < frames[:, None]
    return Padded(mel.data[..., : mask.shape[1]] * mask[:, None], mask)


def as_words(units: Padded) -> Padded:
    """Returns units (B, L) as the sentence that a decoder is taught, with <bos> and <eos> (B, L + 2)."""
    words = F.pad(torch.where(units.mask, units.data + FIRST, 0), (1, 1))
    ends = units.mask.sum(1, keepdim=True) + 1
    words = words.scatter(1, ends, EOS)
    words[:, 0] = BOS
    return Padded(words, torch.arange(words.shape[1], device=words.device) <= ends)


def as_units(words: Tensor) -> Padded:
    """Returns what a decoder says (B, L) as units up to its first sign."""
    mask = (words >= FIRST).long().cumprod(1).bool()
    return Padded((words - FIRST) * mask, mask)


def lengthened(words: Tensor, length: int) -> Tensor:
    """Returns what a decoder says as so many words, (B, length)."""
    return F.pad(words, (0, length - words.shape[1]), value=EOS)


class Units(Modality):
    """Units of speech as a decoder says them: numbers from 0, in a row."""

    form = "tokens"
    media_type = "text/plain"

    class Config(Modality.Config):
        """How many there are."""

        units: int
        """K."""
        longest: int
        """Most units of one utterance."""

    config: Units.Config

    def __init__(self, config: Units.Config) -> None:
        super().__init__(config)
        self.vocabulary, self.shape = FIRST + config.units, (config.longest + 2,)

    def encode(self, value: Tensor) -> str:
        """Returns the units that a decoder's words (L,) stand for, such as `12 5 40`."""
        said = as_units(value[None])
        return " ".join(map(str, said.data[said.mask].tolist()))
