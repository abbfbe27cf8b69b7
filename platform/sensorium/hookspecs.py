"""Every extension point of Sensorium, in the order of a run.

A plugin is a module (or an object) with functions of these names, each marked with
`sensorium.hookimpl`. It is found by its entry point in the group `sensorium`, or by the
experiment's `plugins: [module.path]`, and it is found again in every Ray worker.

All hooks are optional. An argument that a plugin does not use may be left out of its signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from sensorium.contracts.dataset import Dataset
    from sensorium.contracts.metric import Metric
    from sensorium.contracts.modality import Modality
    from sensorium.contracts.parts import Decoder, Encoder, Fusion, Loss
    from sensorium.contracts.run import Evaluation, Outcome, Run, Step
    from sensorium.contracts.task import Task

hookspec = pluggy.HookspecMarker("sensorium")
hookimpl = pluggy.HookimplMarker("sensorium")

# ------------------------------------------------------------------------------------------------
# Registration: called once when plugins are loaded, in every process (the command line, each Ray
# worker, each replica of an endpoint), before anything else of a run.
#
# Each returns name -> component class, or "module:Class" to have the module imported only when an
# experiment names it. A name that another plugin has taken is an error that names both plugins;
# an exception leaves the plugin out, and is reported with its name and cause.
# ------------------------------------------------------------------------------------------------


@hookspec
def sensorium_modalities() -> Mapping[str, type[Modality] | str]:
    """Returns kinds of data: how raw bytes become a batch, and how a tensor becomes a PNG or WAV."""
    raise NotImplementedError


@hookspec
def sensorium_encoders() -> Mapping[str, type[Encoder] | str]:
    """Returns encoders: a modality's batch -> Features (pooled (B, D), tokens (B, T, D))."""
    raise NotImplementedError


@hookspec
def sensorium_fusions() -> Mapping[str, type[Fusion] | str]:
    """Returns fusions: the Features of several fields -> joint ones."""
    raise NotImplementedError


@hookspec
def sensorium_decoders() -> Mapping[str, type[Decoder] | str]:
    """Returns decoders: Features -> an output modality's tensor."""
    raise NotImplementedError


@hookspec
def sensorium_losses() -> Mapping[str, type[Loss] | str]:
    """Returns losses: tensors -> a loss for each sample (B,), or their mean."""
    raise NotImplementedError


@hookspec
def sensorium_datasets() -> Mapping[str, type[Dataset] | str]:
    """Returns datasets: splits with random access to samples."""
    raise NotImplementedError


@hookspec
def sensorium_metrics() -> Mapping[str, type[Metric] | str]:
    """Returns metrics: the rows of a whole split -> metrics by name."""
    raise NotImplementedError


@hookspec
def sensorium_tasks() -> Mapping[str, type[Task] | str]:
    """Returns tasks: what joins the parts into something to learn, with its default experiment."""
    raise NotImplementedError


# ------------------------------------------------------------------------------------------------
# Events of a run: called in every training process, `run.rank` tells which. Whoever writes to a
# place that all share does so at rank 0 alone. Return values are not used. An exception ends the
# run: an event that may fail without harm is caught by the plugin itself.
# ------------------------------------------------------------------------------------------------


@hookspec
def sensorium_run_started(run: Run) -> None:
    """Fires once an execution, when model and data are ready and before the first step.

    After a restart it fires again, with `run.resumed_from` above 0.
    """


@hookspec
def sensorium_step_finished(run: Run, step: Step) -> None:
    """Fires after each optimizer step. It is on the hot path: do not wait for the device here.

    After a restart the steps since the last checkpoint are done, and reported, once more.
    """


@hookspec
def sensorium_evaluated(run: Run, evaluation: Evaluation) -> None:
    """Fires after each pass over a split, with metrics over all workers' samples."""


@hookspec
def sensorium_checkpoint_begun(run: Run, step: int) -> None:
    """Fires at rank 0 alone, from the training thread, before anything of a checkpoint is written.

    The last chance to put away what was seen until `step`: a run that goes on from this checkpoint
    does not do these steps again.
    """


@hookspec
def sensorium_checkpoint_saved(run: Run, checkpoint: str, step: int) -> None:
    """Fires at rank 0 alone, from the training thread, when a checkpoint is complete on storage.

    `checkpoint` is its folder or URI, `step` the optimizer steps that it holds.
    """


@hookspec
def sensorium_run_finished(run: Run, outcome: Outcome) -> None:
    """Fires once at the end of an execution that finished, failed or was interrupted, not of one that was killed."""
