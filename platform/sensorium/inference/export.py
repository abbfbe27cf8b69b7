"""A model taken out of Sensorium: graphs for ONNX Runtime or PyTorch, and what goes in and comes out, as JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sensorium import __version__
from sensorium.assembly.build import Model
from sensorium.contracts.data import stable_hash
from sensorium.contracts.exported import Plain
from sensorium.contracts.modality import Modality
from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.inference.traced import Traced, quiet, trace
from sensorium.paths import expanded

Format = Literal["onnx", "torch"]
SUFFIXES = {"onnx": "onnx", "torch": "pt2"}
DESCRIPTION = "model.json"
LARGEST = 2 << 30
"""Bytes above which weights lie beside an ONNX file, which cannot hold them."""
NEEDED = ("onnx", "onnxscript")

AXES = {
    "image": ("batch", "channels", "rows", "columns"),
    "spectrogram": ("batch", "channels", "bins", "frames"),
    "waveform": ("batch", "channels", "samples"),
    "tokens": ("batch", "tokens"),
    "label": ("batch", "classes"),
    "tags": ("batch", "tags"),
    "vector": ("batch", "numbers"),
    "number": ("batch",),
    "series": ("batch", "channels", "readings"),
    "video": ("batch", "frames", "channels", "rows", "columns"),
    "boxes": ("batch", "boxes", "edges"),
}
"""Form of a modality -> what the axes of its tensor count."""
FIRST = ("video", "boxes")
"""Forms whose mask goes along the second axis; those of the others go along the last."""


def check(folder: str, form: str) -> Path:
    """Returns the folder that an export goes to, before anything expensive.

    Raises:
        UserError: The format is unknown, what writes it is not installed, or the folder holds something or cannot be
            made.
    """
    if form not in get_args(Format):
        raise unknown("format", form, get_args(Format))
    if form == "onnx" and not all(map(importlib.util.find_spec, NEEDED)):
        raise UserError("onnx is not installed.", "", "pip install 'sensorium[onnx]', or take the format torch.")
    place = Path(expanded(folder))
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(
            f"{folder or 'This folder'} is there already.",
            "A new or an empty folder was expected.",
            "Name another one.",
        )
    above = next(parent for parent in place.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(
            f"{folder} cannot be made.", f"{above} is not a folder that can be written.", "Name another one."
        )
    return place


def export(model: Model, folder: str, form: str = "onnx") -> list[Path]:
    """Writes the parts of a model that work without Sensorium, and `model.json`, which describes them.

    Args:
        model: Loaded; it is on the processor afterwards.
        folder: A new or an empty one.
        form: `onnx`, or `torch` for `torch.export.load`.

    Returns:
        The files.

    Raises:
        UserError: The format is unknown, what writes it is not installed, the folder holds something, or nothing of
            the model can be exported.
        SensoriumError: A part cannot be written.
    """
    place, task = check(folder, form), model.task.cpu()
    parts = task.exported()
    name = model.loaded.experiment.task
    if not parts:
        raise UserError(f"Nothing of the task {name!r} works without Sensorium.", "", "Its README may say why.")
    description: dict[str, Any] = {"sensorium": __version__, "task": name, "format": form, "parts": {}}
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".export-") as scratch:
        made = Path(scratch) / "export"
        made.mkdir()
        for part, exported in parts.items():
            file = f"{'model' if len(parts) == 1 else part}.{SUFFIXES[form]}"
            traced = trace(task, exported)
            _write(traced, made / file, form)
            description["parts"][part] = {"file": file, **described(traced)}
        text = json.dumps(description, ensure_ascii=False, indent=1, allow_nan=False)
        (made / DESCRIPTION).write_text(text, encoding="utf-8")
        if place.exists():
            place.rmdir()
        made.rename(place)
    return sorted(place.iterdir())


def described(traced: Traced) -> dict[str, Any]:
    """Returns what a part takes and gives, and how both are made of, and into, what people understand, as JSON."""
    tensors = {name: _size(tensor) for name, tensor in traced.tensors.items()}
    exported = traced.exported
    inputs = {name: _value(exported.inputs[name], names, tensors, True) for name, names in traced.inputs.items()}
    outputs = {name: _value(exported.outputs[name], names, tensors, False) for name, names in traced.outputs.items()}
    random = {
        name: {
            **tensors[name],
            "distribution": {"normal": "normal, mean 0 and deviation 1", "uniform": "uniform, from 0 to 1"}[kind],
            "about": "Random numbers, others for another answer. `predict` draws those of each sample by"
            " torch.Generator().manual_seed(seed), by torch.randn or torch.rand, where no seed is asked for.",
            "seed": stable_hash(f"0/{drawn}//"),
        }
        for name, (kind, drawn) in traced.drawn.items()
    }
    return {"about": exported.about, "inputs": inputs, **({"random": random} if random else {}), "outputs": outputs}


def _value(what: Modality | Plain, names: Any, tensors: Mapping[str, Any], taken: bool) -> dict[str, Any]:
    """Returns one input or output: its tensors, and the steps before or after them."""
    if isinstance(what, Plain):
        return {"about": what.about, "tensors": {name: {**tensors[name], "axes": list(what.axes)} for name in names}}
    about = next(iter((type(what).__doc__ or "").strip().splitlines()), "")
    axes = {name: _axes(what.form, place, len(tensors[name]["shape"])) for place, name in enumerate(names)}
    steps = {"preprocessing": what.preprocessing()} if taken else {"postprocessing": what.postprocessing()}
    held = {name: {**tensors[name], **({"axes": axes[name]} if axes[name] else {})} for name in names}
    return {"about": about, "form": what.form, "tensors": held, **steps}


def _axes(form: str, place: int, count: int) -> list[str]:
    """Returns what the axes count of a form's tensor, or of its mask, which comes after it; nothing where unknown."""
    known = AXES.get(form, ())
    if place == 0:
        return list(known[:count]) if count <= len(known) else []
    return ["batch", known[1] if form in FIRST else known[-1]] if place == 1 and count == 2 and known else []


def _size(tensor: Tensor) -> dict[str, Any]:
    """Returns dtype and shape; a size that is a text is any, and the same text is the same size."""
    shape = [size if isinstance(size, int) else str(size) for size in tensor.shape]
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": ["batch", *shape[1:]]}


def _write(traced: Traced, file: Path, form: str) -> None:
    if form == "torch":
        torch.export.save(traced.program, file)
        return
    names = [name for each in traced.outputs.values() for name in each]
    weights = sum(value.nbytes for value in traced.program.state_dict.values())
    try:
        with quiet():
            made = torch.onnx.export(traced.program, dynamo=True, output_names=names, verbose=False)
            assert made is not None
            made.save(file, external_data=weights >= LARGEST)
    except Exception as cause:  # (the exporter raises what it likes)
        first: BaseException = cause
        while first.__cause__ is not None:
            first = first.__cause__
        reason = next(iter(str(first).strip().splitlines()), type(first).__name__)[:300]
        raise SensoriumError(f"ONNX cannot hold it: {reason}.", "", "Take the format torch.") from cause
