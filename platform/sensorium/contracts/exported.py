"""Exported: what of a model works without Sensorium.

Shapes: B samples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sensorium.contracts.data import Batch
from sensorium.contracts.modality import Modality


@dataclass(frozen=True)
class Plain:
    """A tensor that is not a modality's, such as a mask over frequencies.

    Attributes:
        about: What it holds, and in which unit; of an input, how it is made.
        axes: What each axis counts; the first one is the samples.
        example: Where it goes in: one, of a single sample, without B.
    """

    about: str
    axes: tuple[str, ...]
    example: Tensor | None = None


@dataclass(frozen=True)
class Exported:
    """A pure function of tensors, which `torch.export` and ONNX can write down.

    Attributes:
        about: What it does, in a sentence, for somebody who has the file alone; what the caller adds to it.
        function: Batch of the inputs -> name -> values of the outputs, as a batch's fields, B first. What it computes
            depends on tensors alone: their values change no branch, no loop and no shape, and B is read from
            `tensor.shape[0]`, as `len` makes it a constant. Numbers from `batch.normal` and `batch.uniform` become
            inputs of their own. `torch.compiler.is_exporting()` tells that it is being written down.
        inputs: Field -> modality, of what the function takes.
        outputs: Name -> modality, of all that it may return.
    """

    about: str
    function: Callable[[Batch], Mapping[str, Any]]
    inputs: Mapping[str, Modality | Plain]
    outputs: Mapping[str, Modality | Plain]
