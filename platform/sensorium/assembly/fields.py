"""Whether the fields of a dataset are what the modalities read."""

from __future__ import annotations

from collections.abc import Mapping

from sensorium.contracts.dataset import Dataset
from sensorium.contracts.modality import Modality
from sensorium.errors import UserError, unknown
from sensorium.experiment.keypath import quoted
from sensorium.experiment.settings import Loaded


def match_fields(dataset: Dataset, modalities: Mapping[str, Modality], loaded: Loaded) -> None:
    """Refuses a modality whose field the dataset does not have, or has as another kind of data."""
    for field, modality in modalities.items():
        if field not in dataset.fields:
            raise unknown("field", field, dataset.fields, f"modalities (the dataset is {type(dataset).__name__})")
        kind = dataset.fields[field]
        if kind != modality.form and not isinstance(modality, loaded.plugins.find("modality", kind)):
            raise UserError(
                f"The dataset's field {field!r} holds {kind}; the experiment reads it as {modality.form}.",
                "A field is read by a modality of its kind.",
                f"Set modalities.{quoted(field)}.name={kind}.",
            )


def match_followers(modalities: Mapping[str, Modality]) -> None:
    """Refuses a modality that follows a field which is not there, or follows another itself."""
    for field, modality in modalities.items():
        if modality.follows is None:
            continue
        if modality.follows not in modalities:
            raise unknown("field", modality.follows, modalities, f"modalities.{quoted(field)}.follows")
        leader = modalities[modality.follows].follows
        if leader is not None:
            raise UserError(
                f"{field} follows {modality.follows}, which follows {leader}.",
                "A field was expected that is augmented by itself.",
                f"Set modalities.{quoted(field)}.follows={leader}.",
            )
