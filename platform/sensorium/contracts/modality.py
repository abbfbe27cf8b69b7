"""Modality: a kind of data, from raw bytes to a batch and back to what a person understands."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from torch import Generator

from sensorium.contracts.component import Component
from sensorium.contracts.geometry import Geometry
from sensorium.errors import UserError


class Modality(Component):
    """A kind of data. Values pass `decode`, `transform` and `collate` on their way into a model.

    Attributes:
        form: What `collate` returns, as encoders name what they take: `image` (B, C, H, W),
            `spectrogram` Padded (B, C, F, T), `waveform` Padded (B, C, T), `tokens` Padded (B, T)
            of int64 ids, `label` (B,) int64, `vector` (B, D); or a form of its own.
        media_type: MIME type of what `encode` returns.
        accepts: MIME types of the files that `decode` reads, which an endpoint takes as bytes, or as
            base64 in JSON. Empty for values that JSON itself holds.
        limits: Names of options that bound what `decode` takes, such as `max_pixels`. An endpoint
            lowers them to its own.
        shape: Shape of one transformed value, None where it varies.
        vocabulary: Number of distinct ids for `tokens` and `label`; 0 for continuous values.
        follows: Field of a picture or video whose geometry this one follows, in training, evaluation and answers: a
            depth map, a mask, boxes, landmarks. None is by itself.
        learns: True when `fit` must see the training set before the first batch.
    """

    kind = "modality"
    learns: ClassVar[bool] = False
    accepts: ClassVar[tuple[str, ...]] = ()
    limits: ClassVar[tuple[str, ...]] = ()
    media_type: str = "application/json"
    form: str
    shape: tuple[int | None, ...]
    vocabulary: int = 0
    follows: str | None = None

    def __init__(self, config: Modality.Config) -> None:
        self.config = config

    def decode(self, raw: Any) -> Any:
        """Returns the value that a path, bytes or an in-memory object holds.

        Raises:
            MediaError: The bytes are not a readable example; names the file and the cause.
        """
        return raw

    def cost(self, raw: Any) -> int:
        """Returns the bytes of memory that `decode` may take for it, told at once: by a file's header or size.

        An endpoint decodes what is heavy beside the rest, and keeps within its memory. What cannot be read costs
        nothing: `decode` says what is wrong with it.
        """
        return len(raw) if isinstance(raw, (str, bytes)) else 0

    def transform(self, value: Any, random: Generator | None) -> Any:
        """Returns the decoded value as a tensor of `shape`.

        Args:
            value: What `decode` returned.
            random: Source of all randomness of augmentation, seeded by sample, epoch and field.
                None asks for the evaluation's transform, which has none.
        """
        raise NotImplementedError

    def geometry(self, value: Any, random: Generator | None) -> Geometry:
        """Returns where `transform`, given the same value and a generator of the same state, puts its parts.

        Raises:
            UserError: It is not a picture.
        """
        raise UserError(
            f"The modality {type(self).__name__} has no geometry that another field could follow.",
            "`follows` names the field of a picture.",
            "Name another field, or leave `follows` out.",
        )

    def follow(self, value: Any, geometry: Geometry) -> Any:
        """Returns the decoded value as a tensor of `shape`, put where the picture is that it follows.

        What leaves the picture goes, with all that belongs to it: a box with its label. Called in place of
        `transform`, where `follows` is set.
        """
        raise NotImplementedError

    def put_back(self, value: Any, geometry: Geometry) -> Any:
        """Returns one output value as it lies on the picture that was sent, for `encode`, where `follows` is set."""
        raise NotImplementedError

    def collate(self, values: Sequence[Any]) -> Any:
        """Returns transformed values as one batch: B first in every tensor, padded with a mask where they vary."""
        raise NotImplementedError

    def encode(self, value: Any) -> Any:
        """Returns one value as `media_type`: bytes, a string, or what JSON can hold.

        Args:
            value: A transformed value, or a row of what tasks answer with, such as a `Padded` without B.
        """
        raise NotImplementedError

    def example(self, random: Generator) -> Any:
        """Returns a made-up raw value that `decode` takes, for documentation, probes and checks.

        Media are bytes, everything else is what JSON can hold. State that is learnt is there.
        """
        raise NotImplementedError

    def json_schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of a raw value that JSON holds, where `accepts` is empty.

        An endpoint hands strings to `decode` only if this says `{"type": "string"}`. Such a string is
        never a path or URI: somebody else's would read the server's files.
        """
        return {}

    def encoded_schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of what `encode` gives; bytes are base64 in JSON."""
        if self.media_type.startswith("application/json"):
            return self.json_schema()
        if self.media_type.startswith("text/"):
            return {"type": "string"}
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": self.media_type}

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns, step by step, how a raw value becomes the tensor of a batch, for somebody without Sensorium.

        Each has a name (`step`) and what it needs: numbers, words (`about`), a vocabulary; all of it JSON. By default
        they are the docstrings of `decode`, `transform` and `collate`, with the options and what was learnt.
        """
        placing = "transform" if self.follows is None else "follow"
        return [*_told(self, "decode", placing, "collate"), self._known()]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns, step by step, how a row of an output becomes an answer, as `preprocessing` does."""
        placed = [] if self.follows is None else ["put_back"]
        return [*_told(self, *placed, "encode"), self._known()]

    def _known(self) -> dict[str, Any]:
        return {"step": "options", "options": asdict(self.config), "learnt": self.state()}

    def fit(self, values: Iterable[Any]) -> None:
        """Learns state (a vocabulary, a mean) from the raw values of the training split."""

    def state(self) -> dict[str, Any]:
        """Returns the learnt state as what JSON can hold. It is part of every checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""


def _told(modality: Modality, *methods: str) -> list[dict[str, Any]]:
    return [{"step": name, "about": inspect.getdoc(getattr(modality, name))} for name in methods]
