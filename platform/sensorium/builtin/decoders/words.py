"""What all decoders share that say one word after another: teaching, greedy search, beam search.

Shapes: B samples, T words of a sentence with its first sign, L words said, K sentences of a beam, P places that
are looked at, V words of the vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Decoder, Features, Modality, Padded, UserError
from sensorium.builtin.modalities.text import BOS, EOS, PAD

State = tuple[Tensor, ...]
"""What a decoder knows before its next word; each (B, ...)."""


@dataclass(frozen=True)
class Told:
    """What a decoder makes of sentences that it is taught.

    Attributes:
        logits: (B, T - 1, V), of the words after the first.
        attention: (B, T - 1, P), the weight of each place when a word is said; None for a decoder without.
    """

    logits: Tensor
    attention: Tensor | None


@dataclass(frozen=True)
class Said:
    """Sentences of a decoder.

    Attributes:
        words: (B, L), ids; what follows the first <eos> means nothing.
        attention: (B, L, P), as in `Told`.
    """

    words: Tensor
    attention: Tensor | None


FORGET = 2.0
"""First bias of an LSTM's forget gate: near 1, so that what was seen first stays (Jozefowicz et al., ICML 2015)."""


def memory(inputs: int, dim: int) -> nn.LSTMCell:
    """Returns an LSTM's cell that begins by remembering."""
    cell = nn.LSTMCell(inputs, dim)
    with torch.no_grad():
        cell.bias_ih[dim : 2 * dim] = FORGET
    return cell


class WordDecoder(Decoder):
    """Says one word after another, each from the last word and a state."""

    exportable = False  # the number of its steps depends on what it says

    def __init__(self, config: Decoder.Config, dim: int, modality: Modality) -> None:
        super().__init__(config, dim, modality)
        if modality.form != "tokens":
            raise UserError(f"{type(self).__name__} cannot say {modality.form}.", "It says words: a text is expected.")
        self.longest = int(modality.shape[0] or 0) - 1

    @abstractmethod
    def begin(self, features: Features) -> State:
        """Returns the state before the first word."""

    @abstractmethod
    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """Returns the logits (B, V) of the next word, the state after it, and the weights (B, P) of the places.

        Args:
            word: (B,), ids of the last word.
            state: What `begin` or the step before returned.
        """

    def forward(self, features: Features) -> Tensor:
        """Returns the logits (B, L, V) when each word follows on the likeliest ones before it."""
        state = self.begin(features)
        word = torch.full((len(features.pooled),), BOS, device=features.pooled.device)
        steps = []
        for _ in range(self.longest):
            logits, state, _ = self.step(word, state)
            steps.append(logits)
            word = logits.argmax(1)
        return torch.stack(steps, 1)

    def teach(self, features: Features, words: Padded, own: Tensor | None = None) -> Told:
        """Returns what it says when it is given the right words before each; zeros after the end of a sentence.

        Args:
            features: What is described.
            words: (B, T), ids with <bos> and <eos>.
            own: (B, T), True where it is given its own last word instead: scheduled sampling (S. Bengio et al.,
                NIPS 2015).
        """
        # The longest sentences first: a step is made with those that have not ended.
        lengths = words.mask.sum(1) - 1
        order = lengths.argsort(descending=True, stable=True)
        steps = int(lengths.max())
        going = (lengths[:, None] > torch.arange(steps, device=lengths.device)).sum(0).tolist()
        state, given = tuple(part[order] for part in self.begin(features)), words.data[order]
        word, logits, weights = given[:, 0], [], []
        for place, count in enumerate(going, 1):
            scores, state, attention = self.step(word[:count], tuple(part[:count] for part in state))
            missing = len(order) - count
            logits.append(F.pad(scores, (0, 0, 0, missing)))
            if attention is not None:
                weights.append(F.pad(attention, (0, 0, 0, missing)))
            word = given[:count, place]
            if own is not None:
                word = torch.where(own[order][:count, place], scores.argmax(1), word)
        back, silent = order.argsort(), words.data.shape[1] - 1 - steps

        def joined(parts: list[Tensor]) -> Tensor:
            return F.pad(torch.stack(parts, 1)[back], (0, 0, 0, silent))

        return Told(joined(logits), joined(weights) if weights else None)

    @torch.no_grad()
    def say(self, features: Features, beam: int = 1, length_power: float = 0.0) -> Said:
        """Returns a sentence for each sample.

        Args:
            features: What is described.
            beam: K, sentences that are followed at a time; 1 takes the likeliest word at each step.
            length_power: A sentence is valued by its log probability over its length to this power: 0 favours short
                ones, 1 takes the mean over its words (Y. Wu et al., 2016, arXiv:1609.08144, section 7).
        """
        count, device = len(features.pooled), features.pooled.device
        state = tuple(part.repeat_interleave(beam, 0) for part in self.begin(features))
        word = torch.full((count * beam,), BOS, device=device)
        total = torch.full((count, beam), -torch.inf, device=device)
        total[:, 0] = 0.0  # all begin alike: one of them counts
        length = torch.zeros(count, beam, device=device)
        ended = torch.zeros(count, beam, dtype=torch.bool, device=device)
        words = word.new_empty(count, beam, 0)
        weights: Tensor | None = None
        for _ in range(self.longest):
            logits, state, attention = self.step(word, state)
            chances = logits.float().log_softmax(1).view(count, beam, -1).clone()
            chances[..., [PAD, BOS]] = -torch.inf
            chances = chances.masked_fill(ended[..., None], -torch.inf)
            chances[..., PAD] = chances[..., PAD].masked_fill(ended, 0.0)  # what is over stays as it is
            size = chances.shape[2]
            sums = total[..., None] + chances
            lengths = (length + ~ended)[..., None].expand_as(sums)
            values = (sums / lengths**length_power).flatten(1)
            best = values.topk(beam, dim=1).indices  # (B, K)
            parent, chosen = best // size, best % size
            total, length = sums.flatten(1).gather(1, best), lengths.flatten(1).gather(1, best)
            ended = ended.gather(1, parent) | (chosen == EOS)
            words = torch.cat([_follow(words, parent), chosen[..., None]], 2)
            if attention is not None:
                seen = attention.view(count, beam, 1, -1)
                weights = _follow(seen if weights is None else torch.cat([weights, seen], 2), parent)
            rows = (parent + beam * torch.arange(count, device=device)[:, None]).flatten()
            state, word = tuple(part[rows] for part in state), chosen.flatten()
            if ended.all():
                break
        best = (total / length**length_power).argmax(1)
        rows = torch.arange(count, device=device)
        return Said(words[rows, best], None if weights is None else weights[rows, best])


def _follow(values: Tensor, parent: Tensor) -> Tensor:
    """Returns (B, K, ...) with the history of each sentence's parent (B, K)."""
    shape = (*parent.shape, *values.shape[2:])
    return values.gather(1, parent.view(*parent.shape, *[1] * (values.ndim - 2)).expand(shape))
