"""What a server is told: its models, its limits, and whom it answers."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sensorium.errors import UserError

KEY = "SENSORIUM_API_KEY"
"""Variable that holds the key which requests must carry."""


class Part(BaseModel):
    """Options; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Part):
    """What one request, and all of them together, may cost."""

    body: int = Field(default=16 << 20, gt=0)
    """Bytes of a request's body."""

    max_pixels: int = Field(default=25_000_000, gt=0)
    """Pixels of a picture, by its header, before it is decoded."""

    max_seconds: float = Field(default=60.0, gt=0)
    """Length of a recording in seconds, by its header, before it is decoded."""

    max_bytes: int = Field(default=1 << 29, gt=0)
    """Memory that decoding one sound or film may take, whatever its header says."""

    max_characters: int = Field(default=100_000, gt=0)
    """Characters of a text; cutting one into tokens takes about 300 bytes of memory each."""

    arrival: float = Field(default=10.0, gt=0)
    """Seconds within which a body must have arrived."""

    rate: int = Field(default=4096, gt=0)
    """Bytes a second at which a body must come."""

    bodies: int = Field(default=256 << 20, gt=0)
    """Bytes of all bodies that are arriving or being answered."""

    memory: int = Field(default=2 << 30, gt=0)
    """Bytes that the decoded values of a replica's requests may hold together; more wait, or are answered 503."""

    answer: float = Field(default=30.0, gt=0)
    """Seconds within which a model must have answered."""

    waiting: int = Field(default=64, gt=0)
    """Requests of one model that may be under way; more are answered 503 at once."""


class Served(Part):
    """A model and what its replicas get."""

    model: str
    """A checkpoint folder, runs:/RUN_ID/model, or models:/NAME@ALIAS, which is followed when the alias moves."""

    replicas: tuple[int, int] = (1, 1)
    """Fewest and most copies; their number follows the load."""

    num_cpus: float | None = Field(default=None, ge=0)
    """Cores that a replica reserves and computes on; None shares those of this machine equally among all
    replicas, and takes one on a cluster that is there already."""

    num_gpus: float = Field(default=0.0, ge=0)
    """Share of a GPU that a replica reserves; several models share one when their shares fit."""

    max_batch: int = Field(default=32, gt=0)
    """Largest batch that is tried; how large it gets is measured at the start. 1 answers one by one."""

    index: str = ""
    """Folder of an index that `search` looks through, on the machine that takes the requests; empty for none."""


class Settings(Part):
    """Everything that an application is built from."""

    models: dict[str, Served] = Field(min_length=1)
    """Name in the address -> model."""

    limits: Limits = Limits()
    """What requests may cost."""

    hosts: tuple[str, ...] = ()
    """Names in the address by which the server may be asked; none where it listens beyond this machine lets any."""

    key: str = ""
    """SHA-256 of the key that requests must carry, in hexadecimal; empty asks for none."""


def check(plain: dict[str, Any]) -> Settings:
    """Returns the settings that plain data describe.

    Raises:
        UserError: An option is unknown or out of range; says which.
    """
    try:
        return Settings.model_validate(plain)
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{place}: {first['msg']}.", "", "See `sensorium serve --help`.") from cause


def shared(settings: Settings, cores: int) -> Settings:
    """Returns settings in which replicas that were given no cores have equal shares of those that are left."""
    open_ = {name for name, served in settings.models.items() if served.num_cpus is None}
    given = sum((served.num_cpus or 0) * served.replicas[1] for served in settings.models.values())
    among = sum(settings.models[name].replicas[1] for name in open_)
    share = max(0.1, (cores - given) / among) if among else 0.0
    share = float(int(share)) if share >= 1 else share  # Ray takes parts of a core, or whole ones
    models = {
        name: served.model_copy(update={"num_cpus": share}) if name in open_ else served
        for name, served in settings.models.items()
    }
    return settings.model_copy(update={"models": models})


def key_from_environment() -> str:
    """Returns the digest of the key in SENSORIUM_API_KEY, or an empty string when there is none.

    Raises:
        UserError: The key is too short to keep anybody out, or has characters that a header does not carry.
    """
    key = os.environ.get(KEY, "")
    if not all("!" <= letter <= "~" for letter in key):
        raise UserError(
            f"The key in {KEY} has a blank, a line's end, or a character outside ASCII.",
            "Letters, digits and signs were expected.",
            "`openssl rand -hex 32` makes one.",
        )
    if key and len(key) < 16:
        raise UserError(
            f"The key in {KEY} has {len(key)} characters.",
            "At least 16 were expected.",
            "`openssl rand -hex 32` makes one.",
        )
    return digest(key) if key else ""


def digest(key: str) -> str:
    """Returns the SHA-256 of a key in hexadecimal; the key itself is never passed on."""
    return hashlib.sha256(key.encode()).hexdigest()
