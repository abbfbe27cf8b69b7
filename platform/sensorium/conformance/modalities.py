"""Checks of a modality: examples are read, have the declared shape, and are answered in a readable form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.options import probed
from sensorium.contracts.data import Padded, check_rows, map_tensors
from sensorium.contracts.geometry import Geometry
from sensorium.contracts.modality import Modality
from sensorium.plugins import Plugins

WORDS = ("a red three above a blue seven", "two green ones", "nine", "a blue seven left of a red nine")
"""What a modality learns from that learns, unless a dataset is at hand."""
_FORMS = {
    "image": ("image", {"size": 32}),
    "spectrogram": ("audio", {"sample_rate": 8000, "n_mels": 32}),
    "waveform": ("audio", {"sample_rate": 8000, "view": "waveform"}),
    "tokens": ("text", {}),
    "label": ("label", {}),
    "vector": ("vector", {"size": 8}),
}


def build(component: type[Modality], plugins: Plugins, **options: Any) -> Modality:
    """Returns a modality that has learnt what it learns."""
    modality: Modality = probed(component, plugins, **options).build()
    if modality.learns:
        schema = modality.json_schema()
        modality.fit([_said(words, schema) for words in WORDS])
    return modality


def _said(words: str, schema: Mapping[str, Any]) -> Any:
    """Returns words as a schema has them: a string, one by one in a list, or again in each field of an object."""
    match schema.get("type"):
        case "array":
            return [_said(word, schema.get("items", {})) for word in words.split()]
        case "object":
            return {name: _said(words, inner) for name, inner in schema.get("properties", {}).items()}
        case _:
            return words


def of_form(form: str, plugins: Plugins) -> Modality:
    """Returns some modality of a form."""
    if form in _FORMS:
        name, options = _FORMS[form]
        return build(plugins.find("modality", name), plugins, **options)  # type: ignore[arg-type]
    for name in plugins.names("modality"):
        component = plugins.find("modality", name)
        if getattr(component, "form", None) == form and issubclass(component, Modality):
            return build(component, plugins)
    raise ContractError(f"No modality has the form {form!r}, which it takes.")


def examples(modality: Modality, count: int) -> list[Any]:
    """Returns transformed values of made-up examples."""
    random = torch.Generator().manual_seed(0)
    return [modality.transform(modality.decode(modality.example(random)), None) for _ in range(count)]


class Subject:
    """A modality with raw examples of its own making."""

    def __init__(self, component: type[Modality], plugins: Plugins) -> None:
        self.modality = build(component, plugins)
        self.fresh = probed(component, plugins).build
        random = torch.Generator().manual_seed(0)
        self.raws = [self.modality.example(random) for _ in range(4)]

    def values(self, modality: Modality | None = None, seed: int | None = None) -> list[Any]:
        """Returns the transformed examples, augmented by a seed where one is given."""
        reader = modality or self.modality
        random = None if seed is None else torch.Generator().manual_seed(seed)
        return [reader.transform(reader.decode(raw), random) for raw in self.raws]


def has_the_declared_shape(subject: Subject) -> str:
    """Checks transformed values against `shape`, that a batch has B first, and its masks against their lengths."""
    values = subject.values()
    declared = subject.modality.shape
    for value in values:
        if not isinstance(value, Tensor):
            check_rows("What `collate` returns", subject.modality.collate(values), len(values))
            return "a structure of its own"
        variable = subject.modality.form == "tokens"  # whose shape is the longest that is allowed
        fits = len(value.shape) == len(declared) and all(
            said is None or (had <= said if variable else had == said)
            for had, said in zip(value.shape, declared, strict=True)
        )
        if not fits:
            raise ContractError(f"A value has the shape {tuple(value.shape)}; `shape` says {declared}.")
    batch = subject.modality.collate(values)
    check_rows("What `collate` returns", batch, len(values))
    if isinstance(batch, Padded):
        axis = declared.index(None) if None in declared else len(declared) - 1  # along which values differ
        lengths = [value.shape[axis] for value in values]
        if batch.mask.sum(-1).tolist() != lengths:
            raise ContractError(f"The mask counts {batch.mask.sum(-1).tolist()}, the values are {lengths} long.")
        for row, value in enumerate(values):
            if not torch.equal(batch.data[row].narrow(axis, 0, value.shape[axis]), value):
                raise ContractError("Collating changes a value.")
    return f"{declared}"


def follows_the_seed(subject: Subject) -> str:
    """Checks that augmentation follows from the generator alone, and evaluation has none."""
    for seed in (None, 1):
        first, second = subject.values(seed=seed), subject.values(seed=seed)
        torch.manual_seed(7)
        third = subject.values(seed=seed)
        if not (_equal(first, second) and _equal(first, third)):
            drawn = "augmented with one generator" if seed else "for evaluation"
            raise ContractError(f"The same examples, transformed {drawn}, come out differently.")
    return "augmentation follows from the generator"


def keeps_its_state(subject: Subject) -> str:
    """Checks that the learnt state passes through JSON and reads the same in another process."""
    again = subject.fresh()
    again.restore(json.loads(json.dumps(subject.modality.state())))
    if not _equal(subject.values(), subject.values(again)):
        raise ContractError("After `restore` of its `state`, examples are read differently.")
    return "the same after JSON"


def tells_where_parts_lie(subject: Subject) -> str:
    """Checks `geometry` against `transform`: a ramp of brightness is found where it says, with and without chance."""
    modality = subject.modality
    if type(modality).geometry is Modality.geometry:
        raise InapplicableError("It is not a picture that others follow.")
    rows, columns = 60, 90
    for axis, size in ((0, columns), (1, rows)):  # brightness grows along x, then along y
        line = (torch.arange(size) + 0.5) / size
        ramp = line.expand(rows, columns) if axis == 0 else line[:, None].expand(rows, columns)
        value = _picture(modality, ramp)
        for seed in (None, *range(8)):
            made, placed = _seen(modality.transform(value, _random(seed))), modality.geometry(value, _random(seed))
            flat = (_picture(modality, torch.full_like(ramp, level)) for level in (0.0, 1.0))
            low, high = (_seen(modality.transform(each, None)).mean() for each in flat)
            found = (made.mean(0) - low) / (high - low)
            y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in placed.seen), indexing="ij")
            given = placed.inverse().places(torch.stack([x, y], -1).double())
            inside = ((given > 3) & (given < torch.tensor([columns, rows]) - 3)).all(-1)
            far = (found - given[..., axis] / size).abs()[inside]
            if len(far) and float(far.max()) > 0.05:
                raise ContractError(
                    f"With seed {seed}, a place is {float(far.max()) * size:.1f} pixels from `geometry`'s."
                )
    return "parts lie where `geometry` says"


def _picture(modality: Modality, grey: Tensor) -> Any:
    """Returns a picture (h, w) from 0 to 1 as a modality decodes it: a video shows it in one frame."""
    picture = grey.expand(modality.shape[-3] or 1, -1, -1)
    if modality.form == "video":
        return modality.decode((picture.permute(1, 2, 0)[None].mul(255).round().byte(), 25.0))
    return modality.decode(picture.clone())


def _seen(value: Any) -> Tensor:
    """Returns a transformed picture, or the first frame of a video, (C, H, W)."""
    seen: Tensor = value if isinstance(value, Tensor) else value.frames[0]
    return seen


def follows_a_picture(subject: Subject) -> str:
    """Checks `follow` and `put_back`: on a mirrored picture of half the size a value moves, and comes back."""
    modality = subject.modality
    if type(modality).follow is Modality.follow:
        raise InapplicableError("It does not follow a picture.")
    still = Geometry.identity((60, 90))
    mirrored = still.then(torch.tensor([[-0.5, 0, 45], [0, 0.5, 0]], dtype=torch.float64), (30, 45))
    for raw in subject.raws:
        value = modality.decode(raw)
        there, moved = modality.follow(value, still), modality.follow(value, mirrored)
        if _equal(there, moved):
            raise ContractError("`follow` leaves a value where it is, on a picture that is mirrored and half as large.")
        if _far(modality.put_back(there, still), modality.put_back(moved, mirrored)) > 0.25:
            raise ContractError("`put_back` does not bring a value back to where it lay on the picture that was sent.")
    return "moves with a picture, and back"


def _far(first: Any, second: Any) -> float:
    """Returns how far two values are apart on average, relative to how much the first varies; inf for other shapes."""
    pairs: tuple[list[Tensor], list[Tensor]] = ([], [])
    map_tensors(first, pairs[0].append)
    map_tensors(second, pairs[1].append)
    if [each.shape for each in pairs[0]] != [each.shape for each in pairs[1]]:
        return math.inf
    whole = [(one.float(), other.float()) for one, other in zip(*pairs, strict=True) if one.is_floating_point()]
    return max((float((a - b).abs().mean() / (a - a.mean()).abs().mean().clamp_min(1e-6)) for a, b in whole), default=0)


def _random(seed: int | None) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(seed)


def answers(subject: Subject) -> str:
    """Checks that `encode` gives bytes, a string or JSON, the same each time."""
    shown = set()
    for value in subject.values():
        answer = subject.modality.encode(value)
        if not isinstance(answer, bytes):
            json.dumps(answer)
        if answer != subject.modality.encode(value):
            raise ContractError("`encode` gives something else the second time.")
        shown.add(type(answer).__name__)
    return f"{subject.modality.media_type}, {' or '.join(sorted(shown))}"


def _equal(first: Any, second: Any) -> bool:
    tensors: tuple[list[Tensor], list[Tensor]] = ([], [])
    map_tensors(first, tensors[0].append)
    map_tensors(second, tensors[1].append)
    return len(tensors[0]) == len(tensors[1]) and all(map(torch.equal, *tensors))


CHECKS = {
    "shapes and masks": has_the_declared_shape,
    "determinism": follows_the_seed,
    "save and load": keeps_its_state,
    "geometry": tells_where_parts_lie,
    "follows": follows_a_picture,
    "predict": answers,
}
