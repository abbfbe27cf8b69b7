"""An index: the embeddings of many samples, searched by inner product, with what is needed to show a hit.

A folder of faiss's own file and of JSON. It belongs to the model that made it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.engine import folders, storage
from sensorium.engine.checkpoint import MANIFEST, elsewhere, publish
from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.inference.bulk import PART, Asker, Plan
from sensorium.inference.predictor import Predictor
from sensorium.paths import expanded
from sensorium.tracking.models import fetch

EXACT = 100_000
"""Embeddings up to which a search compares with every one; above it follows a graph of neighbours."""

LINKS = 32
"""Neighbours that each embedding of the graph knows (HNSW; Malkov and Yashunin 2018)."""

BREADTH = 256
"""Candidates that a search of the graph keeps."""

BATCH = 32
"""Questions computed together at most."""

ABOUT, ROWS, VECTORS = "index.json", "rows.jsonl", "vectors.faiss"


@dataclass(frozen=True)
class About:
    """What an index holds.

    Attributes:
        model: MODEL that made it, as it was given.
        fingerprint: SHA-256 of that model's manifest.
        inputs: Inputs whose embeddings it holds.
        rows: Number of embeddings.
        dim: Length of an embedding.
    """

    model: str
    fingerprint: str
    inputs: list[str]
    rows: int
    dim: int


@dataclass(frozen=True)
class Hit:
    """What was found.

    Attributes:
        id: The sample's id, or the path of its file.
        input: What of the sample was found: its picture, its sound.
        score: Inner product of both embeddings; for unit vectors the cosine of the angle between them.
        fields: Texts, paths and numbers of the sample.
    """

    id: str
    input: str
    score: float
    fields: dict[str, Any]


class Index:
    """An index that is searched.

    Args:
        folder: Path or URI where it lies.

    Raises:
        UserError: There is no whole index.
    """

    def __init__(self, folder: str | Path) -> None:
        faiss, place = _faiss(), Path(fetch(str(folder)))
        try:
            if strange := elsewhere(place.iterdir()):
                raise OSError(strange)
            self.about = About(**json.loads((place / ABOUT).read_text(encoding="utf-8")))
            with (place / ROWS).open(encoding="utf-8") as file:
                self._rows = [_row(json.loads(line)) for line in file]
            self._vectors = faiss.read_index(str(place / VECTORS))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as cause:
            raise UserError(
                f"{folder} holds no index: {type(cause).__name__}: {str(cause)[:200].partition(chr(10))[0]}.",
                "",
                "`sensorium index MODEL DATASET:SPLIT --output FOLDER` makes one.",
            ) from cause
        if not self.about.rows == len(self._rows) == self._vectors.ntotal or self._vectors.d != self.about.dim:
            raise UserError(f"{folder} holds no whole index.", "Its files do not fit together.", "Make it again.")

    @property
    def fingerprint(self) -> str:
        """The model that made it."""
        return self.about.fingerprint

    @property
    def model(self) -> str:
        """The name of that model."""
        return self.about.model

    def check(self, name: str, folder: str) -> None:
        """Checks that a model made it.

        Args:
            name: The model as a person calls it.
            folder: Its local folder.

        Raises:
            UserError: Another one did.
        """
        if fingerprint(folder) != self.fingerprint:
            raise UserError(
                f"The index was made with {self.model}, not with {name}.",
                "Embeddings of two models do not compare.",
                f"`sensorium index {name} …` makes one for it.",
            )

    def search(self, embedding: Sequence[float], count: int) -> list[Hit]:
        """Returns the nearest, best first: `count` of them, or all where there are fewer."""
        query = np.asarray([embedding], dtype=np.float32)
        scores, places = self._vectors.search(query, min(count, self.about.rows))
        found = [(self._rows[place], score) for place, score in zip(places[0], scores[0], strict=True) if place >= 0]
        return [Hit(row["id"], row["input"], float(score), row["fields"]) for row, score in found]


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        about: What the index holds.
        errors: Why samples are not in it: a sentence for each.
    """

    about: About
    errors: list[str]


def make(predictor: Predictor, work: Plan, inputs: Sequence[str], folder: str | Path) -> Made:
    """Makes an index of the embeddings of many samples; those that cannot be read are left out.

    Args:
        predictor: The model.
        work: What is asked.
        inputs: Those whose embeddings are indexed, side by side; none where there is no choice.
        folder: Path or URI where the index will be, whole or not at all.

    Raises:
        UserError: The folder is there already, or the model does not embed the field.
        SensoriumError: No sample could be read.
    """
    faiss, task, folder = _faiss(), predictor.model.task, expanded(folder)
    storage.check(str(folder), "The folder of the index")
    if folders.names(str(folder)):
        raise UserError(f"{folder} is there already.", "A new folder was expected.", "Choose another, or remove it.")
    samples = work.open(task, predictor.model.loaded.plugins)
    if not work.rows:
        raise UserError("There is nothing to index.", "The split is empty.", "Choose another one.")
    inputs = _chosen(predictor, inputs, samples[0][1])
    vectors: Any = None
    rows: list[dict[str, Any]] = []
    errors: list[str] = []
    for field in inputs:
        needed = [name for name in task.inputs if name == field or name not in task.optional]
        asker = Asker(predictor, replace(work, fields=needed) if work.dataset else work, BATCH)
        for part in range(work.parts):
            block = []
            for place, row in enumerate(asker.part(part), part * PART):
                if row["error"] is not None:
                    errors.append(f"{row['id']}: {row['error']}")
                    continue
                block.append(row[task.embeddings[field]])
                rows.append({"id": row["id"], "input": field, "fields": _shown(samples[place][1])})
            if block:
                vectors = _empty(faiss, len(block[0]), work.rows * len(inputs)) if vectors is None else vectors
                vectors.add(np.asarray(block, dtype=np.float32))
    if vectors is None:
        raise SensoriumError("No sample could be read.", f"The first of {len(errors)}: {errors[0]}")
    about = About(work.model, fingerprint(predictor.model.checkpoint.folder), list(inputs), len(rows), vectors.d)

    def write(partial: Path) -> None:
        faiss.write_index(vectors, str(partial / VECTORS))
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with (partial / ROWS).open("w", encoding="utf-8") as file:
            file.writelines(lines)
        (partial / ABOUT).write_text(json.dumps(asdict(about), indent=1), encoding="utf-8")

    if "://" not in str(folder):
        publish(Path(folder), write)
    else:
        with tempfile.TemporaryDirectory() as local:
            write(Path(local))
            folders.send(Path(local), str(folder), ABOUT)
    return Made(about, errors)


def fingerprint(folder: str | Path) -> str:
    """Returns what tells a model from others: the SHA-256 of its manifest, which holds that of each file."""
    return hashlib.sha256((Path(folder) / MANIFEST).read_bytes()).hexdigest()


def _empty(faiss: Any, dim: int, rows: int) -> Any:
    if rows <= EXACT:
        return faiss.IndexFlatIP(dim)
    graph = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = graph.hnsw.efSearch = BREADTH
    return graph


def _chosen(predictor: Predictor, names: Sequence[str], sample: Mapping[str, Any]) -> Sequence[str]:
    """Returns the inputs whose embeddings are indexed: those that are named, the only one, or the only medium."""
    task = predictor.model.task
    if not task.embeddings:
        raise UserError(
            "The model gives no embeddings.",
            "A task that has some declares them as `embeddings`.",
            "Take another model.",
        )
    there = [each for each in task.embeddings if each in sample]
    for name in names:
        if name not in there:
            raise unknown("field with an embedding", name, there)
    if names:
        return list(dict.fromkeys(names))
    media = [each for each in there if task.inputs[each].accepts]
    for choice in (there, media):
        if len(choice) == 1:
            return choice
    raise UserError(
        "It is not clear which field to index.",
        f"Fields with an embedding: {', '.join(there) or 'none'}.",
        "Name one with --field, or several.",
    )


def _shown(example: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Returns what shows a sample: its texts, paths and numbers."""
    return {name: value for name, value in example.items() if isinstance(value, (str, int, float))}


def _row(stored: Any) -> dict[str, Any]:
    """Returns what shows a hit, as it was stored.

    Raises:
        TypeError, KeyError: It is something else.
    """
    row: dict[str, Any] = {"id": stored["id"], "input": stored["input"], "fields": stored["fields"]}
    if not isinstance(row["id"], str) or not isinstance(row["input"], str) or not isinstance(row["fields"], dict):
        raise TypeError("a row has an id and an input, which are strings, and fields, which are a mapping")
    return row


def _faiss() -> Any:
    if find_spec("faiss") is None:
        raise UserError("An index needs faiss.", "", "`pip install 'sensorium[index]'` installs it.")
    import faiss

    return faiss
