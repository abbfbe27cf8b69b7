"""What all decoders share that say one word after another: teaching, greedy search, beam search, drawing.

Shapes: B samples, T words of a sentence with its first sign, L words said, K sentences of a beam, P places that
are looked at, V words of the vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
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
    attention: Tensor | None = None


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
        word = torch.full((features.pooled.shape[0],), BOS, device=features.pooled.device)
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
        search = self._begun(features, beam)
        scales = [place**length_power for place in range(1, self.longest + 1)]

        def step(before: tuple[Any, ...], at: tuple[Any, Any]) -> tuple[tuple[Any, ...], Tensor]:
            after = self._searched(Search(*before), *at)
            return tuple(after), after.value.clone()

        if torch.compiler.is_exporting():
            search = Search(*scan(step, tuple(search), (torch.arange(self.longest), torch.tensor(scales)))[0])
        else:
            for place, scale in enumerate(scales):
                search = self._searched(search, place, scale)
                hope = search.total.amax(1) / scales[-1]  # what goes on will not be worth more
                if (search.value >= hope).all():
                    break
        cut = search.value.isneginf()[:, None]  # no end was found: the best beginning
        best = search.offered(search.total.masked_fill(~cut, -torch.inf), search.words, search.weights)
        looks = best.looks if best.looks.shape[2] else None
        if torch.compiler.is_exporting():  # a graph has no length that depends on what is said
            return Generated(best.best, looks)
        longest = int(((best.best == EOS).cumsum(1) <= 1).sum(1).max())
        return Generated(best.best[:, :longest], None if looks is None else looks[:, :longest])

    def _begun(self, features: Features, beam: int) -> Search:
        count, device = features.pooled.shape[0], features.pooled.device
        state = tuple(part.repeat_interleave(beam, 0) for part in self.begin(features))
        word = torch.full((count * beam,), BOS, device=device)
        total = torch.full((count, beam), -torch.inf, device=device)
        total[:, 0] = 0.0  # all begin alike: one of them counts
        attention = self.step(word, state)[2]
        places = 0 if attention is None else attention.shape[1]
        return Search(
            state,
            word,
            total,
            torch.full((count, beam, self.longest), EOS, device=device),
            total.new_zeros(count, beam, self.longest, places),
            torch.full((count,), -torch.inf, device=device),
            torch.full((count, self.longest), EOS, device=device),
            total.new_zeros(count, self.longest, places),
        )

    def _searched(self, search: Search, place: Any, scale: Any) -> Search:
        """Returns a search after one more word.

        Args:
            search: Before it.
            place: The word's, from 0; a number, or a tensor in a graph.
            scale: What the value of a sentence that ends here is divided by.
        """
        count, beam = search.total.shape
        logits, state, attention = self.step(search.word, search.state)
        chances = logits.float().log_softmax(1).view(count, beam, -1).clone()
        chances[..., NEVER] = -torch.inf
        likely = chances.topk(min(beam, chances.shape[2]), dim=2)  # of each sentence, as many words as go on
        sums, following = (search.total[..., None] + likely.values).flatten(1), likely.indices.flatten(1)
        device = sums.device
        parent = torch.arange(beam, device=device).repeat_interleave(likely.values.shape[2]).expand(count, -1)
        here = torch.arange(self.longest, device=device) == place
        words = torch.where(here, following[..., None], _follow(search.words, parent))
        weights = search.weights
        if attention is not None:
            weights = torch.where(here[:, None], attention.view(count, beam, 1, -1), weights)
        weights = _follow(weights, parent)
        ends = following == EOS
        search = search.offered((sums / scale).masked_fill(~ends, -torch.inf), words, weights)
        total, best = sums.masked_fill(ends, -torch.inf).topk(beam, dim=1)
        words, weights = _follow(words, best), _follow(weights, best)
        rows = (parent.gather(1, best) + beam * torch.arange(count, device=device)[:, None]).flatten()
        state, word = tuple(part[rows] for part in state), following.gather(1, best).flatten()
        return search._replace(state=state, word=word, total=total, words=words, weights=weights)

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
        word = torch.full((features.pooled.shape[0],), BOS, device=device)

        def step(before: tuple[Tensor, State], chance: Tensor) -> tuple[tuple[Tensor, State], tuple[Tensor, ...]]:
            word, state = before
            logits, state, attention = self.step(word, state)
            logits = logits.float() / temperature
            logits[:, NEVER] = -torch.inf
            sums = logits.softmax(1).cumsum(1)
            taken = chance[:, None] * sums[:, -1:] * (1 - 1e-6)  # below the last sum, however it is rounded
            word = torch.where(word == EOS, EOS, (sums <= taken).sum(1))
            told = (word.clone(),) if attention is None else (word.clone(), attention)
            return (word, tuple(part.clone() for part in state)), told

        chances = chances[:, : self.longest].T
        if torch.compiler.is_exporting():
            _, every = scan(step, (word, state), chances)
            return Generated(*(part.transpose(0, 1) for part in every))
        said = []
        for chance in chances:
            if (word == EOS).all():
                break
            (word, state), told = step((word, state), chance)
            said.append(told)
        return Generated(*(torch.stack(part, 1) for part in zip(*said, strict=True)))


class Search(NamedTuple):
    """Sentences that are followed, and the best of each sample that has ended.

    Attributes:
        state: Of the decoder, (B K, ...).
        word: (B K,), the last one.
        total: (B, K), log probability.
        words: (B, K, L), <eos> where nothing was said yet.
        weights: (B, K, L, P), where each word looked; P is 0 for a decoder that does not.
        value: (B,), of the best sentence that has ended; -inf for none.
        best: (B, L).
        looks: (B, L, P).
    """

    state: State
    word: Tensor
    total: Tensor
    words: Tensor
    weights: Tensor
    value: Tensor
    best: Tensor
    looks: Tensor

    def offered(self, values: Tensor, words: Tensor, weights: Tensor) -> Search:
        """Returns the search with those sentences that are worth more than what is known.

        Args:
            values: (B, N), -inf where none is offered.
            words: (B, N, L).
            weights: (B, N, L, P).
        """
        value, place = values.max(1)
        better = value > self.value
        words, weights = (_follow(each, place[:, None])[:, 0] for each in (words, weights))
        return self._replace(
            value=torch.where(better, value, self.value),
            best=torch.where(better[:, None], words, self.best),
            looks=torch.where(better[:, None, None], weights, self.looks),
        )


def _follow(values: Tensor, parent: Tensor) -> Tensor:
    """Returns (B, K, ...) with the history of each sentence's parent (B, K)."""
    shape = (*parent.shape, *values.shape[2:])
    return values.gather(1, parent.view(*parent.shape, *[1] * (values.ndim - 2)).expand(shape))
