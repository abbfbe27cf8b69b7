"""Where the clips of GRID lie, or films that a table names.

    s1/<name>.mpg ... s34/<name>.mpg      a folder for each speaker; s1/video/<name>.mpg and
                                          s1.mpg_vcd/s1/<name>.mpg, as copies have them, will do too
    index.csv                             or a table, whose columns `id` and `video` name a clip and its file, and
                                          `speaker`, if it is there, who speaks

M. Cooke, J. Barker, S. Cunningham, X. Shao, An audio-visual corpus for speech perception and automatic
speech recognition, JASA 120(5), 2006.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from sensorium import UserError
from sensorium.builtin.datasets.files import csv_rows, read_text, require_media
from sensorium.builtin.values import clean, once

NEEDED = ("id", "video")
SPEAKER = re.compile(r"(s\d+)(\.|$)")


class Clip(NamedTuple):
    """One film, and who speaks in it."""

    id: str
    speaker: str
    film: Path


def clips_of(root: Path) -> list[Clip]:
    """Returns the clips of a folder: those that its index.csv names, or those below folders called after speakers.

    Raises:
        UserError: There are no films, or one that is named is not there.
    """
    table = root / "index.csv"
    return _listed(table) if table.is_file() else _found(root)


def _listed(table: Path) -> list[Clip]:
    """Returns the films that a table names.

    Raises:
        UserError: A column or cell is missing, an id is there twice, or a film is not there.
    """
    clips, places = [], []
    for line, row in csv_rows(read_text(table, "table", "Set dataset.root."), table, NEEDED):
        name = clean(row["id"])
        clips.append(Clip(name, clean(row.get("speaker", "")) or name, table.parent / row["video"].strip()))
        places.append(f"{table}:{line}")
    once(zip((clip.id for clip in clips), places, strict=True), "id")
    require_media((str(clip.film) for clip in clips), table)
    return clips


def _found(root: Path) -> list[Clip]:
    """Returns the films below folders that are called after speakers."""
    clips = {}
    for film in sorted(root.rglob("*.mpg")):
        folders = map(SPEAKER.match, film.relative_to(root).parts[:-1])
        speaker = next((folder[1] for folder in folders if folder), None)
        if speaker is not None:
            name = f"{speaker}/{film.stem}"
            clips[name] = Clip(name, speaker, film)  # of two copies of a film, in two qualities, one is enough
    if not clips:
        raise UserError(
            f"There are no films of speakers in {root}.",
            "Films are expected as s1/<name>.mpg, s2/<name>.mpg and so on, or in a table index.csv.",
            "Set dataset.root to the folder that holds them.",
        )
    return list(clips.values())
