"""Checks of what a task declares to others: encoders it lends, what each modality says alone, rows that are answers.

Shapes: B samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.modules import TOLERANCE, check_features
from sensorium.contracts.data import Batch, map_tensors
from sensorium.contracts.parts import Encoder
from sensorium.contracts.task import Task
from sensorium.engine.evaluation import rows_of
from sensorium.errors import UserError


@torch.no_grad()
def lends_encoders(task: Task, batches: Sequence[Batch]) -> str:
    """Checks that what `encoder_of` lends is a part of the task that encodes the field."""
    task.eval()
    lent = []
    for batch in batches:
        for field in batch.fields:
            try:
                encoder = task.encoder_of(field)
            except UserError:
                continue
            if not isinstance(encoder, Encoder):
                raise ContractError(f"`encoder_of({field!r})` returns {type(encoder).__name__}, not an Encoder.")
            if all(part is not encoder for part in task.modules()):
                raise ContractError(f"`encoder_of({field!r})` is not a part of the task: its weights are not saved.")
            form = task.modalities[field].form
            if form not in encoder.takes:
                raise ContractError(
                    f"`encoder_of({field!r})` takes {' or '.join(encoder.takes)}; the field is {form}: it is another's."
                )
            try:
                features = encoder(batch[field])
            except RuntimeError as cause:
                reason = str(cause).splitlines()[0].rstrip(".")
                raise ContractError(f"`encoder_of({field!r})` does not take the field: {reason}.") from cause
            check_features(features, len(batch), encoder.dim)
            lent.append(field)
    if not lent:
        raise InapplicableError("It lends no encoder.")
    return f"lends {', '.join(dict.fromkeys(lent))}"


@torch.no_grad()
def tells_modalities_alone(task: Task, batches: Sequence[Batch]) -> str:
    """Checks `Task.alone`: the logits of an input do not depend on the other inputs, and its encoder is lent."""
    if type(task).alone is Task.alone:
        raise InapplicableError("It does not declare the logits of each modality alone.")
    task.eval()
    batch = batches[0]
    alone = task.alone(task(batch), batch)
    strange = sorted(set(alone.logits) - set(task.inputs))
    if strange or len(alone.logits) < 2:
        raise ContractError(
            f"`alone` names {', '.join(alone.logits)}; two inputs of {', '.join(task.inputs)} at least."
        )
    if alone.target.shape != (len(batch),) or alone.target.is_floating_point():
        raise ContractError(
            f"`alone.target` has the shape {tuple(alone.target.shape)}; classes ({len(batch)},) expected."
        )
    for name, logits in alone.logits.items():
        if logits.ndim != 2 or len(logits) != len(batch):
            raise ContractError(f"The logits of {name!r} have the shape {tuple(logits.shape)}, not ({len(batch)}, C).")
        task.encoder_of(name)  # whose gradients a method changes
        turned = {
            other: map_tensors(value, lambda tensor: tensor.roll(1, 0))
            if other in task.inputs and other != name
            else value
            for other, value in batch.fields.items()
        }
        others = replace(batch, fields=turned)
        far = float((task.alone(task(others), others).logits[name] - logits).abs().max())
        if far > TOLERANCE * float(logits.abs().max().clamp_min(1e-6)):
            raise ContractError(f"The logits of {name!r} alone change with the values of other inputs.")
    return f"{', '.join(alone.logits)} alone"


@torch.no_grad()
def answers_what_it_evaluates(task: Task, batches: Sequence[Batch]) -> str:
    """Checks `predict` against the rows of the same samples: those named after an output, and its logits."""
    task.eval()
    compared: dict[str, None] = {}
    for batch in batches:
        rows = rows_of(task, batch)
        fields = {name: batch[name] for name in task.inputs if name in batch}
        samples = [{key: sample[key] for key in ("id", *fields)} for sample in batch.samples]  # no answer leaks
        answer = task.predict(replace(batch, samples=samples, fields=fields))
        embedded = {output: f"embedding.{name}" for name, output in task.embeddings.items()}
        for name, value in answer.items():
            for row in (name, embedded.get(name, "")):
                if row in rows and isinstance(value, Tensor):
                    _compare(name, value, row, rows[row])
                    compared[row] = None
            logits = rows.get(f"logits.{name}")
            if isinstance(logits, Tensor) and isinstance(value, Tensor) and value.shape == logits.shape:
                _compare(name, value.argmax(-1), f"logits.{name}", logits.argmax(-1))
                compared[f"logits.{name}"] = None
    if not compared:
        raise InapplicableError("No row has the name of an output.")
    return f"`predict` gives {', '.join(compared)}"


def _compare(output: str, value: Tensor, row: str, kept: Tensor) -> None:
    if value.shape != kept.shape or not torch.allclose(value.float(), kept.float(), rtol=1e-3, atol=1e-4):
        raise ContractError(f"`predict` answers {output!r} otherwise than the row {row!r} of the same samples says.")
