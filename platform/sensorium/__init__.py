"""Sensorium: train models that see, hear and read, on Ray.

The names below are the contract: all that a plugin is made of. What plugins share besides lies in
`sensorium.ops` (functions on tensors) and `sensorium.builtin` (modalities and parts that come along). They are
imported when first used, so that naming plugins and printing help load no torch.

`train`, `load`, `evaluate` and `tune` do from Python what the commands do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sensorium.errors import MediaError, SensoriumError, UserError, unknown
from sensorium.hookspecs import hookimpl

if TYPE_CHECKING:
    from sensorium.api.model import evaluate as evaluate
    from sensorium.api.model import load as load
    from sensorium.api.training import train as train
    from sensorium.api.tuning import tune as tune
    from sensorium.contracts.component import Component as Component
    from sensorium.contracts.component import Config as Config
    from sensorium.contracts.data import Batch as Batch
    from sensorium.contracts.data import Features as Features
    from sensorium.contracts.data import Padded as Padded
    from sensorium.contracts.data import Rows as Rows
    from sensorium.contracts.data import Sample as Sample
    from sensorium.contracts.dataset import Dataset as Dataset
    from sensorium.contracts.dataset import Source as Source
    from sensorium.contracts.dataset import Split as Split
    from sensorium.contracts.dataset import fetch as fetch
    from sensorium.contracts.dataset import narrow as narrow
    from sensorium.contracts.dataset import place_of as place_of
    from sensorium.contracts.dataset import shards_of as shards_of
    from sensorium.contracts.dataset import sources_of as sources_of
    from sensorium.contracts.exported import Exported as Exported
    from sensorium.contracts.exported import Plain as Plain
    from sensorium.contracts.geometry import Geometry as Geometry
    from sensorium.contracts.metric import Metric as Metric
    from sensorium.contracts.minimise import minimise as minimise
    from sensorium.contracts.modality import Modality as Modality
    from sensorium.contracts.named import NamedModules as NamedModules
    from sensorium.contracts.parts import Decoder as Decoder
    from sensorium.contracts.parts import Encoder as Encoder
    from sensorium.contracts.parts import Fusion as Fusion
    from sensorium.contracts.parts import Loss as Loss
    from sensorium.contracts.run import Evaluation as Evaluation
    from sensorium.contracts.run import Outcome as Outcome
    from sensorium.contracts.run import Run as Run
    from sensorium.contracts.run import Step as Step
    from sensorium.contracts.task import Alone as Alone
    from sensorium.contracts.task import Objective as Objective
    from sensorium.contracts.task import Stage as Stage
    from sensorium.contracts.task import Task as Task
    from sensorium.paths import expanded as expanded

__version__ = "0.2.0"

_HOMES = {
    "contracts.component": ("Component", "Config"),
    "contracts.data": ("Batch", "Features", "Padded", "Rows", "Sample"),
    "contracts.dataset": ("Dataset", "Source", "Split", "fetch", "narrow", "place_of", "shards_of", "sources_of"),
    "contracts.exported": ("Exported", "Plain"),
    "contracts.geometry": ("Geometry",),
    "contracts.metric": ("Metric",),
    "contracts.minimise": ("minimise",),
    "contracts.modality": ("Modality",),
    "contracts.named": ("NamedModules",),
    "contracts.parts": ("Decoder", "Encoder", "Fusion", "Loss"),
    "contracts.run": ("Evaluation", "Outcome", "Run", "Step"),
    "contracts.task": ("Alone", "Objective", "Stage", "Task"),
    "paths": ("expanded",),
}
_CALLS = {"load": "model", "evaluate": "model", "train": "training", "tune": "tuning"}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: PLE0604
    "MediaError",
    "SensoriumError",
    "UserError",
    "hookimpl",
    "unknown",
    "workers",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    if name == "workers":
        return importlib.import_module("sensorium.contracts.workers")
    if name in _HOME:
        return getattr(importlib.import_module(f"sensorium.{_HOME[name]}"), name)
    if name in _CALLS:
        return getattr(importlib.import_module(f"sensorium.api.{_CALLS[name]}"), name)
    raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
