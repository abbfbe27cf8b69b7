"""Checks of a task with its default experiment: it learns from the right pairs, on two workers as on one.

Shapes: B samples, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sensorium.assembly.build import assemble, build_task
from sensorium.conformance import declared, modules
from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.learning import STEPS, Trial, assembled, loaded_with
from sensorium.conformance.processes import difference, on_two_workers
from sensorium.conformance.serving import serves_what_it_predicts
from sensorium.contracts import workers
from sensorium.contracts.data import Batch, Padded, check_rows, map_tensors
from sensorium.contracts.dataset import Split, sources_of
from sensorium.contracts.reading import batch_of
from sensorium.contracts.run import Evaluation
from sensorium.contracts.task import Objective, Stage, Task, learning_from
from sensorium.engine.evaluation import rows_of
from sensorium.engine.settings import Optimizer, Training
from sensorium.engine.step import Stepper, parameters_of, total
from sensorium.errors import SensoriumError
from sensorium.inference.predictor import Predictor
from sensorium.inference.traced import difference as difference_of
from sensorium.inference.traced import trace
from sensorium.plugins import Plugins

MARGIN = 1 / 3
"""Least lead over the ablation, as a share of the larger metric: half as good again, which is more than a few
held-out samples and another seed bring about by chance."""
DRAWS = 10
"""Passes that a parameter has to get a gradient in."""
GLOBAL = 8
"""Samples of the batch that one worker and two take a step with."""
TURNS = 4
"""Steps, each of a fresh model, that are compared where gradients are adjusted: a choice may be the same by chance."""
HALF = 0.1
"""Largest difference of a loss in bf16, relative to its value or, for small ones, to 1/10."""
TOLERANCE = 1e-4
"""Largest difference of a step between numbers of workers, relative to the largest change of a weight."""


class Subject:
    """A task, its data and its default experiment."""

    def __init__(self, component: type[Task], plugins: Plugins) -> None:
        self.name, self.plugins = plugins.name_of(component), plugins
        self.assembly = assembled(self.name, plugins)
        self.search = self.assembly.loaded.experiment.search
        self.model = ""
        self.trial = Trial(self.assembly, self.name, plugins)
        self._read: dict[tuple[str, tuple[int, ...]], list[Batch]] = {}

    def fresh(self) -> Task:
        """Returns the task with its initial weights."""
        return build_task(self.assembly.loaded, self.assembly.modalities)

    def batches(self, split: str, places: Sequence[int] = range(modules.COUNT)) -> list[Batch]:
        """Returns a batch of each source of a split."""
        key = (split, tuple(places))
        if key not in self._read:
            self._read[key] = list(batches_of(self.assembly.splits[split], self.assembly.modalities, places))
        return self._read[key]

    def learnt_from(self, stage: Stage) -> list[Batch]:
        """Returns a batch of each source that a stage learns from."""
        return self.batches(self.assembly.loaded.experiment.training.plan(stage.name).split)

    def measured(self, places: Sequence[int] = range(modules.COUNT)) -> list[Batch]:
        """Returns a batch of each split that is evaluated."""
        return [
            batch
            for name in self.assembly.loaded.experiment.evaluation.finally_on
            for batch in self.batches(name, places)
        ]

    def module(self) -> modules.Subject:
        """Returns its forward pass, on what is evaluated, as a module like any other."""

        def call(task: nn.Module, rows: Sequence[int]) -> modules.Rows:
            together = [rows] if self.assembly.task.batches else [[row] for row in rows]
            return [row for places in together for row in _outputs(task, self.measured(places))]

        return modules.Subject(self.fresh, call, self._learn_without_gradients)

    def _learn_without_gradients(self, task: Any) -> None:
        for stage in task.stages():
            if stage.prepare is not None:
                with torch.no_grad():
                    stage.prepare(iter(self.learnt_from(stage)))
        if type(task).evaluated is not Task.evaluated:
            rows = rows_of(task.eval(), self.measured()[0])
            task.evaluated(Evaluation(0, "test", task.metrics({"id": self.measured()[0].ids, **rows})))


def batches_of(split: Split, modalities: Any, places: Sequence[int]) -> Iterator[Batch]:
    """Yields a batch of each source of a split; where it has fewer samples than that, they come again."""
    for source in sources_of(split):
        yield batch_of(split, source, modalities, [place % len(source.indices) for place in places])


def _outputs(task: nn.Module, batches: Sequence[Batch]) -> modules.Rows:
    """Returns what comes out of each sample, of all batches together, without padding."""
    rows: modules.Rows = [{} for _ in batches[0].ids]
    for batch in batches:
        outputs = _leaves(task(batch))
        for place, row in enumerate(rows):
            for number, value in enumerate(outputs):
                name = f"{batch.source} output {number}".lstrip()
                row[name] = _real(value, place) if isinstance(value, Padded) else value[place]
    return rows


def _leaves(tree: Any) -> list[Tensor | Padded]:
    """Returns the tensors of a structure, and what is padded with its mask."""
    if isinstance(tree, (Tensor, Padded)):
        return [tree]
    if isinstance(tree, Mapping):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in _leaves(value)]
    found: list[Tensor | Padded] = []
    map_tensors(tree, found.append)
    return found


def _real(value: Padded, place: int) -> Tensor:
    data, mask = value.data[place], value.mask[place]
    return data[mask] if len(data) == len(mask) else data[..., mask]


def has_b_first(subject: Subject) -> str:
    """Checks outputs, terms of losses and rows: B comes first in every tensor, or a list has B items."""
    task = subject.fresh().eval()
    with torch.no_grad():
        for stage in task.stages():
            for batch in subject.learnt_from(stage):
                for objective in learning_from(stage, batch.source):
                    outputs = objective.forward(batch)
                    check_rows(f"What `forward` of the objective {objective.name!r} returns", outputs, len(batch))
                    for name, value in objective.losses(outputs, batch).items():
                        if value.shape not in ((), (len(batch),)):
                            raise ContractError(
                                f"The term {name!r} has the shape {tuple(value.shape)}, not ({len(batch)},) or a mean."
                            )
        rows = [rows_of(task, batch) for batch in subject.measured()]
    return f"rows {', '.join(dict.fromkeys(name for each in rows for name in each))}"


def gradients_reach_every_parameter(subject: Subject) -> str:
    """Checks that each part is trained by some objective, and each of its parameters by its losses."""
    task = subject.fresh()
    named = {part for stage in task.stages() for objective in stage.objectives for part in objective.updates}
    modules.nudge(task.parameters())
    count, idle = 0, []
    for stage in task.stages():
        for objective in stage.objectives:
            task.zero_grad()
            own = parameters_of(task.requires_grad_(False).train(), objective)
            for parameter in own.values():
                parameter.requires_grad_(True)
            read = [batch for batch in subject.learnt_from(stage) if objective in learning_from(stage, batch.source)]
            idle += _unreached(objective, own, read)
            count += len(own)
    if idle:
        raise ContractError(f"No gradient reaches {', '.join(idle)}.")
    outer = {name.partition(".")[0] for name in named}
    untrained = sorted({name for name, part in task.named_children() if any(True for _ in part.parameters())} - outer)
    return f"{count} parameters" + (f"; frozen in every stage: {', '.join(untrained)}" if untrained else "")


def _unreached(objective: Objective, own: Mapping[str, nn.Parameter], batches: Sequence[Batch]) -> list[str]:
    """Returns the parameters without gradient after a few draws; what stands for nothing is used by chance."""
    idle = list(own)
    for seed in range(DRAWS):
        for batch in batches:
            drawn = replace(batch, seed=seed)
            total(objective.losses(objective.forward(drawn), drawn)).backward()
        idle = [name for name, value in own.items() if value.grad is None or not value.grad.any()]
        if not idle:
            break
    return idle


def workers_change_nothing(subject: Subject) -> str:
    """Checks one step of every objective on two workers against one, without dropout."""
    if not subject.assembly.task.stages():
        raise InapplicableError("Nothing is trained.")
    argument = {"name": subject.name, "modules": subject.plugins.modules, "learnt": subject.assembly.learnt()}
    alone, together = step(argument), on_two_workers(f"{__name__}:step", argument)
    far = difference(alone, together)
    if not far <= TOLERANCE:
        raise ContractError(f"A step on two workers differs by {far:.1e} of its largest change.")
    return f"a step on two workers as on one, within {far:.0e}"


def step(argument: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns what each stage prepares, the change of each part's weights, and the losses, by one step.

    Called in each worker.
    """
    loaded = loaded_with(argument["name"], Plugins(tuple(argument["modules"])))
    assembly = assemble(loaded, argument["learnt"])
    answer: dict[str, Tensor] = {}

    def mine(stage: Stage, turn: int) -> list[Batch]:
        places = range(turn * GLOBAL, (turn + 1) * GLOBAL)[workers.rank() :: workers.size()]
        split = assembly.splits[loaded.experiment.training.plan(stage.name).split]
        return list(batches_of(split, assembly.modalities, places))

    for stage in assembly.task.stages():
        kept = _prepared(build_task(loaded, assembly.modalities).eval(), stage.name, mine(stage, 0), answer)
        for turn in range(TURNS if any(objective.adjust for objective in stage.objectives) else 1):
            for batch in mine(stage, turn):
                for objective in learning_from(stage, batch.source):
                    task = build_task(loaded, assembly.modalities).eval()  # in evaluation there is no dropout
                    task.load_state_dict(kept)
                    name = f"{stage.name}.{objective.name}.{batch.source}.{turn}"
                    answer |= _stepped(task, stage.name, objective.name, batch, name)
    return answer


def _prepared(task: Task, name: str, batches: list[Batch], answer: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns a task's state after a stage has prepared itself; its buffers and choice are part of the answer."""
    stage = next(each for each in task.stages() if each.name == name)
    if stage.prepare is not None:
        with torch.no_grad():
            ids = stage.prepare(iter(batches))
        given = {name for batch in batches for name in batch.ids}
        strange = sorted(set(given if ids is None else ids) - given)
        if strange:
            raise ContractError(f"`prepare` returns {', '.join(strange[:3])}, which this worker was not given.")
        chosen = torch.tensor([float(len(set(given if ids is None else ids)))])
        answer[f"{name}.chosen"] = workers.add(chosen)
        for key, value in task.named_buffers():
            answer[f"{name}.prepared.{key}"] = value.detach().clone().float().flatten()
    return {key: value.clone() for key, value in task.state_dict().items()}


def _stepped(task: Task, stage: str, objective: str, batch: Batch, name: str) -> dict[str, Tensor]:
    # A rate of 1, so that changes are not lost in the last digits of the weights.
    stepper = _stepper(task, stage, objective, Training(), Optimizer(name="sgd", lr=1.0))
    before = {key: value.detach().clone() for key, value in stepper.parameters.items()}
    terms = stepper.step(batch, GLOBAL, 1.0, seed=0)
    changes = [(value.detach() - before[key]).flatten() for key, value in stepper.parameters.items()]
    losses = {
        f"{name}.{term}": workers.add(value.float().mean()[None] * len(batch) / GLOBAL) for term, value in terms.items()
    }
    return {name: torch.cat(changes), **losses}


def computes_in_half_precision(subject: Subject) -> str:
    """Checks that each loss in bf16 is about what it is in full, without dropout, and that a step follows from it."""
    counted = 0
    for stage in subject.assembly.task.stages():
        for batch in subject.learnt_from(stage):
            for objective in learning_from(stage, batch.source):
                full = _losses(subject, stage.name, objective.name, batch, "fp32")
                try:
                    half = _losses(subject, stage.name, objective.name, batch, "bf16")
                except RuntimeError as cause:
                    said = str(cause).rstrip(".")
                    raise ContractError(f"In bf16 the {objective.name} takes no step: {said}.") from cause
                far = {name: abs(half[name] - value) / max(abs(value), 0.1) for name, value in full.items()}
                wrong = [name for name, difference in far.items() if not difference <= HALF]
                if wrong:
                    told = ", ".join(f"{name} is {half[name]:.3g}, and {full[name]:.3g} in full" for name in wrong)
                    raise ContractError(f"In bf16 {told}.")
                counted += len(full)
    if not counted:
        raise InapplicableError("Nothing is trained.")
    return f"{counted} losses in bf16 as in full, within {HALF:.0%}"


def _losses(
    subject: Subject, stage: str, objective: str, batch: Batch, precision: Literal["fp32", "bf16"]
) -> dict[str, float]:
    """Returns the losses of one objective, whose step is taken too."""
    stepper = _stepper(subject.fresh().eval(), stage, objective, Training(precision=precision), Optimizer(name="sgd"))
    terms = stepper.gradients(batch, len(batch), seed=0)
    stepper.update(1.0)
    return {name: float(value.float().mean()) for name, value in terms.items()}


def beats_its_ablation(subject: Subject) -> str:
    """Checks that a training of seconds does better on held-out samples than one on shuffled pairs."""
    metric, mode = subject.search.metric, subject.search.mode
    trained = subject.trial.train(shuffled=False)
    subject.model, right = trained.model, trained.metrics
    if not subject.assembly.task.stages():
        raise InapplicableError("Nothing is trained.")
    if len(subject.assembly.modalities) == 1:
        raise InapplicableError("It learns from one field alone: there are no pairs to tear apart.")
    if not metric:
        raise ContractError("The default experiment names no metric: add `search: {metric: …, mode: max}`.")
    if metric not in right:
        raise ContractError(f"search.metric is {metric!r}; the evaluation gives {', '.join(sorted(right))}.")
    one, other = right[metric], subject.trial.train(shuffled=True).metrics[metric]
    if not leads(one, other, mode):
        raise ContractError(
            f"{metric} is {one:.3f}, and {other:.3f} with shuffled pairs: a lead of a third of the larger one was"
            f" expected after about {STEPS} steps of each stage. Set training.optimizer.lr, training.epochs or"
            " training.global_batch in `experiment`, lighter data or a smaller model in `probe`, or as search.metric a"
            " metric that tells more."
        )
    return f"{metric} {one:.3f}, with shuffled pairs {other:.3f}"


def leads(right: float, shuffled: float, mode: str) -> bool:
    """Says whether a metric is clearly better than the one with shuffled pairs."""
    lead = right - shuffled if mode == "max" else shuffled - right
    return lead > MARGIN * max(abs(right), abs(shuffled))


def answers_by_its_declared_inputs(subject: Subject) -> str:
    """Checks that the saved model answers made-up inputs, one as several, with the outputs it declares."""
    predictor = Predictor.load(_model(subject))
    task = predictor.model.task
    random = torch.Generator().manual_seed(0)
    names = [name for name in task.inputs if name not in task.optional] or list(task.inputs)
    examples = [{name: task.inputs[name].example(random) for name in names} for _ in range(3)]
    together = predictor(examples)
    for example, answer in zip(examples, together, strict=True):
        if predictor([example])[0].keys() != answer.keys():
            raise ContractError("It answers one example with other outputs than several.")
        for value in answer.values():
            if not isinstance(value, bytes):
                json.dumps(value)
    return f"{', '.join(names)} -> {', '.join(together[0])}"


def is_served(subject: Subject) -> str:
    """Checks that an endpoint answers what `predict` does."""
    return serves_what_it_predicts(_model(subject))


def exports(subject: Subject) -> str:
    """Checks that what the task exports computes the same as a graph, for one sample as for several."""
    task = subject.fresh().eval()
    parts = task.exported()
    if not parts:
        raise InapplicableError("It exports nothing.")
    for name, exported in parts.items():
        try:
            traced = trace(task, exported)
            far = max(difference_of(traced, count) for count in (1, modules.COUNT))
        except (SensoriumError, RuntimeError) as cause:
            raise ContractError(f"The part {name!r}: {cause} Mend it, or leave it out of `exported`.") from cause
        if not far <= TOLERANCE:
            raise ContractError(f"The graph of {name!r} differs by {far:.1e} of the largest value.")
    return ", ".join(parts)


def _model(subject: Subject) -> str:
    if not subject.model:
        raise ContractError("There is no model, because the training failed.")
    return subject.model


def _stepper(task: Task, stage: str, objective: str, settings: Training, optimizer: Optimizer) -> Stepper:
    stages = {each.name: each for each in task.stages()}
    chosen = next(each for each in stages[stage].objectives if each.name == objective)
    return Stepper(task, chosen, settings, optimizer, torch.device("cpu"))


CHECKS = {
    "shapes and masks": lambda subject: modules.rows_stand_alone(subject.module()),
    "rows": has_b_first,
    "encoders": lambda subject: declared.lends_encoders(subject.fresh(), subject.measured()),
    "modalities alone": lambda subject: declared.tells_modalities_alone(subject.fresh(), subject.measured()),
    "gradients": gradients_reach_every_parameter,
    "determinism": lambda subject: modules.follows_the_seed(subject.module()),
    "save and load": lambda subject: modules.survives_saving(subject.module()),
    "two workers": workers_change_nothing,
    "half precision": computes_in_half_precision,
    "answers": lambda subject: declared.answers_what_it_evaluates(subject.fresh(), subject.measured()),
    "learning": beats_its_ablation,
    "predict": answers_by_its_declared_inputs,
    "serve": is_served,
    "export": exports,
}
