"""The task: each word says which words stand around it; what it says it with becomes its vector.

Shapes: B sentences, T tokens, W tokens of the window on either side, K negatives, V words of the vocabulary, D channels
of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Modality, Objective, Padded, Rows, Split, Stage, Task, UserError, unknown, workers
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.text import SPECIAL, Text
from sensorium.builtin.modalities.vector import Vector
from sensorium_word2vec.counted import counted
from sensorium_word2vec.pairs import around, running
from sensorium_word2vec.plot import PLACES, analogies

FREQUENT = 2_000
"""Words, the most frequent ones, among which a mistyped one is looked for."""
SIGNS = {"word": 1.0, "minus": -1.0, "plus": 1.0}
"""Word -> how its vector counts in a sum such as king - man + woman."""


class SkipGram(Task):
    """Vectors of words, by the skip-gram with negative sampling or with the whole softmax."""

    class Config(Task.Config):
        """How vectors are learnt."""

        dim: int = 100
        """D, the size of a vector."""
        window: int = 5
        """Most words on either side that a word is to say; how many it is drawn for each word, from 1."""
        loss: Literal["negative", "softmax"] = "negative"
        """`negative` tells words that stand nearby from words that are drawn (Mikolov et al. 2013b, 2.2); `softmax`
        gives each word of the vocabulary a probability (2013a)."""
        negatives: int = 5
        """K, words that are drawn for each word."""
        power: float = 0.75
        """What the frequency of a word is raised to when they are drawn."""
        sample: float = 1e-3
        """Share of all words above which a word is left out at random (2013b, 2.3); 0 leaves none out."""
        counted: int = 0
        """Size of vectors by counting, to compare with: a singular value decomposition of positive mutual
        information. 0 for none. It takes the square of the vocabulary in memory."""
        nearest: int = 10
        """Words that a prediction names."""

        def __post_init__(self) -> None:
            if min(self.dim, self.window, self.negatives, self.nearest) < 1 or min(self.counted, self.sample) < 0:
                raise ValueError("dim, window, negatives and nearest are at least 1, counted and sample at least 0.")

    config: Config
    counts: Tensor
    counted: Tensor

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        text = modalities["text"]
        if not isinstance(text, Text):
            raise UserError("The field 'text' is not text.", "Its modality is `text`.", "Set modalities.text.")
        self.text, size = text, text.tokenizer.get_vocab_size()
        self.words: nn.Embedding = nn.Embedding(size, config.dim)
        self.contexts: nn.Embedding = nn.Embedding(size, config.dim)
        for table in (self.words, self.contexts):
            nn.init.uniform_(table.weight, -0.5 / config.dim, 0.5 / config.dim)
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("counted", torch.zeros(size, config.counted) if config.counted else None)
        self.inputs = dict.fromkeys(SIGNS, text)
        self.optional = frozenset({"minus", "plus"})
        words, names = (
            [str(text.tokenizer.id_to_token(number)) for number in range(len(SPECIAL), size)],
            Tags(Tags.Config()),
        )
        names.restore({"names": words})
        self.outputs = {"nearest": names, "word_embedding": Vector(Vector.Config(size=config.dim))}
        self.embeddings = {"word": "word_embedding"}

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """Returns the one stage, before which words are counted."""
        objective = Objective("skip_gram", ["words", "contexts"], self.forward, self.losses)
        return [Stage("train", [objective], self.count)]

    def count(self, batches: Iterable[Batch]) -> None:
        """Counts the words of the training split, and learns vectors by counting if they are asked for."""
        counts = torch.zeros_like(self.counts, dtype=torch.float64)
        size = len(counts) if self.config.counted else 0
        near = torch.zeros(size, size)
        for batch in batches:
            text: Padded = batch["text"]
            ids, kept = running(text, text.mask & (text.data >= len(SPECIAL)))
            counts += torch.bincount(ids[kept], minlength=len(counts)).cpu()
            if size:
                places, pairs = around(kept, self.config.window)
                cells = (ids[:, :, None] * size + ids[:, places])[pairs].cpu()
                near.view(-1).index_add_(0, cells, torch.ones(len(cells)))
        self.counts.copy_(workers.add(counts))
        if self.config.counted:
            self.counted.copy_(counted(workers.add(near), self.config.counted, self.config.power))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss of each running word (B, T) and which words run, or the vectors of asked words (B, D)."""
        if "text" not in batch:
            asked = [name for name in (*SIGNS, "answer", "other") if name in batch]
            return {name: self._vector(batch[name], self.words.weight) for name in asked}
        config, text = self.config, batch["text"]
        longest, length = self.text.config.max_length, text.data.shape[1]
        kept = text.mask & (text.data >= len(SPECIAL))
        if config.sample:
            share = config.sample * self.counts.sum() / self.counts[text.data]
            kept = kept & (batch.uniform("kept", longest)[:, :length] < share.sqrt() + share)
        ids, kept = running(text, kept)
        reach = 1 + (batch.uniform("reach", longest)[:, :length] * config.window).long()  # (B, T)
        places, near = around(kept, config.window, reach)  # (T, 2W), (B, T, 2W)
        count = near.sum(-1)  # (B, T)
        words = self.words(ids)
        scores = (words @ self.contexts(ids).mT).gather(2, places.expand(ids.shape[0], -1, -1))  # (B, T, 2W)
        if config.loss == "softmax":
            every = words @ self.contexts.weight[len(SPECIAL) :].T  # (B, T, V)
            loss = count * every.logsumexp(-1) - (scores * near).sum(-1)
        else:
            drawn = self._drawn(batch, longest)[:, : ids.shape[1]]  # (B, T, K)
            against = (self.contexts(drawn) @ words[..., None]).squeeze(-1)  # (B, T, K)
            same = ((drawn[:, :, None] == ids[:, places, None]) & near[..., None]).sum(2)  # drawn, but it stands there
            loss = (near * F.softplus(-scores)).sum(-1) + ((count[..., None] - same) * F.softplus(against)).sum(-1)
        return {"loss": loss, "runs": kept & (count > 0)}

    def _drawn(self, batch: Batch, longest: int) -> Tensor:
        """Returns words drawn by their frequency to a power, (B, longest, K)."""
        weights = self.counts[len(SPECIAL) :] ** self.config.power
        edges = weights.double().cumsum(0) / weights.double().sum()
        drawn = batch.uniform("drawn", longest, self.config.negatives)
        return len(SPECIAL) + torch.searchsorted(edges, drawn.double()).clamp(max=len(edges) - 1)

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the mean, over the running words of the global batch, of the loss that each has."""
        return {"around": workers.mean_over(outputs["loss"], batch, outputs["runs"])}

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns what the vectors say of analogies and of pairs of words, learnt ones and counted ones."""
        if "text" in batch:
            return {"runs": outputs["runs"].sum(1)}
        known = {name: self._known(batch[name]) for name in outputs}
        rows: Rows = {"embedding.word": outputs["word"]}
        if "other" in outputs:
            rows |= {"known": known["word"] & known["other"], "rating": batch["rating"]}
        else:
            rows["asked"] = torch.stack(list(known.values())).all(0)
            rows |= {f"vector.{name}": self._vector(batch[name], self.words.weight) for name in PLACES}
        for kind, vectors in self._kinds():
            if "other" in outputs:
                one, other = (self._vector(batch[name], vectors) for name in ("word", "other"))
                rows[f"cosine.{kind}"] = (one * other).sum(-1)
            else:
                found = len(SPECIAL) + self._cosines(batch, vectors).argmax(-1)
                rows[f"right.{kind}"] = found == batch["answer"].data[:, 1]
        return rows

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns also `analogies.png`, where analogies are asked and known."""
        drawn = super().plots(rows, split)
        if "vector.answer" in rows and rows["asked"].any():
            drawn["analogies.png"] = analogies(rows, split)
        return drawn

    def _kinds(self) -> Iterator[tuple[str, Tensor]]:
        yield "learnt", self.words.weight
        if self.config.counted:
            yield "counted", self.counted

    @staticmethod
    def _known(text: Padded) -> Tensor:
        """Returns whether each text is one word of the vocabulary, (B,): <bos>, the word, <eos>."""
        return (text.mask.sum(1) == 3) & (text.data[:, 1] >= len(SPECIAL))

    @staticmethod
    def _vector(text: Padded, vectors: Tensor) -> Tensor:
        """Returns the mean of the words' vectors, of unit length, (B, D)."""
        words = (text.mask & (text.data >= len(SPECIAL))).to(vectors.dtype)
        units = F.normalize(vectors, dim=-1)[text.data]
        return F.normalize((units * words[..., None]).sum(1), dim=-1)

    def _cosines(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Returns how near each word lies to word - minus + plus, (B, V); the words of the question lie farthest."""
        given = [name for name in SIGNS if name in batch]
        total = torch.stack([SIGNS[name] * self._vector(batch[name], vectors) for name in given]).sum(0)
        units = F.normalize(vectors[len(SPECIAL) :], dim=-1)
        cosines = F.normalize(total, dim=-1) @ units.T
        for name in given:
            asked = torch.zeros(cosines.shape[0], len(vectors), dtype=torch.bool, device=cosines.device)
            asked.scatter_(1, batch[name].data, batch[name].mask)
            cosines = cosines.masked_fill(asked[:, len(SPECIAL) :], -1.0)
        return cosines

    def _strange(self, word: str) -> UserError:
        names: list[str] = self.outputs["nearest"].names  # type: ignore[attr-defined]
        return unknown("word", word, names[:FREQUENT], "the vocabulary")

    # ---- use ---------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the vector of a word, and the cosines of the words nearest to it, or to word - minus + plus.

        Raises:
            UserError: The training did not have a word.
        """
        for name in SIGNS:
            if name in batch and not torch.compiler.is_exporting():  # a graph refuses nothing
                strange = ~(batch[name].mask & (batch[name].data >= len(SPECIAL))).any(1)
                if strange.any():
                    raise self._strange(str(batch.samples[int(strange.long().argmax())].get(name, "")))
        cosines = self._cosines(batch, self.words.weight).clamp(min=0)
        best = cosines.topk(min(self.config.nearest, cosines.shape[1]))
        near = torch.zeros_like(cosines).scatter_(1, best.indices, best.values)
        return {"nearest": near, "word_embedding": self._vector(batch["word"], self.words.weight)}
