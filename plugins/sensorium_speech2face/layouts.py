"""Talking faces as their data sets hold them: a picture of somebody, and how the same person sounds.

AVSpeech (A. Ephrat et al., SIGGRAPH 2018): `avspeech_train.csv` and `avspeech_test.csv`, in which each line says which
seconds of a film show somebody who speaks, and where the face is; `train/<film>_<start>_<end>.mp4` holds the seconds.
VoxCeleb (A. Nagrani et al., INTERSPEECH 2017): `vox1_meta.csv`, `wav/<number>/<film>/00001.wav`, and faces
that are cut out already, `unzippedFaces/<name>/1.6/<film>/0000100.jpg`. Other films: a table `index.csv`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Dataset, MediaError, Sample, UserError
from sensorium.builtin.datasets.files import Columns, csv_rows, lines, read_text, require, require_media
from sensorium.builtin.modalities.video import Video
from sensorium.builtin.values import clean

RATE = 16000
"""Samples a second of the voices."""
FRAME_RATE = 5.0
"""Frames a second that are looked at, of which the first is the picture: the sound is as long as they are."""
FILMS = 64
"""Films that are kept as they were decoded."""
COLUMNS = ("VoxCeleb1 ID", "VGGFace1 ID", "Set")


class Films(Columns):
    """A split whose pictures and voices lie in films.

    Args:
        columns: `id` and `film`, perhaps `centre`, and other fields.
        source: Table or folder, for messages.
        face: Side of the square around the centre, as a share of the frame's height.
    """

    def __init__(self, columns: dict[str, Sequence[Any]], source: object, face: float = 1.0) -> None:
        super().__init__(columns, source)
        self.face = face

    def __getitem__(self, index: int) -> Sample:
        """Returns the first frame, cut to the face, and the sound."""
        sample = super().__getitem__(index)
        frame, sound = _talking(str(sample.pop("film")))
        if "centre" in sample:
            frame = square(frame, sample.pop("centre"), self.face)
        return {**sample, "image": frame, "audio": (sound, RATE)}


class AVSpeech(Dataset):
    """Stretches of films in which one person is seen and heard. Films that are gone from the web are left out."""

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "image": "image"}

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder of avspeech_train.csv, avspeech_test.csv, train and test."""
        face: float = 0.5
        """Side of the square around a face's centre, as a share of the frame's height."""

        def __post_init__(self) -> None:
            if not 0 < self.face <= 1:
                raise ValueError("face lies above 0 and not above 1.")

    config: Config

    def open(self, split: str) -> Films:
        """Returns the stretches of a split whose films are there.

        Raises:
            UserError: There is no table or no film of it, or a line has another form.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of avspeech_train.csv.")
        table = root / f"avspeech_{split}.csv"
        folder = require(root / split, "folder of films", "Fetch the films that the table names.")
        there = {path.name for path in folder.iterdir()}
        columns: dict[str, list[Any]] = {"id": [], "film": [], "centre": []}
        for number, line in lines(read_text(table, "table", "Set dataset.root to the folder that holds it.")):
            name, centre = _stretch(line, f"{table}:{number}")
            if f"{name}.mp4" in there:
                columns["id"].append(name)
                columns["film"].append(str(folder / f"{name}.mp4"))
                columns["centre"].append(centre)
        return Films(columns, folder, self.config.face)  # type: ignore[arg-type]


class VoxCeleb(Dataset):
    """Celebrities speaking in interviews, with a face of the same film. The test's people are not in the training."""

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "image": "image", "identity": "label"}

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder of vox1_meta.csv, wav and unzippedFaces."""

    config: Config

    def open(self, split: str) -> Columns:
        """Returns the voices of a split whose films have faces.

        Raises:
            UserError: There is no table or folder.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of vox1_meta.csv.")
        voices = require(root / "wav", "folder of voices", "Unpack vox1_dev_wav.zip and vox1_test_wav.zip.")
        pictures = require(root / "unzippedFaces", "folder of faces", "Unpack the faces that are cut out.")
        table = root / "vox1_meta.csv"
        text = io.StringIO()  # of tabs, which become commas
        csv.writer(text).writerows(line.split("\t") for line in read_text(table, "table", "Fetch it.").splitlines())
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", "identity", "audio", "image")}
        for _, row in csv_rows(text.getvalue(), table, COLUMNS):
            number, name = clean(row[COLUMNS[0]]), clean(row[COLUMNS[1]])
            if {"dev": "train", "test": "test"}.get(clean(row[COLUMNS[2]])) != split:
                continue
            for film in sorted((voices / number).glob("*")):
                faces = sorted((pictures / name / "1.6" / film.name).glob("*.jpg"))
                for turn, voice in enumerate(sorted(film.glob("*.wav")) if faces else ()):
                    columns["id"].append(f"{number}/{film.name}/{voice.stem}")
                    columns["audio"].append(str(voice))
                    columns["image"].append(str(faces[turn % len(faces)]))
                    columns["identity"].append(number)
        columns["group"] = columns["identity"]
        return Columns(columns, root)


class TalkingFaces(Dataset):
    """Films of people who speak, listed in a table; training and test are the same: a few to be learnt by heart."""

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "image": "image", "identity": "label"}

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder with index.csv, whose columns `id` and `video` name a clip and its film, and `speaker`, if it is
        there, who speaks; without it each clip has a speaker of its own."""

    config: Config

    def open(self, split: str) -> Films:
        """Returns all films.

        Raises:
            UserError: There is no table, or a film is not there.
        """
        table = require(Path(self.config.root) / "index.csv", "table", "Set dataset.root to the folder that holds it.")
        rows = [row for _, row in csv_rows(read_text(table, "table", "Set dataset.root."), table, ("id", "video"))]
        films = [str(table.parent / clean(row["video"])) for row in rows]
        require_media(films, table)
        ids = [clean(row["id"]) for row in rows]
        people = [clean(row.get("speaker", "")) or name for row, name in zip(rows, ids, strict=True)]
        return Films({"id": ids, "group": people, "identity": people, "film": films}, table)


def square(frame: NDArray[np.uint8], centre: tuple[float, float], share: float) -> NDArray[np.uint8]:
    """Returns a square part of a frame (h, w, 3), moved inwards where it would leave the frame.

    Args:
        frame: The whole.
        centre: Across and down, as shares of width and height.
        share: Of the height, its side.
    """
    height, width = frame.shape[:2]
    side = max(1, min(round(share * height), width))
    left, top = (
        min(max(0, round(at * whole - side / 2)), whole - side)
        for at, whole in zip(centre, (width, height), strict=True)
    )
    return frame[top : top + side, left : left + side]


@lru_cache(FILMS)
def _talking(film: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns the first frame (h, w, 3) of a film, and its sound (T,) at 16,000 Hz.

    Raises:
        MediaError: It cannot be read, or has no sound.
    """
    footage = Video(Video.Config(frame_rate=FRAME_RATE, sample_rate=RATE)).decode(film)
    sound: NDArray[np.float32] = footage.sound[0].numpy()
    if not sound.any():
        raise MediaError(f"{film} has no sound.", "The film of a speaker was expected.", "Leave it out.")
    return footage.frames[0].permute(1, 2, 0).numpy().copy(), sound


def _stretch(line: str, place: str) -> tuple[str, tuple[float, float]]:
    """Returns the name of a stretch, and the centre of the face as shares of the sides."""
    cells = next(csv.reader(io.StringIO(line)))
    try:
        film, start, end, across, down = (cell.strip() for cell in cells)
        float(start), float(end)
        centre = float(across), float(down)
    except ValueError:
        centre = (-1.0, -1.0)
    if not all(0 <= each <= 1 for each in centre):
        raise UserError(
            f"{place} is {line[:80]!r}.", "Film, start, end, and the face's centre as shares were expected.", "Mend it."
        )
    return f"{film}_{start}_{end}", centre
