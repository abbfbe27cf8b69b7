"""Films of people who speak, with the landmarks of their faces: GRID's and LRS's layouts.

    s1/<name>.mpg ... s34/<name>.mpg                    GRID, or films that an index.csv names
    landmarks/s1/<name>.npy                             the landmarks of each

    trainval/<id>/<number>.mp4, test/<id>/<number>.mp4  LRS3: folders of a split, T. Afouras et al., 2018
    main/<id>/<number>.mp4, train.txt, val.txt, test.txt  LRS2: lists of <id>/<number>, J. S. Chung et al., 2017
    landmarks/trainval/<id>/<number>.npy                the landmarks of each, as the film lies

Neither set comes with landmarks: they are found by a detector, such as dlib's, and saved as arrays (frames, 68, 2) of x
and y in pixels. Films have 25 frames a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Dataset, MediaError, Sample, Split, UserError, expanded, unknown
from sensorium.builtin.datasets.files import lines, read_text, require, require_media
from sensorium.builtin.datasets.grid import Clip, clips_of
from sensorium.builtin.modalities import npy
from sensorium.builtin.modalities.video import Video

RATE, FRAME_RATE = 16000, 25
"""Samples and frames a second."""
LARGEST = 10_000_000
"""Numbers of a clip's landmarks at most."""
FIELDS = {"audio": "audio", "landmarks": "series", "target": "video", "target_landmarks": "series", "speaker": "label"}


class Faces(Dataset):
    """Clips, each with another one of the same speaker as the target; with itself where there is no other."""

    fields: ClassVar[dict[str, str]] = FIELDS

    class Config(Dataset.Config):
        """Where the films are, and how much of each is taken."""

        root: str
        """Folder of the films and of `landmarks`."""
        seconds: float = 3.0
        """How much of each clip is taken, from its beginning; shorter ones are left out."""

        def __post_init__(self) -> None:
            if self.seconds * FRAME_RATE < 1:
                raise ValueError("seconds hold at least one frame.")

    config: Config

    def clips(self, root: Path, split: str) -> list[Clip]:
        """Returns the clips of a split."""
        raise NotImplementedError

    def landmarks(self, root: Path, clip: Clip) -> Path:
        """Returns where the landmarks of a clip are."""
        raise NotImplementedError

    def open(self, split: str) -> Split:
        """Returns the clips of a split that are long enough.

        Raises:
            UserError: There are no films, or landmarks are missing.
            MediaError: Landmarks are of another form.
        """
        root = Path(expanded(self.config.root))
        found = [(clip, self.landmarks(root, clip)) for clip in self.clips(root, split)]
        for clip, path in found:
            if not path.is_file():
                raise UserError(
                    f"There are no landmarks of {clip.film} at {path}.",
                    "An array (frames, 68, 2) of x and y in pixels was expected, in NumPy's format.",
                    "Find them with a detector of landmarks, such as dlib's, and save them there.",
                )
        frames = round(self.config.seconds * FRAME_RATE)
        long = [(clip, path) for clip, path in found if frames_of(path) >= frames]
        if not long:
            raise UserError(
                f"None of the {len(found)} clips of the split {split!r} of {root} has {frames} frames.",
                "Clips of dataset.seconds, and longer ones, are taken.",
                "Lower dataset.seconds, or check dataset.root.",
            )
        return Speaking(long, frames)


class GridFaces(Faces):
    """Clips of GRID. Training and test hold the same ones, to be learnt by heart, unless `test` keeps some apart."""

    splits = ("train", "test")

    class Config(Faces.Config):
        """Which clips are taken, and which are kept apart."""

        speakers: tuple[str, ...] = ()
        """Speakers that are taken, such as s1; none takes all. The paper has one."""
        test: tuple[str, ...] = ()
        """Speakers, or ids of clips such as s1/bbaf2n, of the test; none takes those of the training."""

    config: Config

    def clips(self, root: Path, split: str) -> list[Clip]:
        """Returns the clips of a split."""
        clips = clips_of(root)
        for name in (*self.config.speakers, *self.config.test):
            if not any(name in clip[:2] for clip in clips):
                raise unknown("speaker or clip", name, {clip.speaker for clip in clips}, str(root))
        clips = [clip for clip in clips if not self.config.speakers or clip.speaker in self.config.speakers]
        kept = set(self.config.test)
        return [clip for clip in clips if not kept or kept.isdisjoint(clip[:2]) == (split == "train")]

    def landmarks(self, root: Path, clip: Clip) -> Path:
        """Returns landmarks/<id>.npy."""
        return root / "landmarks" / f"{clip.id}.npy"


class LRSFaces(Faces):
    """Clips of LRS2 and LRS3, whose speakers are called by the film that they come from."""

    class Config(Faces.Config):
        """Folders of clips, or lists of them."""

        train: str = "trainval"
        """Folder of the training's clips, or a list of them, whose name ends in .txt; empty when there is none."""
        validation: str = ""
        """Likewise, of the validation."""
        test: str = "test"
        """Likewise, of the test."""
        listed: str = "main"
        """Folder of the clips that lists name."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        named = {"train": config.train, "validation": config.validation, "test": config.test}
        self.named = {split: name for split, name in named.items() if name}
        self.splits = tuple(self.named)

    def clips(self, root: Path, split: str) -> list[Clip]:
        """Returns the clips of a split."""
        place = root / expanded(self.named[split])
        if place.suffix == ".txt":
            text = read_text(place, "list of clips", f"Set dataset.{split}.")
            names = [line.split()[0] for _, line in lines(text)]
            films = [root / self.config.listed / f"{name}.mp4" for name in names]
            require_media(map(str, films), place)
        else:
            films = sorted(require(place, "folder of clips", f"Set dataset.{split}.").glob("*/*.mp4"))
        if not films:
            raise UserError(f"There are no films in {place}.", "<id>/<number>.mp4 were expected.", "Set dataset.root.")
        return [Clip(str(film.relative_to(root).with_suffix("")), film.parent.name, film) for film in films]

    def landmarks(self, root: Path, clip: Clip) -> Path:
        """Returns landmarks/<where the film lies>.npy."""
        return root / "landmarks" / f"{clip.id}.npy"


class Speaking:
    """Clips as samples: each speaks, and the next one of the same speaker is the target."""

    def __init__(self, clips: Sequence[tuple[Clip, Path]], frames: int) -> None:
        self.clips, self.frames = clips, frames
        self.seconds = frames / FRAME_RATE
        speakers: dict[str, list[int]] = {}
        for place, (clip, _) in enumerate(clips):
            speakers.setdefault(clip.speaker, []).append(place)
        self.next = {place: own[(turn + 1) % len(own)] for own in speakers.values() for turn, place in enumerate(own)}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Sample:
        (clip, landmarks), (target, others) = self.clips[index], self.clips[self.next[range(len(self))[index]]]
        sound = Video(Video.Config(channels=1, sample_rate=RATE)).decode((str(clip.film), self.seconds)).sound
        return {
            "id": clip.id,
            "speaker": clip.speaker,
            "audio": (sound, RATE),
            "landmarks": self._read(landmarks),
            "target": (str(target.film), self.seconds),
            "target_landmarks": self._read(others),
        }

    def place(self, index: int) -> str:
        """Returns the film of a sample."""
        return str(self.clips[index][0].film)

    def _read(self, path: Path) -> NDArray[np.float32]:
        with path.open("rb") as file:
            landmarks = npy.read(file, str(path), LARGEST, "Cut the clip.")
        return landmarks[: self.frames].reshape(self.frames, -1).astype(np.float32)


def frames_of(path: Path) -> int:
    """Returns how many frames have landmarks.

    Raises:
        MediaError: The file holds something else.
    """
    shape: Any = None
    with path.open("rb") as file:
        if npy.is_npy(file):
            shape = npy.header(file)[0]
    if shape is None or len(shape) != 3 or shape[1:] != (68, 2):
        raise MediaError(
            f"{path} holds {'no array' if shape is None else f'the shape {shape}'}.",
            "Landmarks (frames, 68, 2) were expected, in NumPy's format.",
            "Save them anew.",
        )
    return int(shape[0])
