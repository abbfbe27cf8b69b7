"""Many questions to one model, in parts that are whole or absent: a row of answers or an error for each.

A part is a Parquet file of at most `PART` rows. What is broken stands in the column `error`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from sensorium.assembly import checks
from sensorium.contracts.dataset import Dataset
from sensorium.contracts.task import Task
from sensorium.engine.storage import check, files_at, make_folder
from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.experiment import keypath
from sensorium.experiment.overrides import override
from sensorium.experiment.parsing import parse
from sensorium.inference.exact import Exact
from sensorium.inference.predictor import Predictor, Prepared
from sensorium.paths import expanded
from sensorium.plugins import Plugins

PART = 512
"""Rows of a part."""
THREADS = 4
"""Threads that read and decode, for each worker."""
_PLAN = "_plan.json"


class Source(Protocol):
    """Questions in order, each with an id."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[str, dict[str, Any]]: ...


@dataclass(frozen=True)
class Plan:
    """What is asked, as plain data that travel to workers.

    Attributes:
        model: MODEL, as it was given.
        rows: Number of questions.
        name: Input that files are the values of; empty for a dataset.
        files: Paths or URIs of the files.
        dataset: The dataset's name and options; empty for files.
        split: Its split.
        fields: Its fields that are asked about; all that the model takes where none is named.
        given: Input -> value that is the same for all.
    """

    model: str
    rows: int
    name: str = ""
    files: Sequence[str] = ()
    dataset: Mapping[str, Any] = field(default_factory=dict)
    split: str = ""
    fields: Sequence[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.rows // PART)

    def open(self, task: Task, plugins: Plugins) -> Source:
        """Returns the questions."""
        if self.files:
            return _Files(self.name, self.files, self.given)
        return _Samples(_dataset(self.dataset, plugins), self.split, self.fields or tuple(task.inputs), self.given)


class _Files:
    def __init__(self, name: str, files: Sequence[str], given: Mapping[str, str]) -> None:
        self.name, self.files, self.given = name, files, given

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[str, dict[str, Any]]:
        return self.files[index], {**self.given, self.name: self.files[index]}


class _Samples:
    def __init__(self, dataset: Dataset, split: str, inputs: Sequence[str], given: Mapping[str, str]) -> None:
        self.split, self.given = dataset.open(split), given
        self.count = min(len(self.split), dataset.config.limit.get(split, len(self.split)))
        self.fields = [name for name in inputs if name in dataset.fields and name not in given]
        if not self.fields:
            raise UserError(
                f"The dataset has no field that the model takes: {', '.join(dataset.fields)}.",
                f"Inputs are {', '.join(inputs)}.",
                "Choose another dataset.",
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[str, dict[str, Any]]:
        sample = self.split[index]
        return sample["id"], {**self.given, **{name: sample[name] for name in self.fields}}


def plan(model: str, predictor: Predictor, source: str, options: Sequence[str]) -> Plan:
    """Returns what is to be asked.

    Args:
        model: MODEL, as it was given.
        predictor: The model.
        source: A pattern of files, or NAME:SPLIT of a dataset; the model's own if NAME is empty.
        options: `dataset.KEY=VALUE` for the dataset's options, `INPUT=VALUE` for values of all questions.

    Raises:
        UserError: There are no such files, no such dataset, or an input is unknown or missing.
    """
    task, loaded = predictor.model.task, predictor.model.loaded
    checks.names(task)
    own = [option for option in options if option.startswith("dataset.")]
    given = _given([option for option in options if option not in own], task)
    name, colon, split = source.partition(":")
    named = not name or name in loaded.plugins.names("dataset")  # not a file's address, such as s3://bucket
    if colon and (split in ("train", "validation", "test") or (named and split.isidentifier())):
        plain: dict[str, Any] = {"dataset": {"name": name} if name else loaded.plain()["dataset"]}
        chosen = override(plain, own)["dataset"]
        samples = _Samples(_dataset(chosen, loaded.plugins), split, tuple(task.inputs), given)
        made = Plan(model, len(samples), dataset=chosen, split=split, given=given)
    else:
        field_name, files = _matching(source, task, given)
        made = Plan(model, len(files), name=field_name, files=files, given=given)
    if made.rows:
        predictor.check(made.open(task, loaded.plugins)[0][1])
    return made


def _given(options: Sequence[str], task: Task) -> dict[str, str]:
    given = {}
    for option in options:
        found = keypath.named(option)
        if found is None:
            raise UserError(f"{option!r} is not an input.", "Inputs have the form field=value.")
        name, value = found
        if name not in task.inputs:
            raise unknown("input", name, task.inputs)
        given[name] = value
    return given


def _dataset(chosen: Mapping[str, Any], plugins: Plugins) -> Dataset:
    component = plugins.find("dataset", str(chosen["name"]), "--input")
    options = {key: value for key, value in chosen.items() if key != "name"}
    dataset: Dataset = parse(component.Config, options, plugins, "dataset").build()
    return dataset


def _matching(pattern: str, task: Task, given: Mapping[str, str]) -> tuple[str, list[str]]:
    """Returns the input that files are for, and the files of `PATTERN` or `INPUT=PATTERN`."""
    name, rest = keypath.named(pattern) or ("", pattern)
    if name not in task.inputs:
        media = [each for each, modality in task.inputs.items() if modality.accepts and each not in given]
        if len(media) != 1:
            raise UserError(
                f"It is not clear which input the files {pattern!r} are for.",
                f"Inputs that take files: {', '.join(media) or 'none'}.",
                "Write INPUT=PATTERN, or NAME:SPLIT for a dataset.",
            )
        name, rest = media[0], pattern
    rest = expanded(rest)
    files, inside = files_at(rest)
    found = sorted(path for path in files.glob(inside) if not files.isdir(path))
    if not found:
        raise UserError(
            f"No file matches {rest!r}.", "A pattern such as 'photos/*.jpg', or NAME:SPLIT of a dataset, was expected."
        )
    local = "file" in files.protocol
    return name, [path if local else files.unstrip_protocol(path) for path in found]


class Asker:
    """Answers the parts of a plan, in one process.

    Args:
        predictor: The model.
        work: The plan.
        batch: Questions computed together at most.
    """

    def __init__(self, predictor: Predictor, work: Plan, batch: int) -> None:
        self.predictor, self.batch = predictor, batch
        self.exact = Exact(predictor)
        self.source = work.open(predictor.model.task, predictor.model.loaded.plugins)
        self.pool = ThreadPoolExecutor(THREADS)
        self.kinds = self._kinds()

    def part(self, number: int) -> list[dict[str, Any]]:
        """Returns the rows of a part: id, each output, and `error`, which is None where there is none."""
        places = range(number * PART, min((number + 1) * PART, len(self.source)))
        rows: list[dict[str, Any]] = []
        waiting: list[tuple[dict[str, Any], Prepared]] = []
        for key, prepared in self.pool.map(self._read, places):  # which goes on reading meanwhile
            row: dict[str, Any] = {"id": key, **dict.fromkeys(self.kinds), "error": None}
            rows.append(row)
            if isinstance(prepared, Prepared):
                waiting.append((row, prepared))
            else:
                row["error"] = prepared
            if len(waiting) == self.batch:
                self._answer(waiting)
                waiting = []
        self._answer(waiting)
        return rows

    def table(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Returns rows as a Parquet file; what is neither text, bytes, number nor list of numbers is JSON."""
        import pyarrow as pa
        from pyarrow import parquet

        types = {
            "bytes": pa.binary(),
            "number": pa.float64(),
            "numbers": pa.list_(pa.float64()),
        }
        schema = pa.schema(
            [
                ("id", pa.string()),
                *((n, types.get(kind, pa.string())) for n, kind in self.kinds.items()),
                ("error", pa.string()),
            ]
        )
        columns = {name: [self._shown(name, row[name]) for row in rows] for name in schema.names}
        buffer = io.BytesIO()
        parquet.write_table(pa.table(columns, schema), buffer)
        return buffer.getvalue()

    def _read(self, place: int) -> tuple[str, Prepared | str]:
        try:
            key, example = self.source[place]
        except SensoriumError as error:
            return str(place), str(error)
        try:
            return key, self.predictor.prepare(example)
        except UserError as error:
            return key, str(error)

    def _answer(self, waiting: Sequence[tuple[dict[str, Any], Prepared]]) -> None:
        said = self.exact.of_any_shape([prepared for _, prepared in waiting], self.batch)
        for (row, _), answer in zip(waiting, said, strict=True):
            row.update({"error": str(answer)} if isinstance(answer, UserError) else answer)

    def _kinds(self) -> dict[str, str]:
        """Returns output -> its kind of column, from the answer to a made-up question of the same fields."""
        task = self.predictor.model.task
        random = torch.Generator().manual_seed(0)
        fields = self.source[0][1]
        answer = self.predictor([{name: task.inputs[name].example(random) for name in fields}])[0]
        return {name: _kind(value) for name, value in answer.items()}

    def _shown(self, name: str, value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False) if self.kinds.get(name) == "json" and value is not None else value


def _kind(value: Any) -> str:
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    if isinstance(value, list) and all(isinstance(each, (int, float)) for each in value):
        return "numbers"
    return "json"


class Folder:
    """Where parts lie: a local folder or an fsspec URI, which `pandas.read_parquet` reads as one table.

    Args:
        place: Path or URI.
        work: The plan that its parts belong to.

    Raises:
        UserError: Parts of another plan lie there.
    """

    def __init__(self, place: str, work: Plan) -> None:
        self.place = place if "://" in (place := expanded(place)) else str(Path(place).resolve())
        check(self.place, "The folder of the answers")
        self.files, self.root = files_at(self.place)
        make_folder(self.files, self.root)
        mine = json.dumps({**asdict(work), "part": PART})
        marker = f"{self.root}/{_PLAN}"
        if self.files.exists(marker):
            if self.files.cat_file(marker) != mine.encode():
                raise UserError(
                    f"{place} holds answers to other questions, or of another model.",
                    "A folder belongs to one command, which goes on where it was interrupted.",
                    "Choose another folder, or remove this one.",
                )
        elif self.files.ls(self.root, detail=False):
            raise UserError(f"{place} is not empty.", "A folder of its own was expected.", "Choose another one.")
        else:
            self.files.pipe_file(marker, mine.encode())

    def missing(self, parts: int) -> list[int]:
        """Returns the numbers of the parts that are not there."""
        there = {Path(path).name for path in self.files.ls(self.root, detail=False)}
        return [number for number in range(parts) if _name(number) not in there]

    def write(self, number: int, content: bytes) -> None:
        """Writes a part, which is whole or absent."""
        target = f"{self.root}/{_name(number)}"
        partial = f"{self.root}/_{_name(number)}.partial"
        self.files.pipe_file(partial, content)
        self.files.mv(partial, target)

    def counts(self) -> Iterator[tuple[int, int]]:
        """Yields rows and errors of each part."""
        from pyarrow import ArrowException, parquet

        for path in sorted(self.files.ls(self.root, detail=False)):
            if Path(path).name.startswith("part-"):
                try:
                    with self.files.open(path, "rb") as file:
                        # In this thread alone: one of Arrow's that still holds the file aborts Python at its end.
                        table = parquet.ParquetFile(file, pre_buffer=False).read(["error"], use_threads=False)
                        errors = table.column("error")
                except (ArrowException, KeyError, OSError) as cause:
                    raise UserError(
                        f"{path} holds no answers: {cause}.", "Parts are Parquet.", "Remove it, and ask again."
                    ) from cause
                yield len(errors), len(errors) - errors.null_count


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"
