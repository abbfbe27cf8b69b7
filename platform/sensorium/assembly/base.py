"""Published weights that a training leaves as they are: checkpoints name them by a hash, a trained model holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from sensorium.assembly import trained
from sensorium.contracts.parts import Encoder, given_in
from sensorium.contracts.task import Task
from sensorium.engine.checkpoint import Checkpoint
from sensorium.engine.order import mix
from sensorium.engine.state import load_weights
from sensorium.errors import UserError

Base = dict[str, dict[str, str]]
"""Encoder -> `weights`, as the experiment names them, and `sha256` of the tensors that stay as they are."""


def begin(task: Task, seed: int, resume: Checkpoint | None = None) -> Base:
    """Gives a model the weights that it starts from, and adds what learns beside those that stay as they are.

    Args:
        task: The model.
        seed: Seed of what is added.
        resume: The checkpoint whose weights will follow.

    Returns:
        What stays, as each checkpoint names it; empty where all is trained.

    Raises:
        UserError: Weights cannot be had, or are not those that the checkpoint was trained beside.
    """
    trained.initialise(task, resume is not None)
    found: Base = {}
    for name, encoder in _encoders(task):
        if names := encoder.given():
            state = encoder.state_dict()
            weights = str(getattr(encoder.config, "weights", None))
            found[name] = {"weights": weights, "sha256": _sha256({each: state[each] for each in names})}
    if resume is not None and found:
        _compare(found, resume)
    adapt(task, seed)
    return found


def load(task: Task, checkpoint: Checkpoint, where: str) -> None:
    """Gives a new model the weights of a trained one, or those of a checkpoint with the published ones beside it.

    Raises:
        UserError: They do not fit.
    """
    if not (checkpoint.folder / f"{trained.BASE}.json").is_file():
        load_weights(task, checkpoint.tensors("model"), where)
        return
    begin(task, 0, checkpoint)
    load_weights(task, checkpoint.tensors("model"), where, given_in(task))
    merge(task)


def adapt(task: Task, seed: int) -> None:
    """Has each encoder add what learns beside the weights that stay, the same on every worker."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mix(seed))
        for _, encoder in _encoders(task):
            encoder.adapt()


def merge(task: Task) -> None:
    """Has each encoder put what it added into its weights."""
    for _, encoder in _encoders(task):
        encoder.merge()


@contextmanager
def adapted(task: Task) -> Iterator[None]:
    """Has a new model be as it is trained, for a while: what it adds is checked before anything starts."""
    adapt(task, 0)
    try:
        yield
    finally:
        merge(task)


def _encoders(task: Task) -> list[tuple[str, Encoder]]:
    return [(name, module) for name, module in task.named_modules() if isinstance(module, Encoder)]


def _compare(found: Base, resume: Checkpoint) -> None:
    path = resume.folder / f"{trained.BASE}.json"
    said = resume.document(trained.BASE) if path.is_file() else {}
    for name, own in found.items():
        then = said.get(name)
        if not isinstance(then, Mapping) or own["sha256"] != then.get("sha256"):
            was = str(then.get("sha256"))[:12] if isinstance(then, Mapping) else "nothing"
            raise UserError(
                f"The weights {own['weights']} of the encoder {name!r} are not those that the training began with:"
                f" their SHA-256 is {own['sha256'][:12]}…, and {path} says {was}….",
                "The checkpoint holds only what was trained beside them.",
                "Put back the weights of then, or start a new run.",
            )


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Returns the hash of tensors, with their names, types and shapes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
