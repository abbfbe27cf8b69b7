"""The task that looks anew before each word, and shows where.

K. Xu, J. Ba, R. Kiros, K. Cho, A. Courville, R. Salakhutdinov, R. Zemel, Y. Bengio, Show, Attend and Tell: Neural
Image Caption Generation with Visual Attention, ICML 2015.

Of a sound, rows are frequencies, the lowest first, and columns are times.

Shapes: B samples, T words with <bos> and <eos>, L words said, P = H * W places, h rows and w columns of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from sensorium import Batch, Features, Modality, Padded, Rows, Split, UserError
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.heatmaps import Heat, Heatmaps
from sensorium.builtin.modalities.image import Image
from sensorium_captioning.report import Heard, listened
from sensorium_captioning.task import ShowAndTell

DRAWN = 2
"""Samples of a split whose attention a report shows."""


class ShowAttendAndTell(ShowAndTell):
    """A sentence for a picture or a sound, and where each word looked."""

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
        if not isinstance(image, (Image, Audio)) or image.form not in ("image", "spectrogram"):
            raise UserError(
                f"The field {config.image!r} is not a picture, nor a spectrogram.",
                "Looks are shown on one.",
                "Take show_and_tell, or set `view: log_mel` of a sound.",
            )
        follows = config.image if isinstance(image, Image) else None
        self.outputs = {**self.outputs, "attention": Heatmaps(Heatmaps.Config(), self.text, image, follows)}

    def terms(self, told: Any, sentences: Padded, places: Tensor | None = None) -> dict[str, Tensor]:
        """Returns the loss of the words, and how far the looks at the real places are from 1 (equation 14).

        The paper adds sums over words and over places; here both are divided by the number of words, since that
        of the words is a mean. Steps of padding count nothing.

        Raises:
            UserError: The decoder does not look.
        """
        if told.attention is None:
            raise UserError("model.decoder pays no attention.", "One that does was expected.", "Take `attention_lstm`.")
        terms = super().terms(told, sentences, places)
        if self.config.doubly_stochastic:
            real = sentences.mask[:, 1:]
            looks = (told.attention * real[:, :, None]).sum(1)  # (B, P)
            far = (1 - looks).square() if places is None else (1 - looks).square() * places
            terms["attention"] = self.config.doubly_stochastic * far.sum(1) / real.sum(1)
        return terms

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns also `peaks`, and `words` (L,) with their `looks` (L, H, W), of 8 bits, for a plot.

        Peaks are, for each word of a sentence, the word and the row and column of the look's peak: the middle of the
        place, as shares of the picture's sides, whatever size its modality makes it. Padding counts for nothing.
        """
        said, features = self.said(batch)
        rows = self.spoken(said, batch)
        height, width = self._grid(features)
        real = [width] * len(said.words)
        if features.mask is not None:
            real = features.mask.unflatten(1, (height, width))[:, 0].sum(1).tolist()
        at = said.attention.argmax(2).cpu().double()  # (B, L); in float32 a middle could miss a box's border
        across = (at % width + 0.5) / torch.tensor(real, dtype=at.dtype)[:, None]
        middles = torch.stack([(at // width + 0.5) / height, across], 2).tolist()
        peaks = []
        for words, places in zip(said.words.cpu(), middles, strict=True):
            named = [self.text.encode(word[None]) for word in words]
            peaks.append([(word, *place) for word, place in zip(named, places, strict=True) if word])
        looks = said.attention.unflatten(2, (height, width)).mul(255).round().byte().cpu()
        cut = [look[..., :count] for look, count in zip(looks, real, strict=True)]
        return rows | {"peaks": peaks, "words": list(said.words.cpu()), "looks": cut}

    @staticmethod
    def _grid(features: Features) -> tuple[int, int]:
        if features.grid is None or len(features.grid) != 2:
            raise UserError(
                "The encoder's places lie on no grid.", "Rows and columns were expected.", "Take `convnet`."
            )
        return features.grid[0], features.grid[1]

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns also where a few sentences looked, or when and at which pitch they listened."""
        drawn, image = super().plots(rows, split), self.modalities[self.config.image]
        some = range(min(DRAWN, len(split)))
        values = [image.transform(image.decode(split[place][self.config.image]), None) for place in some]
        looks = [rows["looks"][place].float() / 255 for place in some]
        if isinstance(image, Audio):
            second = image.config.sample_rate / image.config.hop_length
            words = [[word for word, *_ in rows["peaks"][place]] for place in some]
            heard = [
                Heard(value[0], value.shape[2] / second, said, look[: len(said)])
                for value, said, look in zip(values, words, looks, strict=True)
            ]
            return {**drawn, "listened.png": listened(heard)}
        for place, (value, look) in enumerate(zip(values, looks, strict=True)):
            heat = Heat(look, rows["words"][place], value)
            drawn[f"attention_{place}.png"] = self.outputs["attention"].encode(heat)
        return drawn

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `caption` (B, L), ids of words, and `attention`, a map (H, W) for each of them."""
        said, features = self.said(batch)
        maps = said.attention.unflatten(2, self._grid(features))
        return {"caption": said.words, "attention": Heat(maps, said.words, batch[self.config.image])}
