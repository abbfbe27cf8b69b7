"""Published test sets of what sounds where: frames, sounds, and boxes that people have drawn.

SoundNet-Flickr (A. Senocak et al., CVPR 2018): `frames/<id>.jpg`, `audio/<id>.wav`, and `Annotations/<id>.xml`, in
which each of three people draws boxes on a picture of 256 x 256. VGG-Sound Source (H. Chen et al., CVPR 2021):
`vggss.json` holds the class and boxes as shares of the sides, `frames/<file>.jpg` and `audio/<file>.wav` the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from sensorium import Dataset, UserError, expanded
from sensorium.builtin.datasets.files import Columns, decode, lines, read_text, require
from sensorium.builtin.datasets.records import Record
from sensorium.builtin.values import once, parse, shown

SIDE = 256
"""Pixels along each side of the pictures that SoundNet-Flickr's people drew on."""
EDGES = ("xmin", "ymin", "xmax", "ymax")
"""What an annotation calls the edges of a box, in this order."""


class SoundNetFlickr(Dataset):
    """Frames of Flickr's videos with their sounds, and boxes that three people drew, as shares of the picture's sides.

    `modalities.boxes.shares=true`; the paper counts a place where two of the three agree, `model.agree=2`.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "audio": "audio", "boxes": "boxes"}

    class Config(Dataset.Config):
        """Where it lies, and which pair belongs to which split."""

        root: str
        """Folder of frames, audio and Annotations."""
        train: str = ""
        """List of the ids to train on, one in a line; empty when there is none."""
        test: str = "test_list.txt"
        """List of the ids to test on; empty when there is none."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.lists = {split: name for split, name in (("train", config.train), ("test", config.test)) if name}
        self.splits = tuple(self.lists)

    def open(self, split: str) -> Columns:
        """Returns the pairs of a list.

        Raises:
            UserError: A file is missing, or holds no boxes.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of frames and audio.")
        listing = root / expanded(self.lists[split])
        text = read_text(listing, "list of pairs", "Set dataset.train or dataset.test to it.")
        listed = [(Path(name).stem, f"{listing}:{number}") for number, name in lines(text)]
        once(listed, "pair")
        columns: dict[str, list[Any]] = {"id": [], "image": [], "audio": [], "boxes": []}
        for name, place in listed:
            picture, sound = _files(root, name, place)
            columns["id"].append(name)
            columns["image"].append(picture)
            columns["audio"].append(sound)
            columns["boxes"].append(list(_drawn(root / "Annotations" / f"{name}.xml")))
        return Columns(columns, listing)


class VGGSoundSource(Dataset):
    """Frames of VGG-Sound's videos with their sounds, a class, and boxes around all that sounds, as shares.

    `modalities.boxes.shares=true`. Boxes without width or height, which the published file has, are left out.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "audio": "audio", "boxes": "boxes", "label": "label"}
    splits = ("test",)

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder of vggss.json, frames and audio."""

    config: Config

    def open(self, split: str) -> Columns:
        """Returns the only split.

        Raises:
            UserError: A file is missing, or it has another layout.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of vggss.json.")
        path = require(root / "vggss.json", "list of boxes", "Set dataset.root to the folder that holds it.")
        columns: dict[str, list[Any]] = {"id": [], "image": [], "audio": [], "boxes": [], "label": []}
        files = Record({"files": parse(decode(path.read_bytes(), path), path, "a list of records")}, path)
        listed = []
        for record in files.records("files"):
            name = record.text("file")
            listed.append((name, record.place))
            picture, sound = _files(root, name, record.place)
            boxes = [_box(each, record.place) for each in record.items("bbox")]
            columns["id"].append(name)
            columns["image"].append(picture)
            columns["audio"].append(sound)
            columns["boxes"].append([box for box in boxes if box[0] < box[2] and box[1] < box[3]])
            columns["label"].append(record.text("class"))
        once(listed, "file")
        return Columns(columns, path)


def _files(root: Path, name: str, place: str) -> tuple[str, str]:
    """Returns the picture and the sound of a name."""
    found = (root / "frames" / f"{name}.jpg", root / "audio" / f"{name}.wav")
    for path in found:
        if not path.is_file():
            raise UserError(
                f"{place} names {name}, and there is no {path}.", "frames/*.jpg and audio/*.wav.", "Fetch it."
            )
    return str(found[0]), str(found[1])


def _drawn(path: Path) -> Iterator[list[float]]:
    """Yields the boxes of all people that an annotation holds, as shares of the sides.

    Raises:
        UserError: It is missing, is not XML, or has a box of another form.
    """
    text = read_text(path, "annotation", "Set dataset.root to the folder of Annotations.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as cause:
        raise UserError(f"{path} is not XML: {cause}.", "An annotation was expected.", "Fetch it again.") from cause
    for box in root.iter("bbox"):
        written = [box.findtext(edge, "") for edge in EDGES]
        try:
            yield _box([float(edge) / SIDE for edge in written], path)
        except ValueError:
            raise UserError(
                f"{path} has the box {shown(written)}.", f"Numbers {', '.join(EDGES)} were expected.", "Mend it."
            ) from None


def _box(edges: Any, place: object) -> list[float]:
    """Returns the edges of a box, cut to the picture.

    Raises:
        UserError: They are something else than four numbers.
    """
    numbers = isinstance(edges, list) and len(edges) == 4 and all(type(each) in (int, float) for each in edges)
    if not numbers or not all(abs(each) < 10 for each in edges):
        raise UserError(
            f"{place} has the box {shown(edges)}.", "Left, top, right and bottom were expected.", "Mend it."
        )
    return [min(max(float(each), 0.0), 1.0) for each in edges]
