"""The task that looks anew before each word, and shows where.

K. Xu, J. Ba, R. Kiros, K. Cho, A. Courville, R. Salakhutdinov, R. Zemel, Y. Bengio, Show, Attend and Tell: Neural
Image Caption Generation with Visual Attention, ICML 2015.

Shapes: B samples, T words with <bos> and <eos>, L words said, P = H * W places, h rows and w columns of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from sensorium import Batch, Features, Modality, Padded, Rows, Split, UserError
from sensorium.builtin.modalities.heatmaps import Heat, Heatmaps
from sensorium.builtin.modalities.image import Image
from sensorium_captioning.task import ShowAndTell

DRAWN = 2
"""Samples of a split whose attention a report shows."""


class ShowAttendAndTell(ShowAndTell):
    """A sentence for a picture, and where each word looked."""

    experiment: ClassVar[str] = "show_attend_and_tell.yaml"

    class Config(ShowAndTell.Config):
        """What looking costs."""

        doubly_stochastic: float = 1.0
        """Lambda of equation 14: weight of the term that asks the looks at each place to sum to 1 over a sentence;
        0 leaves it out."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image = modalities[config.image]
        if not isinstance(image, Image):
            raise UserError(
                f"The field {config.image!r} is not a picture.", "Looks are shown on one.", "Take show_and_tell."
            )
        self.outputs = {**self.outputs, "attention": Heatmaps(Heatmaps.Config(), self.text, image)}

    def terms(self, told: Any, sentences: Padded) -> dict[str, Tensor]:
        """Returns the loss of the words, and how far the looks at the places are from 1 (equation 14).

        The paper adds sums over words and over places; here both are divided by the number of words, since that
        of the words is a mean. Steps of padding count nothing.

        Raises:
            UserError: The decoder does not look.
        """
        if told.attention is None:
            raise UserError("model.decoder pays no attention.", "One that does was expected.", "Take `attention_lstm`.")
        terms = super().terms(told, sentences)
        if self.config.doubly_stochastic:
            real = sentences.mask[:, 1:]
            looks = (told.attention * real[:, :, None]).sum(1)  # (B, P)
            terms["attention"] = self.config.doubly_stochastic * (1 - looks).square().sum(1) / real.sum(1)
        return terms

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns also `peaks`, and `words` (L,) with their `looks` (L, H, W), of 8 bits, for a plot.

        Peaks are, for each word of a sentence, the word and the row and column of the look's peak: the middle of the
        place, as shares of the picture's sides, whatever size its modality makes it.
        """
        said, features = self.said(batch)
        rows = self.spoken(said, batch)
        height, width = self._grid(features)
        at = said.attention.argmax(2).cpu().double()  # (B, L); in float32 a middle could miss a box's border
        middles = torch.stack([(at // width + 0.5) / height, (at % width + 0.5) / width], 2).tolist()
        peaks = []
        for words, places in zip(said.words.cpu(), middles, strict=True):
            named = [self.text.encode(word[None]) for word in words]
            peaks.append([(word, *place) for word, place in zip(named, places, strict=True) if word])
        looks = said.attention.unflatten(2, (height, width)).mul(255).round().byte().cpu()
        return rows | {"peaks": peaks, "words": list(said.words.cpu()), "looks": list(looks)}

    @staticmethod
    def _grid(features: Features) -> tuple[int, int]:
        if features.grid is None or len(features.grid) != 2:
            raise UserError(
                "The encoder's places lie on no grid.", "Rows and columns were expected.", "Take `convnet`."
            )
        return features.grid[0], features.grid[1]

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns also where a few sentences looked."""
        drawn, image = super().plots(rows, split), self.modalities[self.config.image]
        for place in range(min(DRAWN, len(split))):
            picture = image.transform(image.decode(split[place][self.config.image]), None)
            heat = Heat(rows["looks"][place].float() / 255, rows["words"][place], picture)
            drawn[f"attention_{place}.png"] = self.outputs["attention"].encode(heat)
        return drawn

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `caption` (B, L), ids of words, and `attention`, a map (H, W) for each of them."""
        said, features = self.said(batch)
        maps = said.attention.unflatten(2, self._grid(features))
        return {"caption": said.words, "attention": Heat(maps, said.words, batch[self.config.image])}
