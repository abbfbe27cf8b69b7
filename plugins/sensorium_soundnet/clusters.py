"""A teacher for sounds that have no pictures: how alike clips are, found without any label.

A mixture of Gaussians with one width over the statistics of a clip's log-mel spectrogram. It is
trained by its likelihood; what it says of a clip are the posterior probabilities of its clusters. An
experiment that wants it says `plugins: [sensorium_soundnet.clusters]`: by itself it is not a task to learn.

Shapes: B clips, M mel bands, T frames, K clusters, D statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Modality, Rows, Task, UserError, hookimpl
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.label import Label

BANDS = 40
"""M."""
WINDOW, HOP = 1024, 512
"""Samples of a window, and from one to the next."""
RHYTHM = 32
"""Frequencies of the level's modulation that `rhythm` keeps."""


class Clusters(Task):
    """Which of some clusters a clip belongs to."""

    class Config(Task.Config):
        """What is heard, and what of it."""

        audio: str = "audio"
        """Field that is heard, a waveform."""
        view: Literal["timbre", "rhythm"] = "timbre"
        """`timbre` compares mean and deviation of each mel band, `rhythm` how the bands' level changes in time."""
        clusters: int = 16
        """K."""
        width: float = 0.2
        """Deviation of each Gaussian along a statistic, in units of the statistics' own deviation in a clip."""

        def __post_init__(self) -> None:
            if self.clusters < 2 or self.width <= 0:
                raise ValueError("clusters is at least 2, width above 0.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        heard = modalities.get(config.audio)
        if not isinstance(heard, Audio) or heard.form != "waveform":
            raise UserError(f"The field {config.audio!r} is not a waveform.", "Clusters are found among waveforms.")
        rate = heard.config.sample_rate
        least = WINDOW if config.view == "timbre" else (2 * RHYTHM - 1) * HOP
        if heard.shape[1] is not None and heard.shape[1] < least:
            raise UserError(
                f"The clips are too short for the view {config.view!r}: {heard.shape[1] / rate:g} s.",
                f"At {rate} Hz it takes {least / rate:g} s.",
                f"Raise modalities.{config.audio}.seconds, or take `timbre`.",
            )
        mel = Audio.Config(
            sample_rate=rate, view="log_mel", n_mels=BANDS, n_fft=WINDOW, hop_length=HOP, standardise=False
        )
        self.spectrogram = Audio(mel).view
        self.mixture = Mixture(config.clusters, 2 * BANDS if config.view == "timbre" else RHYTHM, config.width)
        names = Label(Label.Config())
        names.fit([str(number) for number in range(config.clusters)])
        self.inputs, self.outputs = {config.audio: heard}, {"cluster": names}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the logits of the clusters, (B, K)."""
        return {"cluster": self.mixture(self.statistics(batch[self.config.audio].data))}

    @torch.no_grad()
    def statistics(self, wave: Tensor) -> Tensor:
        """Returns what is compared of each clip (B, D): each row has mean 0 and deviation 1.

        Args:
            wave: (B, 1, S).
        """
        # With its channel: the floor in dB is then below the loudest of each clip, not of all.
        mel: Tensor = self.spectrogram.to(wave.device)(wave)[:, 0]  # (B, M, T), in dB
        if self.config.view == "timbre":
            found = torch.cat([mel.mean(2), mel.std(2)], 1)
        else:
            level = mel.mean(1)
            changes = torch.fft.rfft(level - level.mean(1, keepdim=True)).abs()[:, 1 : RHYTHM + 1]
            found = changes.clamp(min=1e-3).log()
        return F.layer_norm(found, found.shape[1:])

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the negative log likelihood of each clip (B,), in nats, but for a constant."""
        return {"likelihood": -outputs["cluster"].logsumexp(-1)}

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns the posterior of each clip."""
        return {"posterior": outputs["cluster"].softmax(-1)}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns how many clusters are used, as the exponential of the entropy of their mean posterior."""
        share = rows["posterior"].mean(0)
        return {"clusters_used": float((-(share * share.clamp(min=1e-9).log()).sum()).exp())}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the posterior, (B, K)."""
        return {"cluster": self(batch)["cluster"].softmax(-1)}


class Mixture(nn.Module):
    """Gaussians of one width, and how common each is."""

    def __init__(self, clusters: int, size: int, width: float) -> None:
        super().__init__()
        self.middles = nn.Parameter(0.5 * torch.randn(clusters, size))
        self.common = nn.Parameter(torch.zeros(clusters))
        self.width = width

    def forward(self, statistics: Tensor) -> Tensor:
        """Returns log of share times density, but for a constant, (B, K)."""
        distance = torch.cdist(statistics, self.middles).square() / statistics.shape[1]
        return self.common.log_softmax(0) - 0.5 * distance / self.width**2


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """The teacher, as a task inside another one."""
    return {"sound_clusters": Clusters}
