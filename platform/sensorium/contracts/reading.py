"""From raw samples to a batch: each field is decoded and transformed, what follows a picture after the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sensorium.contracts.data import Batch, Sample, stable_hash
from sensorium.contracts.dataset import Source, Split
from sensorium.contracts.geometry import Geometry
from sensorium.contracts.modality import Modality
from sensorium.errors import MediaError, UserError


def transform(sample: Mapping[str, Any], modalities: Mapping[str, Modality], seed: int | None = None) -> dict[str, Any]:
    """Returns the decoded and transformed fields of one sample.

    Args:
        sample: Field -> raw value.
        modalities: Field -> modality, of the fields to read.
        seed: What each field's augmentation follows from, together with its name; None asks for none.

    Raises:
        MediaError: A field cannot be read; names the sample, the field and the cause.
    """
    return read(sample, modalities, seed, f"Sample {sample['id']}, field")[0]


def read(
    raws: Mapping[str, Any], modalities: Mapping[str, Modality], seed: int | None, what: str
) -> tuple[dict[str, Any], dict[str, Geometry]]:
    """Returns the transformed values of some fields, and where pictures lie that others follow.

    Args:
        raws: Field -> raw value.
        modalities: Field -> modality, of the fields to read.
        seed: As for `transform`.
        what: What an error calls a field.

    Raises:
        MediaError: A field cannot be read; names it and the cause.
        UserError: A field follows one that is not among them.
    """
    values: dict[str, Any] = {}
    placed: dict[str, Geometry] = {}
    followed = {modality.follows for modality in modalities.values() if modality.follows}

    def random(field: str) -> torch.Generator | None:
        return None if seed is None else torch.Generator().manual_seed(stable_hash(f"{seed}/{field}"))

    for field, modality in sorted(modalities.items(), key=lambda item: item[1].follows is not None):
        try:
            value = modality.decode(raws[field])
            if field in followed:
                placed[field] = modality.geometry(value, random(field))
            if modality.follows is None:
                values[field] = modality.transform(value, random(field))
            elif modality.follows in placed:
                values[field] = modality.follow(value, placed[modality.follows])
            else:
                raise UserError(
                    f"{what} {field!r} lies over {modality.follows!r}, which is not there.",
                    f"Given: {', '.join(modalities)}.",
                    f"Give {modality.follows!r} too.",
                )
        except MediaError as cause:
            raise MediaError(f"{what} {field!r}: {cause.wrong}", cause.expected, cause.hint) from cause
    return values, placed


def collate(
    pairs: Sequence[tuple[Sample, dict[str, Any]]], modalities: Mapping[str, Modality], source: str = ""
) -> Batch:
    """Returns transformed samples, of one source, as a batch.

    Raises:
        SensoriumError: What a modality collated does not have B first; names the field.
    """
    fields = {field: modality.collate([values[field] for _, values in pairs]) for field, modality in modalities.items()}
    return Batch([sample for sample, _ in pairs], fields, source=source)


def batch_of(split: Split, source: Source, modalities: Mapping[str, Modality], places: Sequence[int]) -> Batch:
    """Returns samples of a source, by their places among those of the source, as a batch, read as in evaluation."""
    reads = {name: modality for name, modality in modalities.items() if source.reads(name)}
    samples = [split[source.indices[place]] for place in places]
    return collate([(sample, transform(sample, reads)) for sample in samples], reads, source.name)
