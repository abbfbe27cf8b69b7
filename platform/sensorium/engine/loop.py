"""The loop of a training: stages, epochs, steps, evaluations, checkpoints."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.contracts import workers
from sensorium.contracts.dataset import Source, Split, shards_of, sources_of
from sensorium.contracts.modality import Modality
from sensorium.contracts.parts import given_in
from sensorium.contracts.run import Evaluation, Run, Step
from sensorium.contracts.task import Stage, Task
from sensorium.engine import optimizers, parallel, speed
from sensorium.engine import state as states
from sensorium.engine.average import Average
from sensorium.engine.checkpoint import Checkpoint, Store
from sensorium.engine.clock import Clock
from sensorium.engine.evaluation import evaluate, merged
from sensorium.engine.loader import Loader
from sensorium.engine.norms import check_parts, join_norms
from sensorium.engine.notice import Notice
from sensorium.engine.order import Sources, mix
from sensorium.engine.position import Position, read_position
from sensorium.engine.preparation import CHOSEN, chosen_of, prepared
from sensorium.engine.settings import Evaluation as EvaluationSettings
from sensorium.engine.settings import Plan, Training
from sensorium.engine.step import Stepper
from sensorium.engine.watch import Watch
from sensorium.errors import SensoriumError


@dataclass
class Work:
    """What a training works on.

    Attributes:
        task: The model, on its device.
        splits: Name -> split; `train` at least.
        fields: Field -> modality, of what is read.
        training: How to learn.
        evaluation: How to measure.
        threads: Threads that read samples.
        documents: What each checkpoint holds besides: file -> what JSON can hold.
        sharded: Whether to cut the model among the workers.
        base: Encoder -> the published weights that checkpoints leave out; a checkpoint holds it as `base`.
    """

    task: Task
    splits: Mapping[str, Split]
    fields: Mapping[str, Modality]
    training: Training
    evaluation: EvaluationSettings
    threads: int = 4
    documents: Mapping[str, Any] = field(default_factory=dict)
    sharded: bool = False
    base: Mapping[str, Any] = field(default_factory=dict)


class Loop:
    """Trains one task to the end of its last stage.

    Args:
        work: What to train on.
        run: The run that this execution belongs to.
        store: Where checkpoints go.
        device: Where the model lies.
        hook: The plugins' events.
        saved: Called on every worker with the step of each checkpoint that is complete.
        leaving: Says whether this worker was told that some worker's machine is about to go.
    """

    def __init__(
        self,
        work: Work,
        run: Run,
        store: Store,
        device: torch.device,
        hook: Any,
        saved: Callable[[int], None] = lambda step: None,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self.work, self.run, self.store, self.device = work, run, store, device
        self.hook, self.saved = hook, saved
        self.stages = list(work.task.stages())
        self.plans = [work.training.plan(stage.name) for stage in self.stages]
        self.orders = [self._order(plan, sources_of(work.splits[plan.split])) for plan in self.plans]
        self.average: Average | None = None
        self.chosen: Tensor | None = None
        self.position = Position()
        self.watch, self.notice = Watch(), Notice(leaving)
        self.clock = Clock()
        self._state: dict[str, Any] | None = None
        self._saving: int | None = None
        self._given = given_in(work.task)
        self._last: int | None = None
        if work.training.accumulate > 1:
            check_parts(work.task)
        join_norms(work.task)
        speed.prepare(work.task, device, work.training.precision, work.sharded)
        self.transfer = speed.Transfer(device)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(plan.epochs * order.steps for plan, order in zip(self.plans, self.orders, strict=True))

    @property
    def plan(self) -> Plan:
        """What the stage under way does."""
        return self.plans[self.position.stage]

    @property
    def order(self) -> Sources:
        """The order of samples in the stage under way."""
        return self.orders[self.position.stage]

    def train(self, resume: Checkpoint | None = None) -> str:
        """Trains from the start or from a checkpoint.

        Returns:
            Folder or URI of the last checkpoint, or of the best one with early stopping; empty when there was no step.

        Raises:
            SensoriumError: A loss is not finite, media cannot be read, a checkpoint cannot be written.
        """
        if resume is not None:
            self.position, self._last = read_position(resume, len(self.stages)), resume.step
        if self.work.sharded and workers.size() > 1:
            parallel.shard(self.work.task, self.device)
        if resume is not None:
            states.load_weights(self.work.task, resume.tensors("model"), resume.uri, self._given)
        while self.position.stage < len(self.stages):
            self._stage(self.stages[self.position.stage], resume)
            resume = None
        self.watch.check()
        self._finish_save()
        return self._result()

    def _stage(self, stage: Stage, resume: Checkpoint | None) -> None:
        inside = resume is not None and self.position.epoch + self.position.done > 0
        tensors = resume.tensors("optimizer") if resume is not None and inside else {}
        self._choose(tensors.get(CHOSEN) if inside else self._prepared(stage))
        steppers = self._steppers(stage)
        if resume is not None and inside:
            scalars = {name: resume.entry("optimizer", name, dict) for name in ("numbers", "scaler")}
            states.load_optimizer_state(steppers, tensors, scalars, resume.uri)
            if self.average is not None:
                self.average.restore(tensors)
        with self._loader(self.plan.split, ahead=self.work.training.shuffle == "blocks") as loader:
            batches = loader.stream(self._shares())
            while self.position.epoch < self.plan.epochs and not self._stopped():
                self._epoch(stage, steppers, batches)
            batches.close()
        if self.average is not None:
            self.average.settle()
            self.average = None
        self.position = Position(
            self.position.step, self.position.stage + 1, 0, 0, self.position.best, self.position.best_step
        )
        self._save(steppers)

    def _epoch(self, stage: Stage, steppers: Sequence[Stepper], batches: Any) -> None:
        while self.position.done < self.order.steps:
            self._step(stage, steppers, next(batches))
            every = self.work.training.checkpoints.steps
            due = self.notice.due or (every and self.position.step % every == 0)
            if due and self.position.done < self.order.steps:
                self._save(steppers)
        self.position.epoch += 1
        self.position.done = 0
        every = self.work.evaluation.epochs
        during = [name for name in self.work.evaluation.meanwhile_on if name in self.work.splits]
        if every and self.position.epoch % every == 0 and during:
            plots = self.work.evaluation.plots
            self._judge(merged([self.evaluate(name, plots=plots) for name in during]), steppers)
        if self.position.epoch < self.plan.epochs and self.position.epoch % self.work.training.checkpoints.epochs == 0:
            self._save(steppers)

    def _step(self, stage: Stage, steppers: Sequence[Stepper], batch: Any) -> None:
        number = self.position.epoch * self.order.steps + self.position.done
        steps = self.plan.epochs * self.order.steps
        moved = replace(self.transfer(batch), progress=number / steps)
        losses: dict[str, Tensor] = {}
        rates: dict[str, float] = {}
        sums: list[Callable[[], Tensor]] = []
        size = self.order.size(batch.source)
        for turn, stepper in enumerate(steppers):
            if stepper.objective.source not in (None, batch.source):
                continue
            if len(steppers) > 1:
                for other in steppers:
                    other.open(False)
                stepper.open(True)
            rate = optimizers.factor(self.plan.schedule, number, steps)
            seed = mix(self.run.seed, self.position.stage, number, turn)
            terms = stepper.gradients(moved, size, seed)
            sums.append(self._add(terms, len(batch) / size))  # while the optimizer works
            stepper.update(rate)
            losses |= terms
            rates[stepper.objective.name] = stepper.lr * rate
        if self.average is not None:
            self.average.update(number + 1)
        self.watch.check()  # of the step before: waiting for this one would idle the device
        self.notice.look()
        self.position.step += 1
        self.position.done += 1
        means = self._means(losses, sums)
        self.watch.expect(self.position.step, means, losses, batch.ids)
        self.clock.step(size)
        step = Step(
            number=self.position.step,
            stage=stage.name,
            epoch=self.position.epoch,
            losses=means,
            learning_rates=rates,
            ids=batch.ids,
            samples=size,
        )
        self.hook.sensorium_step_finished(run=self.run, step=step)
        if self._saving is not None:
            self._announce()

    def _add(self, losses: Mapping[str, Tensor], share: float) -> Callable[[], Tensor]:
        """Begins to form the means over the global batch, in one small collective call that carries the notice too."""
        values = torch.stack([loss.float().mean() for loss in losses.values()]) * share
        told = values.new_full((1,), float(self.notice.given()))
        return workers.adding(torch.cat([values, told]))

    def _means(self, losses: Iterable[str], sums: Iterable[Callable[[], Tensor]]) -> dict[str, Tensor]:
        """Returns the means of the losses when the workers have added them up."""
        means: list[Tensor] = []
        for total in sums:
            *some, self.notice.total = total().unbind()
            means += some
        return dict(zip(losses, means, strict=True))

    def evaluate(self, split: str, contributions: bool = False, plots: bool = True) -> Evaluation:
        """Measures the model on a split and tells the plugins."""
        self.watch.check()
        with self.clock.paused(), self._averaged(), self._loader(split) as loader:
            evaluation = evaluate(
                self.work.task,
                loader,
                split,
                self.device,
                self.work.evaluation.batch,
                self.position.step,
                contributions,
                plots,
            )
            self.work.task.evaluated(evaluation)
            self.hook.sensorium_evaluated(run=self.run, evaluation=evaluation)
        return evaluation

    def _loader(self, split: str, ahead: bool = True) -> Loader:
        pinned = self.device.type == "cuda"
        return Loader(self.work.splits[split], self.work.fields, self.work.threads, self.run.seed, pinned, ahead)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.used()

    def _prepared(self, stage: Stage) -> Tensor | None:
        """Lets a stage learn without gradients; returns the indices that it is to learn from, None for all."""
        with self._loader(self.plan.split) as loader:
            return prepared(stage, self.work.task, loader, self.device, self.work.evaluation.batch)

    def _choose(self, chosen: Tensor | None) -> None:
        """Has the stage under way learn from some samples of its split, or from all."""
        self.chosen = chosen
        if chosen is not None:
            sources = chosen_of(sources_of(self.work.splits[self.plan.split]), chosen)
            self.orders[self.position.stage] = self._order(self.plan, sources, chosen)

    def _order(self, plan: Plan, sources: Sequence[Source], chosen: Tensor | None = None) -> Sources:
        """Returns the order of a stage's samples, or of those of them that it chose."""
        training, shards = self.work.training, None
        if training.shuffle == "blocks":
            shards = np.asarray(shards_of(self.work.splits[plan.split]))
            shards = shards if chosen is None else np.searchsorted(chosen.numpy(), shards)
        return Sources(sources, plan.global_batch, self.run.seed, training.steps, shards, training.window)

    def _steppers(self, stage: Stage) -> list[Stepper]:
        """Freezes what no objective of the stage names, and makes the steppers."""
        task = self.work.task
        task.requires_grad_(False)
        task.train()
        steppers = [
            Stepper(
                task,
                objective,
                self.work.training,
                self.plan.optimizer_of(objective.name),
                self.device,
                self.work.sharded,
            )
            for objective in stage.objectives
        ]
        for part in task.children():
            part.eval()
        for name in {name for objective in stage.objectives for name in objective.updates}:
            task.get_submodule(name).train()
        for stepper in steppers:
            stepper.open(True)
        if self.plan.average is not None:
            trained = {name: each for stepper in steppers for name, each in stepper.parameters.items()}
            self.average = Average(trained, self.plan.average)
        return steppers

    def _shares(self) -> Iterator[tuple[int | None, Sequence[int]]]:
        """Yields this worker's part of each step that is left of the stage, with the number of the epoch."""
        first, done = self.position.epoch, self.position.done
        # A number of its own for each epoch of the run, so that stages do not repeat an order.
        base = sum(plan.epochs for plan in self.plans[: self.position.stage])
        for epoch in range(first, self.plan.epochs):
            start = done if epoch == first else 0
            for indices in self.order.shares(base + epoch, start, workers.rank(), workers.size()):
                yield base + epoch, indices if self.chosen is None else self.chosen[list(indices)].tolist()

    def _judge(self, evaluation: Evaluation, steppers: Sequence[Stepper]) -> None:
        rule = self.work.training.early_stopping
        if rule is None:
            return
        if rule.metric not in evaluation.metrics:
            known = ", ".join(sorted(evaluation.metrics))
            raise SensoriumError(
                f"Early stopping looks for the metric {rule.metric!r}, which there is not.", f"Known: {known}."
            )
        value = evaluation.metrics[rule.metric]
        best = self.position.best
        better = best is None or (value > best if rule.mode == "max" else value < best)
        if better and not math.isnan(value):
            self.position.best, self.position.best_step, self.position.worse = value, self.position.step, 0
            self._save(steppers)
        else:
            self.position.worse += 1

    def _stopped(self) -> bool:
        rule = self.work.training.early_stopping
        return rule is not None and self.position.worse >= rule.patience

    def _save(self, steppers: Sequence[Stepper]) -> None:
        """Begins a checkpoint of the present state, once the one before it is on storage."""
        state = dict(vars(self.position))
        if state == self._state:
            return
        self.watch.check()
        with self.clock.paused():
            self._finish_save()
            with self._averaged():
                tensors, scalars = states.optimizer_state(list(steppers))
                if self.average is not None:
                    tensors |= self.average.state()
                if self.chosen is not None:
                    tensors[CHOSEN] = self.chosen
                model = states.weights(self.work.task, self._given)
                base = {"base": self.work.base} if self.work.base else {}
                if workers.rank() == 0:
                    self.hook.sensorium_checkpoint_begun(run=self.run, step=self.position.step)
                    self.store.save(
                        self.position.step,
                        {"model": model, "optimizer": tensors},
                        {**self.work.documents, **base, "state": state, "optimizer": scalars},
                        self.position.best_step,
                    )
            self._state, self._saving = state, self.position.step
            self.notice.due = False

    def _finish_save(self) -> None:
        """Waits for the save under way; all workers get here at the same step."""
        if self._saving is None:
            return
        step, self._saving = self._saving, None
        self._last = step
        if workers.rank() == 0:
            self.store.wait()
            self._announce()
        workers.barrier()
        self.saved(step)

    def _announce(self) -> None:
        done = self.store.written()
        if done is not None:
            self.hook.sensorium_checkpoint_saved(run=self.run, checkpoint=done[0], step=done[1])

    def _result(self) -> str:
        """Returns where the result lies: the best checkpoint, whose weights are put back, or the last one."""
        best = self.position.best_step if self.work.training.early_stopping else None
        if best is not None:
            found = self.store.get(best, ["model.safetensors"])
            states.load_weights(self.work.task, found.tensors("model"), found.uri, self._given)
            return found.uri
        return "" if self._last is None else self.store.place(self._last)
