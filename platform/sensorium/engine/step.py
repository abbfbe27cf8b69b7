"""One optimizer step of one objective: forward, loss, backward, update.

Shapes: B samples of this worker, G samples of the global batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sensorium.contracts import workers
from sensorium.contracts.data import Batch, map_tensors
from sensorium.contracts.parts import given_in
from sensorium.contracts.task import Objective, Task
from sensorium.engine import optimizers, parallel, speed
from sensorium.engine.order import mix
from sensorium.engine.settings import Optimizer, Training
from sensorium.errors import SensoriumError

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Stepper:
    """Trains the parts of one objective.

    Args:
        task: The model.
        objective: What to minimise, and which parts.
        settings: Precision, accumulation, clipping.
        optimizer: How the parameters are updated.
        device: Where the model lies.
        sharded: Whether the model is cut among the workers (FSDP2) rather than copied (DDP).
    """

    def __init__(
        self,
        task: Task,
        objective: Objective,
        settings: Training,
        optimizer: Optimizer,
        device: torch.device,
        sharded: bool = False,
    ) -> None:
        self.objective, self.settings, self.device = objective, settings, device
        self.parameters = parameters_of(task, objective)
        for parameter in task.parameters():
            parameter.requires_grad_(False)
        self.open(True)
        self.optimizer = optimizers.build(optimizer, self.parameters, task)
        self.lr = optimizer.lr
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.sharded = sharded and workers.size() > 1
        self._seen: tuple[Any, Batch] | None = None
        self.forward = speed.compiled(objective.forward, settings.compile)
        self.task = task
        self.model = parallel.Calls(task) if sharded else parallel.replicate(task, device)
        # In parts, a step is several calls, which together use what it uses.
        self._looks = objective.steady and settings.accumulate == 1 and isinstance(self.model, DistributedDataParallel)
        self._leaves_none = False

    def open(self, trains: bool) -> None:
        """Says whether this objective's parameters gather gradients."""
        for parameter in self.parameters.values():
            parameter.requires_grad_(trains)

    def step(self, batch: Batch, global_batch: int, rate: float, seed: int) -> dict[str, Tensor]:
        """Updates the parameters once: `gradients` and `update`."""
        terms = self.gradients(batch, global_batch, seed)
        self.update(rate)
        return terms

    def gradients(self, batch: Batch, global_batch: int, seed: int) -> dict[str, Tensor]:
        """Goes forward and backward.

        Args:
            batch: This worker's B samples.
            global_batch: G, the samples of all workers.
            seed: Seed of all randomness of the forward pass, the same on every worker.

        Returns:
            Objective/term -> its value for this worker's samples, (B,) or scalar, on the device.
        """
        # DDP takes the mean over workers: with this weight the sum over samples / G comes out.
        weight = len(batch) * workers.size() / global_batch
        seed_all(mix(seed, workers.rank()))
        batch = replace(batch, seed=seed)
        parts = batch.split(self.settings.accumulate) if self.settings.accumulate > 1 else [batch]
        if self._leaves_none:
            self.model, self._leaves_none = parallel.replicate(self.task, self.device, search=False), False
        with self._looking():
            terms = self._whole(batch, weight) if len(parts) == 1 else self._in_parts(batch, parts, weight, seed)
        if self.sharded:
            parallel.average(self.parameters.values())
        return {f"{self.objective.name}/{name}": value.detach() for name, value in terms.items()}

    def update(self, rate: float) -> None:
        """Moves the parameters along the gradients, at a share of the learning rate."""
        for group, base in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = base * rate
        self.scaler.unscale_(self.optimizer)
        if self.objective.adjust is not None and self._seen is not None:
            with torch.no_grad(), self._precision():
                self.objective.adjust(*self._seen)
            self._seen = None
        if self.settings.clip_norm is not None:
            parallel.clip(self.parameters.values(), self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _whole(self, batch: Batch, weight: float) -> Mapping[str, Tensor]:
        terms: dict[str, Tensor] = self.model(self._terms, batch)
        self.scaler.scale(total(terms) * weight).backward()
        return terms

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Looks, the first time, whether each worker uses all parameters: from then on nobody searches for others."""
        if not self._looks:
            yield
            return
        left = {id(parameter) for parameter in self.parameters.values()}
        hooks = [
            parameter.register_post_accumulate_grad_hook(lambda used: left.discard(id(used)))
            for parameter in self.parameters.values()
        ]
        yield
        for hook in hooks:
            hook.remove()
        self._looks = False
        self._leaves_none = not workers.add(torch.tensor(len(left), device=self.device))

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        with self._precision():
            outputs = self.forward(batch)
            self._keep(outputs, batch)
            return dict(self.objective.losses(outputs, batch))

    def _keep(self, outputs: Any, batch: Batch) -> None:
        if self.objective.adjust is not None:
            self._seen = map_tensors(outputs, lambda tensor: tensor.detach()), batch

    def _in_parts(self, batch: Batch, parts: Sequence[Batch], weight: float, seed: int) -> Mapping[str, Tensor]:
        """Does the same in less memory, at the price of a second forward pass.

        First the outputs of all parts without a graph, then the loss of the whole and its gradient
        by the outputs, then part by part forward again and backward from there (Gao et al. 2021,
        GradCache). Losses across samples come out as without parts.
        """
        with torch.no_grad():
            outputs = [self._outputs(part, seed, number) for number, part in enumerate(parts)]
        whole = map_tensors(_join(outputs), lambda t: t.requires_grad_() if t.is_floating_point() else t)
        self._keep(whole, batch)
        leaves = [tensor for tensor in _tensors(whole) if tensor.requires_grad]
        own = list(self.parameters.values())
        with self._precision():
            terms = self.objective.losses(whole, batch)
        loss = self.scaler.scale(total(terms) * weight)
        gradients = torch.autograd.grad(loss, [*leaves, *own], allow_unused=True)
        of_leaves, of_own = gradients[: len(leaves)], gradients[len(leaves) :]
        start = 0
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            slopes = [None if g is None else g[start : start + len(part)] for g in of_leaves]
            # With the last part go the parameters of the loss itself, such as a temperature.
            direct = list(zip(own, of_own, strict=True)) if last else []
            with contextlib.nullcontext() if last else self._unsynchronised():
                product = self.model(self._product, part, seed, number, slopes, direct)
                if product.requires_grad:
                    product.backward()
            start += len(part)
        return terms

    def _product(
        self, part: Batch, seed: int, number: int, slopes: Sequence[Tensor | None], direct: Sequence[tuple[Any, Any]]
    ) -> Tensor:
        """Returns outputs times slopes, whose gradient is that of the loss by way of this part."""
        outputs = [tensor for tensor in _tensors(self._outputs(part, seed, number)) if tensor.is_floating_point()]
        pairs = [*zip(outputs, slopes, strict=True), *direct]
        products = ((t * slope).float().sum() for t, slope in pairs if slope is not None)
        return sum(products, torch.zeros((), device=self.device))

    def _unsynchronised(self) -> contextlib.AbstractContextManager[Any]:
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else contextlib.nullcontext()

    def _outputs(self, part: Batch, seed: int, number: int) -> Any:
        seed_all(mix(seed, workers.rank(), number))
        with self._precision():
            return self.forward(part)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        kind = _TYPES[self.settings.precision]
        return torch.autocast(self.device.type, dtype=kind, enabled=kind is not torch.float32)

    def named(self) -> dict[int, str]:
        """Returns the name of each parameter by its identity, to save the optimizer's state."""
        return {id(parameter): name for name, parameter in self.parameters.items()}


def parameters_of(task: Task, objective: Objective) -> dict[str, nn.Parameter]:
    """Returns name -> parameter of the parts that an objective updates, but what stays as published weights have it.

    Raises:
        SensoriumError: A part does not exist; a mistake of the task plugin.
    """
    parts = dict(task.named_modules())
    missing = [name for name in objective.updates if name not in parts]
    if missing:
        raise SensoriumError(
            f"The objective {objective.name!r} updates {', '.join(missing)}, which the task does not have.",
            f"Its parts are {', '.join(name for name, _ in task.named_children())}.",
            "Mend the task's `stages`.",
        )
    inside, given = tuple(f"{name}." for name in objective.updates), given_in(task)
    return {n: parameter for n, parameter in task.named_parameters() if n.startswith(inside) and n not in given}


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Returns the sum of the terms, each taken as its mean over the samples."""
    return torch.stack([term.float().mean() for term in terms.values()]).sum()


def seed_all(seed: int) -> None:
    """Seeds torch's generators on all devices.

    `torch.manual_seed` does the same, but formats a stack trace each time where there is no GPU.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    map_tensors(tree, found.append)
    return found


def _join(trees: Sequence[Any]) -> Any:
    """Returns structures of tensors as one, joined along the first dimension."""
    columns = zip(*(_tensors(tree) for tree in trees), strict=True)
    return map_tensors(trees[0], lambda _: torch.cat(next(columns)))
