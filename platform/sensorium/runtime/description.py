"""The file that describes a cluster on this machine: its nodes and ports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium.contracts.component import Config
from sensorium.errors import UserError, unknown
from sensorium.paths import expanded

STRICT = {"extra": "forbid", "strict": True}


class Node(Config):
    """One node, as Ray sees it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    cpus: int = 1
    """Processor cores that it offers; several nodes may offer the same ones."""
    gpus: int = 0
    """GPUs that it offers, which no other node of the cluster gets."""
    resources: dict[str, float] = field(default_factory=dict)
    """Other resources that it offers, name -> amount."""
    object_store: int = 256
    """Shared memory for objects, in MiB."""

    def __post_init__(self) -> None:
        if self.cpus < 0 or self.gpus < 0 or any(amount < 0 for amount in self.resources.values()):
            raise ValueError("a node offers no less than nothing")
        if self.object_store < 80:
            raise ValueError("object_store must be at least 80 MiB")


class Ports(Config):
    """Ports on loopback that clients use; everything else takes free ones."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    control: int = 6379
    """Of the control store, which `--address` names."""
    dashboard: int = 8265
    """Of the dashboard, which takes jobs."""
    client: int = 10001
    """Of Ray Client (ray://)."""

    def __post_init__(self) -> None:
        ports = (self.control, self.dashboard, self.client)
        if len(set(ports)) < len(ports) or not all(1024 <= port <= 65535 for port in ports):
            raise ValueError("ports must differ and lie between 1024 and 65535")


class Description(Config):
    """A cluster of several nodes on one machine."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    """Name by which commands find it."""
    nodes: list[Node]
    """The head first."""
    ports: Ports = Ports()
    """Where it listens."""

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum():
            raise ValueError("name is made of letters, digits and hyphens")
        if not self.nodes:
            raise ValueError("nodes must have at least one, the head")


def read(path: Path) -> Description:
    """Returns the description in a YAML file.

    Raises:
        UserError: There is no such file, or something in it does not fit; says where.
    """
    from sensorium.experiment.yamls import parse_yaml

    path = Path(expanded(path))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as cause:
        raise UserError(
            f"The cluster file {str(path)!r} cannot be read: {cause.strerror}.",
            hint="clusters/laptop.yaml in the repository is one to start from.",
        ) from cause
    except UnicodeDecodeError as cause:
        raise UserError(f"{path} is not YAML: {' '.join(str(cause).split())}.") from cause
    return checked(parse_yaml(text, str(path), mapping=False), str(path))


def checked(data: Any, where: str) -> Description:
    """Returns plain data as a description; see `read`."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(data, Mapping):
        raise UserError(f"{where} is not a description of a cluster.", "It is a mapping with `name` and `nodes`.")
    try:
        return TypeAdapter(Description).validate_json(json.dumps(data, default=str))
    except ValidationError as cause:
        error = cause.errors()[0]
        place = [str(part) for part in error["loc"]]
        if error["type"] == "unexpected_keyword_argument":
            config = {"nodes": Node, "ports": Ports}.get(place[0] if len(place) > 1 else "", Description)
            raise unknown(
                "option", place[-1], config.__annotations__.keys() - {"__pydantic_config__"}, where
            ) from cause
        at = f" at {'.'.join(place)}" if place else ""
        raise UserError(f"{where} does not fit{at}: {error['msg']}.", "clusters/laptop.yaml shows the form.") from cause
