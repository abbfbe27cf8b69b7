"""What the events of a run tell: Run, Step, Evaluation, Outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Run:
    """One execution of an experiment.

    Attributes:
        name: Unique name of the run.
        folder: Path or URI below which everything of the run lies.
        experiment: The whole experiment as plain data.
        seed: The seed that order, initial weights and augmentation follow from.
        rank: Number of this worker, from 0.
        workers: Number of workers.
        steps: Optimizer steps of the whole run.
        resumed_from: Step of the checkpoint that this execution went on from; 0 at the start.
        tracking: What the tracking plugin needs to go on with the same record.
    """

    name: str
    folder: str
    experiment: Mapping[str, Any]
    seed: int
    rank: int = 0
    workers: int = 1
    steps: int = 0
    resumed_from: int = 0
    tracking: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One optimizer step.

    Attributes:
        number: Optimizer steps done in this run, this one included.
        stage: Name of the stage.
        epoch: Epoch of the stage, from 0.
        losses: Objective/term -> mean over the global batch, scalars that may still be on the device.
        learning_rates: Objective -> learning rate of this step.
        ids: Ids of the samples that this worker used.
        samples: Number of samples in the global batch.
    """

    number: int
    stage: str
    epoch: int
    losses: Mapping[str, Tensor]
    learning_rates: Mapping[str, float]
    ids: Sequence[str]
    samples: int


@dataclass(frozen=True)
class Evaluation:
    """One pass over a split.

    Attributes:
        step: Optimizer steps done before it.
        split: Name of the split.
        metrics: Name -> value over the whole split.
        plots: File name -> PNG bytes.
        examples: Sentences that show what the model does on a few samples.
    """

    step: int
    split: str
    metrics: Mapping[str, float]
    plots: Mapping[str, bytes] = field(default_factory=dict)
    examples: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: `finished`, `failed`, or `stopped` before its end: by a search, or by the user.
        metrics: Metrics of the final evaluation.
        model: Folder or URI of the model; empty unless the run finished.
        checkpoint: Folder or URI of the last checkpoint; empty when there is none.
        samples_per_second: Samples trained on a second in steady state, over all workers.
        examples: Sentences that show what the model does on a few samples.
        error: Sentence that says why it failed.
    """

    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    model: str = ""
    checkpoint: str = ""
    samples_per_second: float = 0.0
    examples: Sequence[str] = ()
    error: str = ""
