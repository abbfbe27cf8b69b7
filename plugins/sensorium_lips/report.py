"""What a clip of lips shows: its sound, how the mouth moves, and the film before and after.

Shapes: F frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from sensorium import Modality, Rows, Sample
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.video import Video
from sensorium.ops.plots import figure, png
from sensorium_lips.composing import composed, played

SHOWN = 8
"""Frames that are drawn, of all heights of the mouth."""


def clip(rows: Rows, sample: Sample, reads: Mapping[str, Modality], config: Any, frame_rate: float) -> bytes:
    """Returns a PNG of the first clip.

    Args:
        rows: `openings` and `true_openings`, (F, 2), and `mouths` (F, 20, 2), lists with an item for each clip.
        sample: The first clip; perhaps without a film.
        reads: Field -> modality of the sound, the film and its landmarks.
        config: Of the task: the names of the fields, and how many candidates there are.
        frame_rate: Frames a second.
    """
    audio = reads[config.audio]
    assert isinstance(audio, Audio)
    there = config.target in sample
    mouths = torch.view_as_complex(rows["mouths"][0])
    by_height = rows["true_openings"][0][:, 0].argsort()
    places = by_height[torch.linspace(0, len(mouths) - 1, min(SHOWN, len(mouths))).long()].sort().values
    drawing = figure(11, 6.6 if there else 4)
    axes = drawing.add_gridspec(3 + 2 * there, len(places), height_ratios=[1, 1.6, 1.6] + [2.2] * 2 * there)
    wave = audio.transform(audio.decode(sample[config.audio]), None)[0].numpy()
    times = (torch.arange(len(mouths)) + 0.5) / frame_rate
    tracks: Any = [drawing.add_subplot(axes[row, :]) for row in range(3)]
    tracks[0].plot(torch.arange(len(wave)) / audio.config.sample_rate, wave, color="grey", linewidth=0.5)
    tracks[0].set_ylabel("sound")
    for part, name in enumerate(("aperture", "width")):
        shown = tracks[1 + part]
        shown.plot(times, rows["true_openings"][0][:, part], color="black", label="true")
        shown.plot(times, rows["openings"][0][:, part], color="tab:red", label="from the sound")
        shown.set_ylabel(name)
        for time in times[places].tolist():
            shown.axvline(time, color="lightgrey", zorder=0)
    tracks[1].legend(loc="upper right", fontsize=7)
    tracks[2].set_xlabel("seconds")
    for each in tracks:
        each.set_xlim(0, len(wave) / audio.config.sample_rate)
    if there:
        film = reads[config.target]
        assert isinstance(film, Video)
        footage, marks = film.decode(sample[config.target]), reads[config.target_landmarks]
        frames = film.transform(footage, None).frames
        landmarks = marks.follow(marks.decode(sample[config.target_landmarks]), film.geometry(footage, None)).T
        count = min(len(frames), len(landmarks))
        made = composed(frames[:count], landmarks[:count], mouths, config.candidates)
        before = frames[played(count, len(mouths), frames.device)]
        for row, (name, pictures) in enumerate((("the film", before), ("with the sound's lips", made))):
            pixels = (pictures[places] * film.frame.std + film.frame.mean).clamp(0, 1).expand(-1, 3, -1, -1)
            for column, picture in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
                shown = drawing.add_subplot(axes[3 + row, column])
                shown.imshow(picture)
                shown.set_xticks([])
                shown.set_yticks([])
                if column == 0:
                    shown.set_ylabel(name, fontsize=8)
    return png(drawing)
