"""The task: a sound moves the lips in a film of somebody.

S. Suwajanakorn, S. M. Seitz, I. Kemelmacher-Shlizerman, Synthesizing Obama: Learning Lip Sync from Audio, SIGGRAPH
2017.

Shapes: B samples, S samples of a sound, T steps of what is heard, D numbers of a step, F frames, K coefficients of a
mouth's shape, C channels, H rows and W columns of a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import Batch, Exported, Modality, Objective, Padded, Rows, Split, Stage, Task, UserError
from sensorium.builtin.encoders.sequences import whole
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.series import Series
from sensorium.builtin.modalities.video import Footages, Video
from sensorium_lips import report
from sensorium_lips.composing import composed, darkness, played, untouched
from sensorium_lips.exported import mouths
from sensorium_lips.face import POINTS, openings, placed
from sensorium_lips.hearing import NUMBERS, Hearing, around
from sensorium_lips.measures import measured
from sensorium_lips.shapes import Shapes, Sums

REACH, STRIDE = 20, 2
"""Steps on either side of a frame that the linear filter hears, and from one of them to the next: 200 ms and 20 ms."""


class Lips(Task):
    """What lips do when somebody speaks: an LSTM that hears a little ahead, and a film with the lips put in."""

    class Config(Task.Config):
        """The fields, and how lips are learnt and put in. Published sizes by default."""

        audio: str = "audio"
        """Field of the sound."""
        landmarks: str = "landmarks"
        """Field of the landmarks of who speaks, 68 in each frame, which is learnt from."""
        target: str = "target"
        """Field of the film whose lips are moved."""
        target_landmarks: str = "target_landmarks"
        """Field of that film's landmarks."""
        delay: int = 20
        """Steps of 10 ms that are heard ahead: lips move before they are heard."""
        hidden: int = 60
        """Channels of the LSTM's state."""
        components: int = 20
        """K: principal components of the mouth's shape, at most."""
        candidates: int = 5
        """Frames of the target that each frame's mouth is put together from."""

        def __post_init__(self) -> None:
            if self.delay < 0 or min(self.hidden, self.candidates) < 1 or not 1 <= self.components <= 40:
                raise ValueError("delay is at least 0, hidden and candidates at least 1, components from 1 to 40.")

    config: Config
    heard_mean: Tensor
    heard_deviation: Tensor

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        audio, target = modalities[config.audio], modalities[config.target]
        if not isinstance(audio, Audio) or audio.form != "waveform" or audio.shape[0] != 1:
            raise UserError(
                f"{config.audio!r} is {audio.form} of {audio.shape[0]} channels.",
                "A waveform of one channel was expected.",
                f"Set modalities.{config.audio}.view=waveform.",
            )
        if not isinstance(target, Video):
            raise UserError(f"{config.target!r} is {target.form}.", "A video was expected.", "Read it by `video`.")
        for field, leader in ((config.landmarks, None), (config.target_landmarks, config.target)):
            series = modalities[field]
            ours = isinstance(series, Series) and series.shape == (2 * POINTS, None)
            if not ours or series.follows != leader:
                follows = "" if leader is None else f", follows: {leader}"
                raise UserError(
                    f"{field!r} is {series.form} of the shape {series.shape}, and follows {series.follows}.",
                    "x and y of 68 landmarks were expected, in as many frames as there are.",
                    f"Set modalities.{field}={{name: series, channels: {2 * POINTS}{follows}}}.",
                )
        self.frame_rate, self.rate = target.config.frame_rate, audio.config.sample_rate
        self.video = target
        self.hearing = Hearing(self.rate, config.delay)
        self.register_buffer("heard_mean", torch.zeros(NUMBERS))
        self.register_buffer("heard_deviation", torch.ones(NUMBERS))
        self.shapes = Shapes(config.components, NUMBERS * len(range(-REACH, REACH + 1, STRIDE)))
        self.lstm = nn.LSTM(NUMBERS, config.hidden, batch_first=True)
        self.head = nn.Linear(config.hidden, config.components)
        seen = target.config
        film = Video.Config(
            size=seen.size,
            channels=seen.channels,
            mean=seen.mean,
            std=seen.std,
            frame_rate=seen.frame_rate,
            sample_rate=self.rate,
        )
        self.inputs = {name: modalities[name] for name in (config.audio, config.target, config.target_landmarks)}
        own = {"video": Video(film), "mouth": Series(Series.Config(channels=2))}
        self.outputs = self.apart("outputs", {}, own)

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns the one stage; before it the shapes of mouths are learnt."""
        objective = Objective("lips", ["lstm", "head"], self.forward, self.losses)
        return [Stage("lips", [objective], self.prepare)]

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learns mean and deviation of what is heard, the shapes of mouths, and the linear filter."""
        sums = Sums(len(self.shapes.filter), self.heard_mean.device)
        for batch in batches:
            mouths, mask = self.mouths(batch)
            heard = self.hearing(batch[self.config.audio].data[:, 0])
            sums.add(self.windows(heard, mask.shape[1])[mask], mouths[mask])
        mean, covariance = sums.moments()
        self.shapes.fit(mean, covariance)
        middle = slice(REACH // STRIDE * NUMBERS, (REACH // STRIDE + 1) * NUMBERS)
        self.heard_mean.copy_(mean[middle])
        self.heard_deviation.copy_(covariance.diagonal()[middle].clamp(min=1e-6).sqrt())

    def mouths(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the true mouths (B, F, 20), and which are there and heard (B, F)."""
        landmarks, counts = batch[self.config.landmarks], self.counts(batch)
        there = torch.arange(landmarks.mask.shape[1], device=counts.device) < counts[:, None]
        return placed(landmarks.data.transpose(1, 2))[1], landmarks.mask & there

    def counts(self, batch: Batch) -> Tensor:
        """Returns how many frames each sound lasts, (B,)."""
        samples: Tensor = batch[self.config.audio].mask.sum(1).double()
        return (samples / self.rate * self.frame_rate).round().long().clamp(min=1)

    def windows(self, heard: Tensor, frames: int) -> Tensor:
        """Returns what is heard around each frame, for the linear filter, (B, F, W D)."""
        return around(heard, self.hearing.steps(frames, self.frame_rate, heard.device), REACH, STRIDE)

    def forward(self, batch: Batch) -> Padded:
        """Returns the coefficients of each frame's mouth, (B, F, K)."""
        return self.moved(self.hearing(batch[self.config.audio].data[:, 0]), batch)

    def moved(self, heard: Tensor, batch: Batch) -> Padded:
        """Returns what the network makes of what is heard, (B, T, D): of each frame, `delay` steps later."""
        frames = max(1, round(batch[self.config.audio].data.shape[2] / self.rate * self.frame_rate))
        steps = self.hearing.steps(frames, self.frame_rate, heard.device) + self.config.delay
        states = whole(self.lstm, (heard - self.heard_mean) / self.heard_deviation)
        mask = torch.arange(frames, device=heard.device) < self.counts(batch)[:, None]
        return Padded(self.head(states[:, steps.clamp(max=states.shape[1] - 1)]), mask)

    def losses(self, outputs: Padded, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error of the coefficients, the mean over a sample's frames, (B,)."""
        mouths, mask = self.mouths(batch)
        frames = min(outputs.data.shape[1], mask.shape[1])
        far = outputs.data[:, :frames] - self.shapes.coefficients(mouths[:, :frames])
        counts = mask[:, :frames]
        return {"shape": (far.square().mean(2) * counts).sum(1) / counts.sum(1).clamp(min=1)}

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Padded, batch: Batch) -> Rows:
        """Returns how mouths move, by the network, the filter and in truth, and what is seen of it in the film."""
        heard = self.hearing(batch[self.config.audio].data[:, 0])
        order = batch.uniform("moments", heard.shape[1]).argsort(1)
        mixed = self.moved(heard.gather(1, order[..., None].expand_as(heard)), batch)
        true, mask = self.mouths(batch)
        frames = min(outputs.data.shape[1], mask.shape[1])
        made = {
            "": self.shapes.mouths(outputs.data[:, :frames]),
            "filter_": self.shapes.filtered(self.windows(heard, frames)),
            "shuffled_": self.shapes.mouths(mixed.data[:, :frames]),
            "true_": true[:, :frames],
        }
        real = mask[:, :frames]
        rows: Rows = {f"{name}openings": kept(openings(each), real) for name, each in made.items()}
        rest = self.shapes.mouths(torch.zeros_like(outputs.data[:, :frames]))
        for name, each in (("landmark_distance", made[""]), ("rest_landmark_distance", rest)):
            far = (each - made["true_"]).abs().mean(2)
            rows[name] = (far * real).sum(1) / real.sum(1).clamp(min=1)
        rows["mouths"] = kept(torch.view_as_real(made[""]), real)
        if self.config.target in batch:
            rows |= self.seen(batch, [torch.view_as_complex(each) for each in rows["mouths"]])
        return rows

    def seen(self, batch: Batch, mouths: Sequence[Tensor]) -> Rows:
        """Returns how dark the mouth is in the film as it was and as it is made, and what is left as it was."""
        found: dict[str, list[Tensor]] = {"dark": [], "film_dark": [], "film_openings": [], "untouched": []}
        for place, own in enumerate(mouths):
            frames, landmarks = self.film(batch, place)
            made = composed(frames, landmarks, own, self.config.candidates)
            shown = played(len(frames), len(own), frames.device)
            frames, landmarks = frames[shown], landmarks[shown]
            found["dark"].append(self.darkness(made, landmarks))
            found["film_dark"].append(self.darkness(frames, landmarks))
            found["film_openings"].append(openings(placed(landmarks)[1]))
            found["untouched"].append(untouched(frames, made, landmarks))
        return {**found, "untouched": torch.stack(found["untouched"])}

    def darkness(self, frames: Tensor, landmarks: Tensor) -> Tensor:
        """Returns how dark the mouth is in normalised frames (T, C, H, W), (T,)."""
        frame = self.video.frame
        return darkness(frames * frame.std.to(frames) + frame.mean.to(frames), landmarks)

    def film(self, batch: Batch, place: int) -> tuple[Tensor, Tensor]:
        """Returns the frames (T, C, H, W) of a sample's film that have landmarks, and these, (T, 136)."""
        film, landmarks = batch[self.config.target], batch[self.config.target_landmarks]
        there = landmarks.data[place].T[landmarks.mask[place]]
        frames = film.data[place][film.mask[place]]
        count = min(len(frames), len(there))
        return frames[:count], there[:count]

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns correlations with how the mouth moves, its lag, and distances in units of that between the eyes."""
        return super().metrics(rows) | measured(rows)

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a clip: its sound, how the mouth moves, and the film before and after."""
        reads = {name: self.modalities[name] for name in self.inputs}
        drawn = report.clip(rows, split[0], reads, self.config, self.frame_rate)
        return {**super().plots(rows, split), "lips.png": drawn}

    # ---- use ---------------------------------------------------------------------------------

    def exported(self) -> dict[str, Exported]:
        """Returns how the mouth moves; the film is put together of it by searching frame by frame."""
        return {"model": mouths(self)}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the film with the lips put in, its sound with it, and how high and wide the mouth is open."""
        outputs = self(batch)
        mouths, mask = self.shapes.mouths(outputs.data), outputs.mask
        films = []
        for place, (own, real) in enumerate(zip(mouths, mask, strict=True)):
            made = composed(*self.film(batch, place), own[real], self.config.candidates)
            still = made[-1:].expand(len(own) - len(made), -1, -1, -1)
            films.append(torch.cat([made, still]))
        sound = batch[self.config.audio].data
        samples = round(mask.shape[1] / self.frame_rate * self.rate)
        sound = nn.functional.pad(sound, (0, max(0, samples - sound.shape[2])))[:, :, :samples]
        film = Footages(torch.stack(films), mask, sound)
        return {"video": film, "mouth": Padded(openings(mouths).transpose(1, 2), mask)}


def kept(values: Tensor, mask: Tensor) -> list[Tensor]:
    """Returns of each sample the values (F, ...) of values (B, F, ...) that are real."""
    return [each[real] for each, real in zip(values, mask, strict=True)]
