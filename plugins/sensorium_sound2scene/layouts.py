"""The videos that the authors learnt from, in their publishers' layouts, cut into frames and sounds.

VGGSound (H. Chen, W. Xie, A. Vedaldi, A. Zisserman, ICASSP 2020):

    vggsound.csv                     YouTube's id, second at which the clip starts, class, split; without a header
    frames/<id>_<start>/<number>.jpg moments of a clip, the second in six digits
    audio/<id>_<start>.wav           its sound

VEGAS (Y. Zhou et al., Visual to Sound: Generating Natural Sound for Videos in the Wild, CVPR 2018):

    <class>/img/video_<number>.jpg    a frame of a clip
    <class>/audios/video_<number>.wav its sound
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, expanded, unknown
from sensorium.builtin.datasets.files import Columns, listing, read_text, require
from sensorium.builtin.values import filled, once

FIELDS = {"image": "image", "audio": "audio", "label": "label"}


class VGGSound(Dataset):
    """Moments of clips of ten seconds with sound and class; the group of training samples is the clip."""

    fields: ClassVar[dict[str, str]] = FIELDS

    class Config(Dataset.Config):
        """Where it lies, and what is taken of it."""

        root: str
        """Folder of vggsound.csv, frames and audio."""
        classes: list[str] = field(default_factory=list)
        """Classes that are taken, as the table writes them; none takes all. The authors have fifty."""
        gone: bool = False
        """Whether clips without a folder of frames are left out; many videos have vanished since."""

    config: Config

    def open(self, split: str) -> Columns:
        """Returns the moments of a split's clips.

        Raises:
            UserError: There is no such class, the table has another form, or a file is missing.
        """
        root = Path(expanded(self.config.root))
        path = root / "vggsound.csv"
        rows = list(_rows(read_text(path, "list of clips", "Set dataset.root to the folder of vggsound.csv."), path))
        known = {label for _, label, _, _ in rows}
        for name in self.config.classes:
            if name not in known:
                raise unknown("class", name, known, "dataset.classes")
        columns = _columns()
        for clip, label, of_split, place in rows:
            frames = root / "frames" / clip
            wanted = of_split == split and label in (self.config.classes or known)
            if not wanted or (self.config.gone and not frames.exists()):
                continue
            hint = "Fetch the clip, or set dataset.gone=true to do without what has vanished."
            sound = require(root / "audio" / f"{clip}.wav", f"sound ({place})", hint)
            moments = sorted(require(frames, f"folder of frames ({place})", hint).glob("*.jpg"))
            if not moments:
                raise UserError(f"{frames} holds no frames.", "Files *.jpg were expected.", hint)
            for moment in moments:
                _add(columns, split, f"{clip}/{moment.stem}", clip, moment, sound, label)
        return Columns(columns, f"{path}, split {split},")


class VEGAS(Dataset):
    """Clips of ten kinds of sound, one frame each. The last ones of each class are the test split."""

    fields: ClassVar[dict[str, str]] = FIELDS

    class Config(Dataset.Config):
        """Where it lies, and how much is held out."""

        root: str
        """Folder of the classes' folders."""
        held_out: int = 128
        """Clips of each class, the last ones by name, that are the test split; as many as the publishers tested on."""

        def __post_init__(self) -> None:
            if self.held_out < 1:
                raise ValueError("held_out is at least 1.")

    config: Config

    def open(self, split: str) -> Columns:
        """Returns the clips of a split, class by class.

        Raises:
            UserError: There is no class, or a frame or sound has no partner.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of the classes' folders.")
        labels = sorted(folder.parent.name for folder in root.glob("*/img"))
        if not labels:
            raise UserError(
                f"{root} holds no class.", "Folders <class>/img and <class>/audios were expected.", "Set dataset.root."
            )
        columns = _columns()
        for label in labels:
            frames = {path.stem: path for path in (root / label / "img").glob("*.jpg")}
            folder = require(root / label / "audios", "folder of sounds", "Fetch the class again.")
            sounds = {path.stem: path for path in folder.glob("*.wav")}
            if alone := frames.keys() ^ sounds.keys():
                raise UserError(
                    f"{len(alone)} clips of {root / label} have no partner: {listing(alone, 3)}.",
                    "Each name stands in img and in audios.",
                    "Fetch them again.",
                )
            names = sorted(frames)
            cut = max(len(names) - self.config.held_out, 0)
            for name in names[:cut] if split == "train" else names[cut:]:
                _add(columns, split, f"{label}/{name}", f"{label}/{name}", frames[name], sounds[name], label)
        return Columns(columns, f"{root}, split {split},")


def _rows(text: str, path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yields clip, class, split and place of each line.

    Raises:
        UserError: A line has another form, or a clip is there twice.
    """
    listed = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if len(row) != 4 or not row[1].isdecimal() or len(row[1]) > 6 or row[3] not in ("train", "test"):
                raise UserError(
                    f"{place} is {','.join(row)!r:.100}.",
                    "An id, a second, a class and train or test were expected.",
                    "Fetch the table again.",
                )
            clip = f"{filled(row[0], place)}_{int(row[1]):06d}"
            listed.append((clip, place))
            yield clip, filled(row[2], place), row[3], place
    except csv.Error as cause:
        raise UserError(f"{path}:{reader.line_num} is not CSV: {cause}.", hint="Fetch the table again.") from cause
    once(listed, "clip")


def _columns() -> dict[str, list[Any]]:
    return {name: [] for name in ("id", "group", *FIELDS)}


def _add(
    columns: dict[str, list[Any]], split: str, name: str, video: str, image: Path, audio: Path, label: str
) -> None:
    """Appends a moment. What is trained belongs together by video, as no label is told; what is tested by class."""
    group = video if split == "train" else label
    row = {"id": name, "group": group, "image": str(image), "audio": str(audio), "label": label}
    for column, value in row.items():
        columns[column].append(value)
