"""What every plugged-in part has: a kind, and a typed configuration that builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Config:
    """Typed, keyword-only, immutable options; every field has a docstring below it, with its unit.

    A subclass becomes a frozen dataclass by itself. Constraints that types cannot say go into
    `__post_init__`, which raises ValueError with a sentence.
    """

    owner: ClassVar[Any]
    """The component class that this configuration builds."""

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True, frozen=True)(cls)

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the component that this configuration belongs to, built from it."""
        return self.owner(self, *args, **kwargs)


class Component:
    """A part that an experiment names. Its nested `Config` holds its options."""

    kind: ClassVar[str]
    probe: ClassVar[Mapping[str, Any]] = {}
    """Options that `sensorium plugin check` builds it with, where the defaults lack something or are too large; of a
    task, what its short training changes in the experiment: key.path -> value. A stage of it lasts about 100 steps, or
    as long as `training.stages.<name>.epochs` says here."""
    exportable: ClassVar[bool] = True
    """False says of a module that `torch.export` does not work on it."""

    class Config(Config):
        """No options."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" not in cls.__dict__:
            qualname = f"{cls.__qualname__}.Config"
            body = {"__module__": cls.__module__, "__qualname__": qualname, "__doc__": "No options."}
            cls.Config = type("Config", (cls.Config,), body)  # type: ignore[misc, assignment]
        cls.Config.owner = cls
