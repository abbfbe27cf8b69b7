"""The task: an encoder looks at a picture, or listens to a sound, a decoder says what is there.

O. Vinyals, A. Toshev, S. Bengio, D. Erhan, Show and Tell: A Neural Image Caption Generator, CVPR 2015.

Shapes: B samples, T words with <bos> and <eos>, L words said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

from torch import Tensor

from sensorium import (
    Batch,
    Decoder,
    Loss,
    Modality,
    Objective,
    Padded,
    Rows,
    Split,
    Stage,
    UserError,
    unknown,
)
from sensorium.builtin.decoders.words import WordDecoder
from sensorium.builtin.looking import Looking, seen
from sensorium.builtin.modalities.text import Text
from sensorium_captioning.report import captioned

SHOWN = 8
"""Samples of a split that a report shows."""


class ShowAndTell(Looking):
    """A sentence for a picture, or what else an encoder reads.

    Stages: those of `recognition`, then `caption`.
    """

    experiment: ClassVar[str] = "show_and_tell.yaml"
    probe: ClassVar[Mapping[str, Any]] = {"dataset.cells": 1, "dataset.most": 1}

    class Config(Looking.Config):
        """The parts, and how sentences are taught and searched."""

        caption: str = "caption"
        """Field with one sentence about it."""
        decoder: Decoder.Config
        """What speaks."""
        loss: Loss.Config
        """A loss over classes, for the words."""
        scheduled_sampling: float = 0.0
        """Probability, when the training ends, that a word is taught after the decoder's own last one, not the right
        one; it grows evenly from 0 (S. Bengio et al., NIPS 2015, section 2.4, linear decay)."""
        beam: int = 1
        """Sentences that are followed at a time; 1 takes the likeliest word at each step."""
        length_power: float = 0.7
        """A sentence is valued by its log probability over its length to this power."""
        keep: list[str] = field(default_factory=list)
        """Raw fields of the samples that metrics read, as rows `sample.<field>`."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.scheduled_sampling <= 1 or self.beam < 1 or self.length_power < 0:
                raise ValueError("scheduled_sampling lies in [0, 1], beam is at least 1, length_power at least 0.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        if not isinstance(modalities.get(config.caption), Text):
            raise UserError(
                f"The field {config.caption!r} has no modality text.",
                f"Fields: {', '.join(modalities)}.",
                "Add it to `modalities`, or set model.caption.",
            )
        self.text: Text = modalities[config.caption]  # type: ignore[assignment]
        self.decoder: WordDecoder = config.decoder.build(self.eyes.dim, self.text)
        if not isinstance(self.decoder, WordDecoder):
            raise UserError("model.decoder says no words.", "A decoder of words was expected.", "Take `lstm`.")
        self.loss: Loss = config.loss.build()
        if self.loss.form != "classes":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over classes was expected.")
        self.inputs, self.outputs = {config.image: modalities[config.image]}, {"caption": self.text}

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns the stages of the recognition, and that of the sentences."""
        earlier, seeing = self.seeing()
        return [*earlier, Stage("caption", [Objective("caption", ["decoder", *seeing], self.forward, self.losses)])]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the terms of the loss of each sample (B,), of sentences as the batch has them."""
        sentences: Padded = batch[self.config.caption]
        features = self.look(batch)
        told = self.decoder.teacher_force(features, sentences, self._own(sentences, batch))
        return self.terms(told, sentences, features.mask)

    def terms(self, told: Any, sentences: Padded, places: Tensor | None = None) -> dict[str, Tensor]:
        """Returns `words`: the loss of each sentence, the mean over its real words after <bos>.

        Args:
            told: What the decoder makes of the sentences.
            sentences: (B, T) with <bos> and <eos>.
            places: Which places are real, (B, P); None where all are.
        """
        return {"words": self.loss(told.logits.float(), sentences.data[:, 1:], sentences.mask[:, 1:])}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the terms, each (B,)."""
        return dict(outputs)

    def _own(self, sentences: Padded, batch: Batch) -> Tensor | None:
        """Returns where the decoder follows its own words (B, T)."""
        share = self.config.scheduled_sampling * batch.progress
        if not self.training or not share:
            return None
        drawn = batch.uniform("scheduled_sampling", self.text.shape[0] or 0)[:, : sentences.data.shape[1]]
        return drawn < share

    # ---- evaluation and use ------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns `generated`, `references` (all captions of the sample), `picture`, and what `keep` names."""
        return self.spoken(self.said(batch)[0], batch)

    def spoken(self, said: Any, batch: Batch) -> Rows:
        """Returns the rows of sentences that were said."""
        image = self.config.image
        rows: Rows = {
            "generated": [self.text.encode(words) for words in said.words.cpu()],
            "references": [_references(each, self.config.caption) for each in batch.samples],
            # Not the group: scenes that are described alike share one.
            "picture": [each[image] if isinstance(each[image], str) else each["id"] for each in batch.samples],
        }
        for name in self.config.keep:
            if name not in batch.samples[0]:
                raise unknown("field", name, batch.samples[0], "model.keep")
            rows[f"sample.{name}"] = [each[name] for each in batch.samples]
        return rows

    def said(self, batch: Batch) -> tuple[Any, Any]:
        """Returns the sentences as the decoder gives them, by the search that is set, and what was seen."""
        features = self.look(batch)
        return self.decoder.generate(features, self.config.beam, self.config.length_power), features

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns the first pictures, or spectrograms, with what was said of them; none of a waveform."""
        field = self.config.image
        shown = [seen(self.modalities[field], split[place][field]) for place in range(min(SHOWN, len(split)))]
        pictures = [each for each in shown if each is not None]
        drawn = {"captions.png": captioned(pictures, rows["generated"])} if pictures else {}
        return {**super().plots(rows, split), **drawn}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns what was said of the first sample, and what people say."""
        return [f"{rows['id'][0]}: {rows['generated'][0]!r}; people say {rows['references'][0][0]!r}."]

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `caption` (B, L), ids of words."""
        return {"caption": self.said(batch)[0].words}


def _references(sample: Mapping[str, Any], caption: str) -> list[str]:
    """Returns all captions of a sample; a field that a user calls `captions` is none of a dataset's lists of them."""
    given = sample.get("captions")
    return given if isinstance(given, list) and given else [sample[caption]]
