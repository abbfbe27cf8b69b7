"""Sensorium: train models that see, hear and read, on Ray.

The names below are all that a plugin needs. They are imported when first used, so that naming
plugins and printing help load no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sensorium.errors import MediaError, SensoriumError, UserError, unknown
from sensorium.hookspecs import hookimpl

if TYPE_CHECKING:
    from sensorium.builtin.datasets.files import csv_rows as csv_rows
    from sensorium.builtin.datasets.files import lines as lines
    from sensorium.builtin.datasets.files import read_text as read_text
    from sensorium.builtin.datasets.files import require as require
    from sensorium.builtin.datasets.files import require_media as require_media
    from sensorium.builtin.decoders.words import WordDecoder as WordDecoder
    from sensorium.builtin.diffusion import Diffusion as Diffusion
    from sensorium.builtin.diffusion import guided as guided
    from sensorium.builtin.diffusion import waves as waves
    from sensorium.builtin.encoders.transformer import TransformerBlock as TransformerBlock
    from sensorium.builtin.losses.si_sdr import sdr as sdr
    from sensorium.builtin.losses.si_sdr import si_sdr as si_sdr
    from sensorium.builtin.modalities.audio import Audio as Audio
    from sensorium.builtin.modalities.heatmaps import Heat as Heat
    from sensorium.builtin.modalities.heatmaps import Heatmaps as Heatmaps
    from sensorium.builtin.modalities.image import Image as Image
    from sensorium.builtin.modalities.label import Label as Label
    from sensorium.builtin.modalities.number import Number as Number
    from sensorium.builtin.modalities.tags import Tags as Tags
    from sensorium.builtin.modalities.text import Text as Text
    from sensorium.builtin.modalities.vector import Vector as Vector
    from sensorium.builtin.modalities.video import Video as Video
    from sensorium.builtin.values import clean as clean
    from sensorium.builtin.values import filled as filled
    from sensorium.builtin.values import once as once
    from sensorium.contracts.component import Component as Component
    from sensorium.contracts.component import Config as Config
    from sensorium.contracts.data import Batch as Batch
    from sensorium.contracts.data import Features as Features
    from sensorium.contracts.data import Padded as Padded
    from sensorium.contracts.data import Rows as Rows
    from sensorium.contracts.data import Sample as Sample
    from sensorium.contracts.dataset import Dataset as Dataset
    from sensorium.contracts.dataset import Split as Split
    from sensorium.contracts.metric import Metric as Metric
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
    from sensorium.contracts.task import Objective as Objective
    from sensorium.contracts.task import Stage as Stage
    from sensorium.contracts.task import Task as Task
    from sensorium.paths import expanded as expanded

__version__ = "0.1.0"

_HOMES = {
    "contracts.component": ("Component", "Config"),
    "contracts.data": ("Batch", "Features", "Padded", "Rows", "Sample"),
    "contracts.dataset": ("Dataset", "Split"),
    "contracts.metric": ("Metric",),
    "contracts.modality": ("Modality",),
    "contracts.named": ("NamedModules",),
    "contracts.parts": ("Decoder", "Encoder", "Fusion", "Loss"),
    "contracts.run": ("Evaluation", "Outcome", "Run", "Step"),
    "contracts.task": ("Objective", "Stage", "Task"),
    "paths": ("expanded",),
    "builtin.datasets.files": ("csv_rows", "lines", "read_text", "require", "require_media"),
    "builtin.values": ("clean", "filled", "once"),
    "builtin.losses.si_sdr": ("sdr", "si_sdr"),
    "builtin.diffusion": ("Diffusion", "guided", "waves"),
    "builtin.encoders.transformer": ("TransformerBlock",),
    "builtin.modalities.audio": ("Audio",),
    "builtin.decoders.words": ("WordDecoder",),
    "builtin.modalities.heatmaps": ("Heat", "Heatmaps"),
    "builtin.modalities.image": ("Image",),
    "builtin.modalities.label": ("Label",),
    "builtin.modalities.number": ("Number",),
    "builtin.modalities.tags": ("Tags",),
    "builtin.modalities.text": ("Text",),
    "builtin.modalities.vector": ("Vector",),
    "builtin.modalities.video": ("Video",),
}
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
    raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
