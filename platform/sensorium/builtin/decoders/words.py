"""What all decoders share that say one word after another: teaching, greedy search, beam search, drawing.

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
class TeacherForced:
    """What a decoder makes of sentences that it is taught.

    Attributes:
        logits: (B, T - 1, V), of the words after the first.
        attention: (B, T - 1, P), the weight of each place when a word is said; None for a decoder without.
    """

    logits: Tensor
    attention: Tensor | None


@dataclass(frozen=True)
class Generated:
    """Sentences of a decoder.

    Attributes:
        words: (B, L), ids; what follows the first <eos> means nothing.
        attention: (B, L, P), as in `TeacherForced`.
    """

    words: Tensor
    attention: Tensor | None


NEVER = [PAD, BOS]
"""What no decoder says."""
FORGET = 2.0
"""First bias of an LSTM's forget gate: near 1, so that what was seen first stays (Jozefowicz et al., ICML 2015)."""


def memory(inputs: int, dim: int) -> nn.LSTMCell:
    """Returns an LSTM's cell that begins by remembering."""
    cell = nn.LSTMCell(inputs, dim)
    with torch.no_grad():
        cell.bias_ih[dim : 2 * dim] = FORGET
    return cell


def likeliest(logits: Tensor) -> Tensor:
    """Returns the word (B,) that the logits (B, V) make likeliest, of those that are said."""
    chances = logits.detach().clone()
    chances[:, NEVER] = -torch.inf
    return chances.argmax(1)


class WordDecoder(Decoder):
    """Says one word after another, each from the last word and a state."""

    exportable = False  # the number of its steps depends on what it says

    def __init__(self, config: Decoder.Config, dim: int, modality: Modality) -> None:
        super().__init__(config, dim, modality)
        if modality.form != "tokens":
            raise UserError(f"{type(self).__name__} cannot say {modality.form}.", "It says words: a text is expected.")
        if getattr(modality.config, "pretrained", None) is not None:
            raise UserError(
                f"{type(self).__name__} says words that are learnt; this text has a model's own tokenizer.",
                "Its signs of begin and end are others.",
                "Leave the text's `pretrained` out, and give what reads the model's tokens a field of its own.",
            )
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
            word = likeliest(logits)
        return torch.stack(steps, 1)

    def teacher_force(self, features: Features, words: Padded, own: Tensor | None = None) -> TeacherForced:
        """Returns what it says when it is given the right words before each; zeros after the end of a sentence.

        Args:
            features: What is described.
            words: (B, T), ids with <bos> and <eos>.
            own: (B, T), True where it is given its own last word instead: scheduled sampling (S. Bengio et al.,
                NIPS 2015).
        """
        # The longest sentences first: a step is made with those that have not ended.
        lengths = words.lengths - 1
        sorting = lengths.argsort(descending=True, stable=True)
        steps = int(lengths.max())
        going = (lengths[:, None] > torch.arange(steps)).sum(0).tolist()
        order = sorting.to(words.data.device, non_blocking=True)
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
                word = torch.where(own[order][:count, place], likeliest(scores), word)
        back, silent = order.argsort(), words.data.shape[1] - 1 - steps

        def joined(parts: list[Tensor]) -> Tensor:
            return F.pad(torch.stack(parts, 1)[back], (0, 0, 0, silent))

        return TeacherForced(joined(logits), joined(weights) if weights else None)

    @torch.no_grad()
    def generate(self, features: Features, beam: int = 1, length_power: float = 0.0) -> Generated:
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
        words, weights = word.new_empty(count, beam, 0), None
        over = _Over(count, self.longest, device)
        for place in range(1, self.longest + 1):
            logits, state, attention = self.step(word, state)
            chances = logits.float().log_softmax(1).view(count, beam, -1).clone()
            chances[..., NEVER] = -torch.inf
            likely = chances.topk(min(beam, chances.shape[2]), dim=2)  # of each sentence, as many words as go on
            sums, following = (total[..., None] + likely.values).flatten(1), likely.indices.flatten(1)
            parent = torch.arange(beam, device=device).repeat_interleave(likely.values.shape[2]).expand(count, -1)
            longer = torch.cat([_follow(words, parent), following[..., None]], 2)
            if attention is not None:
                looked = attention.view(count, beam, 1, -1)
                weights = _follow(looked if weights is None else torch.cat([weights, looked], 2), parent)
            ends = following == EOS
            over.add((sums / place**length_power).masked_fill(~ends, -torch.inf), longer, weights)
            total, best = sums.masked_fill(ends, -torch.inf).topk(beam, dim=1)
            words = _follow(longer, best)
            weights = None if weights is None else _follow(weights, best)
            rows = (parent.gather(1, best) + beam * torch.arange(count, device=device)[:, None]).flatten()
            state, word = tuple(part[rows] for part in state), words[..., -1].flatten()
            hope = total.amax(1) / self.longest**length_power  # what goes on will not be worth more
            if (over.value >= hope).all():
                break
        cut = over.value.isneginf()[:, None]  # no end was found: the best beginning
        over.add(total.masked_fill(~cut, -torch.inf), words, weights)
        return over.said()

    @torch.no_grad()
    def draw(self, features: Features, chances: Tensor, temperature: float = 1.0) -> Generated:
        """Returns a sentence for each sample, whose words are drawn from what the decoder finds likely.

        Args:
            features: What is described.
            chances: (B, L), from [0, 1): for each word, which part of the distribution it is taken from. L is at least
                `longest`.
            temperature: Divisor of the logits; the lower, the likelier the words that are taken.
        """
        state, device = self.begin(features), features.pooled.device
        word = torch.full((len(features.pooled),), BOS, device=device)
        words, weights = [], []
        for place in range(self.longest):
            over = word == EOS
            if over.all():
                break
            logits, state, attention = self.step(word, state)
            logits = logits.float() / temperature
            logits[:, NEVER] = -torch.inf
            sums = logits.softmax(1).cumsum(1)
            taken = chances[:, place, None] * sums[:, -1:] * (1 - 1e-6)  # below the last sum, however it is rounded
            word = torch.where(over, EOS, torch.searchsorted(sums, taken, right=True)[:, 0])
            words.append(word)
            weights += [] if attention is None else [attention]
        return Generated(torch.stack(words, 1), torch.stack(weights, 1) if weights else None)


class _Over:
    """The best sentence of each sample among those that have ended, with its value (B,)."""

    def __init__(self, count: int, longest: int, device: torch.device) -> None:
        self.value = torch.full((count,), -torch.inf, device=device)
        self.words = torch.full((count, longest), EOS, device=device)
        self.weights: Tensor | None = None

    def add(self, values: Tensor, words: Tensor, weights: Tensor | None) -> None:
        """Takes up sentences that are worth more than what is known.

        Args:
            values: (B, N), -inf where none is offered.
            words: (B, N, L).
            weights: (B, N, L, P), where places are looked at.
        """
        value, place = values.max(1)
        rows = (value > self.value).nonzero().flatten()
        self.value[rows] = value[rows]
        self.words[rows, : words.shape[2]] = words[rows, place[rows]]
        if weights is not None:
            if self.weights is None:
                self.weights = weights.new_zeros(*self.words.shape, weights.shape[-1])
            self.weights[rows, : words.shape[2]] = weights[rows, place[rows]]

    def said(self) -> Generated:
        """Returns the sentences, as long as the longest."""
        longest = int(((self.words == EOS).cumsum(1) <= 1).sum(1).max())
        return Generated(self.words[:, :longest], None if self.weights is None else self.weights[:, :longest])


def _follow(values: Tensor, parent: Tensor) -> Tensor:
    """Returns (B, K, ...) with the history of each sentence's parent (B, K)."""
    shape = (*parent.shape, *values.shape[2:])
    return values.gather(1, parent.view(*parent.shape, *[1] * (values.ndim - 2)).expand(shape))
