"""Sounds of Flickr videos with what two networks say of their frames, in the layout of the authors' training code.

    mp3/<clip>.mp3                             the sound of a video
    lmdbs/train_frames4_<shard>.txt            N frames, a path .../frames/<clip>/<number>.jpg in each line
    features/VGG16_IMNET_TRAIN_B<shard>/prob   (N, 1000) float32, row by row: ImageNet's objects in each frame
    features/VGG16_PLACES2_TRAIN_B<shard>/prob (N, 401) float32: Places' scenes

A clip's frames stand in adjacent lines; the k-th goes with the k-th five seconds of its sound.

After Y. Aytar, C. Vondrick, A. Torralba, SoundNet, NIPS 2016: data/donkey_audio.lua and main_train.lua.

Shapes: N frames of a shard, T samples and C channels of a sound.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from torch.utils import data

from sensorium import Dataset, MediaError, Sample, Split, UserError, expanded
from sensorium.builtin.datasets.files import lines, read_text
from sensorium.builtin.values import once

TEACHERS = {"object": ("VGG16_IMNET_TRAIN_B", 1000), "scene": ("VGG16_PLACES2_TRAIN_B", 401)}
"""Field -> the network that gave it, and its classes."""
SECONDS = 5
"""Length of the sound that goes with a frame."""


class FlickrSounds(Dataset):
    """Sounds with probabilities of objects and scenes, to train on; a source of `union` beside labelled sounds."""

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "object": "vector", "scene": "vector"}
    splits = ("train",)

    class Config(Dataset.Config):
        """Where the files lie."""

        root: str
        """Folder of mp3, lmdbs and features."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = Path(expanded(config.root))

    def open(self, split: str) -> Split:
        """Returns the only split.

        Raises:
            UserError: A file is missing or does not fit its list of frames.
        """
        lists = sorted((self.root / "lmdbs").glob("train_frames4_*.txt"))
        if not lists:
            raise UserError(f"There is no list {self.root}/lmdbs/train_frames4_*.txt.", hint="Set its `root`.")
        return data.ConcatDataset([Shard(self.root, path) for path in lists])


class Shard(data.Dataset[Sample]):
    """The frames of one list: for each the probabilities from both networks, and five seconds of sound."""

    def __init__(self, root: Path, listing: Path) -> None:
        self.root = root
        self.frames: list[tuple[str, int]] = []  # clip, and which of its frames it is
        listed = [
            (line.split()[0], f"{listing}:{number}")
            for number, line in lines(read_text(listing, "list of frames", "Set `root` to a whole copy."))
        ]
        once(listed, "frame")
        begun: list[tuple[str, str]] = []  # clip, and where its frames begin, which stand in adjacent lines
        for frame, place in listed:
            clip = frame.rpartition("/")[0].rpartition("frames/")[2]
            if not clip:
                raise UserError(f"{place} names the frame {frame!r:.60}.", "frames/<clip>/<number>.jpg was expected.")
            last, number = self.frames[-1] if self.frames else ("", 0)
            self.frames.append((clip, number + 1 if clip == last else 0))
            begun += [(clip, place)] * (clip != last)
        once(begun, "clip")
        shard = listing.stem.rpartition("_")[2]
        self.tables: dict[str, Any] = {}
        for name, (network, classes) in TEACHERS.items():
            path = root / "features" / f"{network}{shard}" / "prob"
            try:
                self.tables[name] = np.memmap(path, "<f4", "r").reshape(len(self.frames), classes)
            except (OSError, ValueError) as cause:
                raise UserError(
                    f"{path} cannot be used: {cause}.",
                    f"{classes} float32 were expected for each of the {len(self.frames)} frames in {listing}.",
                    "Set `root` to a whole copy.",
                ) from cause

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        clip, number = self.frames[index]
        sample: Sample = {"id": f"{clip}/{number}"}
        for name, table in self.tables.items():
            sample[name] = row = np.array(table[index])
            if not (row.min() >= 0 and abs(row.sum() - 1) <= 1e-3):  # also when one is not a number
                raise MediaError(
                    f"Frame {number} of {clip}, field {name!r}: {row.min():.4g} is the least, {row.sum():.4g} the sum.",
                    "Probabilities are at least 0 and add up to 1.",
                )
        return {**sample, "audio": _window(self.root / "mp3" / f"{clip}.mp3", number)}


def _window(path: Path, number: int) -> tuple[Any, int]:
    """Returns so many-th five seconds of a sound, (T, C) with its rate in Hz; silence follows where it ends."""
    try:
        with soundfile.SoundFile(path) as sound:
            length = SECONDS * sound.samplerate
            # From the beginning: inside some MP3s, libsndfile misses the place that is sought.
            wave = sound.read((number + 1) * length, "float32", always_2d=True)[number * length :]
            return np.pad(wave, ((0, length - len(wave)), (0, 0))), sound.samplerate
    except soundfile.LibsndfileError as cause:
        raise MediaError(f"{path} is not a readable sound ({cause.error_string}).", "An MP3 was expected.") from cause
