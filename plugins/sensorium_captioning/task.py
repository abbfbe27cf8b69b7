"""The task: an encoder looks at a picture, a decoder says what is there.

O. Vinyals, A. Toshev, S. Bengio, D. Erhan, Show and Tell: A Neural Image Caption Generator, CVPR 2015.

Shapes: B samples, T words with <bos> and <eos>, L words said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor

from sensorium import (
    Batch,
    Decoder,
    Encoder,
    Features,
    Image,
    Loss,
    Modality,
    Objective,
    Padded,
    Rows,
    Split,
    Stage,
    Task,
    Text,
    UserError,
    WordDecoder,
    unknown,
)
from sensorium_captioning.report import captioned

SHOWN = 8
"""Pictures of a split that a report shows."""


class ShowAndTell(Task):
    """A sentence for a picture, or what else an encoder reads. Stages: those of `recognition`, then `caption`."""

    experiment: ClassVar[str] = "show_and_tell.yaml"
    probe: ClassVar[Mapping[str, Any]] = {"dataset.cells": 1, "dataset.most": 1}
    exportable = False  # the number of its steps depends on the sentences

    class Config(Task.Config):
        """The parts, and how sentences are taught and searched."""

        image: str = "image"
        """Field that is looked at: a picture, or what else the encoder reads, such as a sound."""
        caption: str = "caption"
        """Field with one sentence about it."""
        encoder: Encoder.Config | None = None
        """What sees, from scratch or with published weights; either this or `recognition`."""
        recognition: Task.Config | None = None
        """A task whose encoder sees, with weights or trained first: a network that has learnt to name things."""
        fine_tune: bool | None = None
        """Whether the network that sees is trained along; None trains it where it starts without weights."""
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
        """Raw fields of the samples that figures read, as rows `sample.<field>`."""

        def __post_init__(self) -> None:
            if (self.encoder is None) == (self.recognition is None):
                raise ValueError("Name either an encoder or a recognition.")
            if not 0 <= self.scheduled_sampling <= 1 or self.beam < 1 or self.length_power < 0:
                raise ValueError("scheduled_sampling lies in [0, 1], beam is at least 1, length_power at least 0.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        for name, kind in ((config.image, Modality), (config.caption, Text)):  # what is seen its encoder may refuse
            if not isinstance(modalities.get(name), kind):
                raise UserError(
                    f"The field {name!r} has no modality{' text' if kind is Text else ''}.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`, or set model.image and model.caption.",
                )
        self.text: Text = modalities[config.caption]  # type: ignore[assignment]
        if config.encoder is not None:
            self.encoder: Encoder = config.encoder.build(modalities[config.image])
            dim = self.encoder.dim
        else:
            assert config.recognition is not None
            self.recognition: Task = config.recognition.build(modalities)
            if not isinstance(getattr(self.recognition, "encoder", None), Encoder):
                raise UserError("model.recognition has no part `encoder`.", "A task with one was expected.")
            dim = self._eyes.dim
        self.decoder: WordDecoder = config.decoder.build(dim, self.text)
        if not isinstance(self.decoder, WordDecoder):
            raise UserError("model.decoder says no words.", "A decoder of words was expected.", "Take `lstm`.")
        self.loss: Loss = config.loss.build()
        if self.loss.form != "classes":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over classes was expected.")
        self.inputs, self.outputs = {config.image: modalities[config.image]}, {"caption": self.text}

    @property
    def _eyes(self) -> Encoder:
        if self.config.encoder is not None:
            return self.encoder
        eyes: Encoder = self.recognition.encoder  # type: ignore[assignment]
        return eyes

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns the stages of the recognition, and that of the sentences."""
        seeing = "encoder" if self.config.recognition is None else "recognition.encoder"
        trains = self.config.fine_tune
        if trains is None:  # a recognition has learnt before the sentences begin
            trains = self.config.recognition is None and getattr(self.config.encoder, "weights", None) is None
        caption = Objective("caption", ["decoder", *([seeing] if trains else [])], self.forward, self.losses)
        earlier = [] if self.config.recognition is None else self.earlier("recognition")
        return [*earlier, Stage("caption", [caption])]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the terms of the loss of each sample (B,), of sentences as the batch has them."""
        sentences: Padded = batch[self.config.caption]
        told = self.decoder.teach(self.look(batch), sentences, self._own(sentences, batch))
        return self.terms(told, sentences)

    def terms(self, told: Any, sentences: Padded) -> dict[str, Tensor]:
        """Returns `words`: the loss of each sentence, the mean over its real words after <bos>."""
        return {"words": self.loss(told.logits.float(), sentences.data[:, 1:], sentences.mask[:, 1:])}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the terms, each (B,)."""
        return dict(outputs)

    def look(self, batch: Batch) -> Features:
        """Returns what is seen."""
        features: Features = self._eyes(batch[self.config.image])
        return features

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

    def said(self, batch: Batch) -> tuple[Any, Features]:
        """Returns the sentences as the decoder gives them, by the search that is set, and what was seen."""
        features = self.look(batch)
        return self.decoder.say(features, self.config.beam, self.config.length_power), features

    def pictures(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns the first pictures with what was said of them; none of what is heard."""
        image = self.modalities[self.config.image]
        if not isinstance(image, Image):
            return {}
        some = range(min(SHOWN, len(split)))
        seen = [image.encode(image.transform(image.decode(split[i][self.config.image]), None)) for i in some]
        return {"captions.png": captioned(seen, rows["generated"])}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns what was said of the first sample, and what people say."""
        return [f"{rows['id'][0]}: {rows['generated'][0]!r}; people say {rows['references'][0][0]!r}."]

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `caption` (B, L), ids of words."""
        return {"caption": self.said(batch)[0].words}

    def asked(self, samples: Sequence[Mapping[str, Any]]) -> Batch:
        """Returns a batch of pictures from raw samples."""
        name = self.config.image
        image = self.modalities[name]
        values = [image.transform(image.decode(sample[name]), None) for sample in samples]
        device = next(self.parameters()).device
        return Batch([dict(each) for each in samples], {name: image.collate(values)}).to(torch.device(device))


def _references(sample: Mapping[str, Any], caption: str) -> list[str]:
    """Returns all captions of a sample; a field that a user calls `captions` is none of a dataset's lists of them."""
    given = sample.get("captions")
    return given if isinstance(given, list) and given else [sample[caption]]
