"""Checks of a task with its default experiment: it learns from the right pairs, on two workers as on one.

Shapes: B samples.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sensorium.assembly.build import Assembly, assemble, build_task
from sensorium.assembly.loading import load
from sensorium.conformance import modules
from sensorium.conformance.finding import ContractError
from sensorium.conformance.processes import difference, on_two_workers
from sensorium.conformance.serving import serves_what_it_predicts
from sensorium.contracts import workers
from sensorium.contracts.data import Batch, Sample, map_tensors
from sensorium.contracts.dataset import Split, sources_of
from sensorium.contracts.task import Objective, Stage, Task
from sensorium.engine.loader import collate, transform
from sensorium.engine.order import Sources
from sensorium.engine.settings import Optimizer, Plan, Training
from sensorium.engine.step import Stepper, parameters_of, total
from sensorium.inference.predictor import Predictor
from sensorium.plugins import Plugins
from sensorium.training import runs
from sensorium.training.execution import execute

STEPS = 100
"""Optimizer steps of each stage of the training that has to beat its ablation, about; whole epochs are trained."""
MARGIN = 1 / 3
"""Least lead over the ablation, as a share of the larger metric: half as good again, which is more than a few
held-out samples and another seed bring about by chance."""
DRAWS = 10
"""Passes that a parameter has to get a gradient in."""
GLOBAL = 8
"""Samples of the batch that one worker and two take a step with."""
HALF = 0.1
"""Largest difference of a loss in bf16, relative to its value or, for small ones, to 1/10."""
TOLERANCE = 1e-4
"""Largest difference of a step between numbers of workers, relative to the largest change of a weight."""


class Subject:
    """A task, its data and its default experiment."""

    def __init__(self, component: type[Task], plugins: Plugins) -> None:
        self.name, self.plugins = plugins.name_of(component), plugins
        self.assembly = _assembled(self.name, plugins)
        self.search = self.assembly.loaded.experiment.search
        self.batch = _batch(self.assembly, range(modules.COUNT))
        self.exportable = component.exportable
        self.model = ""
        self._folder = tempfile.TemporaryDirectory(prefix="sensorium-")

    def module(self) -> modules.Subject:
        """Returns its forward pass as a module like any other."""

        def call(task: nn.Module, rows: Sequence[int]) -> modules.Rows:
            found: list[Tensor] = []
            map_tensors(task(_batch(self.assembly, rows)), found.append)
            return [{f"output {n}": value[row] for n, value in enumerate(found)} for row in range(len(rows))]

        def tensors(task: nn.Module) -> tuple[nn.Module, tuple[Any, ...]]:
            return modules.flat(_Fields(task, self.batch.samples), self.batch.fields)

        return modules.Subject(
            lambda: self.assembly.loaded.experiment.model.build(self.assembly.modalities),
            call,
            tensors,
            self.exportable,
        )

    def train(self, shuffled: bool) -> Mapping[str, float]:
        """Returns the metrics after a training of seconds, on the right pairs or on shuffled ones."""
        assembly = _assembled(self.name, self.plugins, *self._brief())
        train = assembly.splits["train"]
        if shuffled:
            assembly.splits["train"] = Shuffled(train, sorted(set(assembly.task.inputs) & set(assembly.modalities)))
        run = runs.create(assembly, {})
        outcome = execute(assembly, run)
        if not shuffled:
            self.model = outcome.model
        return outcome.metrics

    def _brief(self) -> list[str]:
        training, probe = self.assembly.loaded.experiment.training, type(self.assembly.task).probe
        return [
            *(f"training.stages.{stage.name}.epochs={self._few(training.plan(stage.name))}" for stage in self._stages),
            f"run.storage={self._folder.name}",
            "evaluation.contributions=false",
            "evaluation.epochs=0",
            *(f"{key}={json.dumps(value)}" for key, value in probe.items()),
        ]

    @property
    def _stages(self) -> Sequence[Stage]:
        return self.assembly.task.stages()

    def _few(self, plan: Plan) -> int:
        steps = Sources(sources_of(self.assembly.splits[plan.split]), plan.global_batch, 0).steps
        return min(plan.epochs, max(1, math.ceil(STEPS / steps)))


class Shuffled:
    """A split of which some fields are dealt out anew: what belongs together is torn apart.

    Args:
        split: The right one.
        fields: What is dealt out.
        together: Whether a sample gets all of them from one other, or each from another.
    """

    def __init__(self, split: Split, fields: Sequence[str], together: bool = False) -> None:
        self.split = split
        random = torch.Generator().manual_seed(0)
        deals = [torch.randperm(len(split), generator=random).tolist() for _ in fields]
        self.places = {name: deals[0] if together else deal for name, deal in zip(fields, deals, strict=True)}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        return {**self.split[index], **{name: self.split[places[index]][name] for name, places in self.places.items()}}


class _Fields(nn.Module):
    """A task's forward pass from field -> tensors."""

    def __init__(self, task: nn.Module, samples: Sequence[Sample]) -> None:
        super().__init__()
        self.task, self.samples = task, samples

    def forward(self, fields: dict[str, Any]) -> Any:
        return self.task(Batch(self.samples, fields))


def gradients_reach_every_parameter(subject: Subject) -> str:
    """Checks that each part is trained by some objective, and each of its parameters by its losses."""
    task = _fresh(subject.assembly)
    outside = [name for name, _ in task.named_parameters(recurse=False)]
    if outside:
        raise ContractError(
            f"{', '.join(outside)} lie on the task itself, where no objective trains them: make them a part."
        )
    named = {part for stage in task.stages() for objective in stage.objectives for part in objective.updates}
    modules.nudge(task.parameters())
    count, idle = 0, []
    for stage in task.stages():
        for objective in stage.objectives:
            task.zero_grad()
            own = parameters_of(task.requires_grad_(False).train(), objective)
            for parameter in own.values():
                parameter.requires_grad_(True)
            idle += _unreached(objective, own, subject.batch)
            count += len(own)
    if idle:
        raise ContractError(f"No gradient reaches {', '.join(idle)}.")
    outer = {name.partition(".")[0] for name in named}
    untrained = sorted({name for name, part in task.named_children() if any(True for _ in part.parameters())} - outer)
    return f"{count} parameters" + (f"; frozen in every stage: {', '.join(untrained)}" if untrained else "")


def _unreached(objective: Objective, own: Mapping[str, nn.Parameter], batch: Batch) -> list[str]:
    """Returns the parameters without gradient after a few draws; what stands for nothing is used by chance."""
    idle: list[str] = []
    for seed in range(DRAWS):
        drawn = replace(batch, seed=seed)
        total(objective.losses(objective.forward(drawn), drawn)).backward()
        idle = [name for name, value in own.items() if value.grad is None or not value.grad.any()]
        if not idle:
            break
    return idle


def workers_change_nothing(subject: Subject) -> str:
    """Checks one step of every objective on two workers against one, without dropout."""
    argument = {"name": subject.name, "modules": subject.plugins.modules, "learnt": subject.assembly.learnt()}
    alone, together = step(argument), on_two_workers(f"{__name__}:step", argument)
    far = difference(alone, together)
    if far > TOLERANCE:
        raise ContractError(f"A step on two workers differs by {far:.1e} of its largest change.")
    return f"a step on two workers as on one, within {far:.0e}"


def step(argument: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the change of each part's weights, and the losses, by one step; called in each worker."""
    loaded = load(argument["name"], (), Plugins(tuple(argument["modules"])))
    assembly = assemble(loaded, argument["learnt"])
    places = range(GLOBAL)[workers.rank() :: workers.size()]
    batch = _batch(assembly, places)
    # A rate of 1, so that changes are not lost in the last digits of the weights.
    settings, plain = Training(), Optimizer(name="sgd", lr=1.0)
    answer: dict[str, Tensor] = {}
    for stage in assembly.task.stages():
        for objective in stage.objectives:
            task = build_task(loaded, assembly.modalities).eval()  # in evaluation there is no dropout
            stepper = _stepper(task, stage.name, objective.name, settings, plain)
            before = {name: value.detach().clone() for name, value in stepper.parameters.items()}
            terms = stepper.step(batch, GLOBAL, 1.0, seed=0)
            changes = [(value.detach() - before[name]).flatten() for name, value in stepper.parameters.items()]
            answer[f"{stage.name}.{objective.name}"] = torch.cat(changes)
            for name, value in terms.items():
                answer[f"{stage.name}.{name}"] = workers.add(value.float().mean()[None] * len(batch) / GLOBAL)
    return answer


def computes_in_half_precision(subject: Subject) -> str:
    """Checks that each loss in bf16 is about what it is in full, without dropout."""
    counted = 0
    for stage in subject.assembly.task.stages():
        for objective in stage.objectives:
            full = _losses(subject, stage.name, objective.name, "fp32")
            try:
                half = _losses(subject, stage.name, objective.name, "bf16")
            except RuntimeError as cause:
                raise ContractError(f"In bf16 the {objective.name} has no loss: {str(cause).rstrip('.')}.") from cause
            far = {name: abs(half[name] - value) / max(abs(value), 0.1) for name, value in full.items()}
            wrong = [name for name, difference in far.items() if not difference <= HALF]
            if wrong:
                told = ", ".join(f"{name} is {half[name]:.3g}, and {full[name]:.3g} in full" for name in wrong)
                raise ContractError(f"In bf16 {told}.")
            counted += len(full)
    return f"{counted} losses in bf16 as in full, within {HALF:.0%}"


def _losses(subject: Subject, stage: str, objective: str, precision: Literal["fp32", "bf16"]) -> dict[str, float]:
    """Returns the losses of one objective, whose gradients are formed too."""
    settings, task = Training(precision=precision), _fresh(subject.assembly).eval()
    stepper = _stepper(task, stage, objective, settings, Optimizer(name="sgd"))
    terms = stepper.gradients(subject.batch, len(subject.batch), seed=0)
    return {name: float(value.float().mean()) for name, value in terms.items()}


def beats_its_ablation(subject: Subject) -> str:
    """Checks that a training of seconds does better on held-out samples than one on shuffled pairs."""
    metric, mode = subject.search.metric, subject.search.mode
    if not metric:
        raise ContractError("The default experiment names no metric: add `search: {metric: …, mode: max}`.")
    right, wrong = (subject.train(shuffled=shuffled) for shuffled in (False, True))
    if metric not in right:
        raise ContractError(f"search.metric is {metric!r}; the evaluation gives {', '.join(sorted(right))}.")
    one, other = right[metric], wrong[metric]
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
    if not subject.model:
        raise ContractError("There is no model, because the training failed.")
    predictor = Predictor.load(subject.model)
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
    if not subject.model:
        raise ContractError("There is no model, because the training failed.")
    return serves_what_it_predicts(subject.model)


def saves_and_loads(subject: Subject) -> str:
    """Checks that the model on disk computes what the one in memory does."""
    return modules.survives_saving(subject.module())


def _fresh(assembly: Assembly) -> Task:
    return build_task(assembly.loaded, assembly.modalities)


def _stepper(task: Task, stage: str, objective: str, settings: Training, optimizer: Optimizer) -> Stepper:
    stages = {each.name: each for each in task.stages()}
    chosen = next(each for each in stages[stage].objectives if each.name == objective)
    return Stepper(task, chosen, settings, optimizer, torch.device("cpu"))


def _assembled(name: str, plugins: Plugins, *overrides: str) -> Assembly:
    whole = "training.steps=null"  # whatever SENSORIUM_STEPS says: a check is as long as it has to be
    return assemble(load(name, [f"plugins={json.dumps(plugins.modules)}", whole, *overrides], plugins))


def _batch(assembly: Assembly, places: Sequence[int]) -> Batch:
    train = assembly.splits["train"]
    samples = [train[place] for place in places]
    return collate([(sample, transform(sample, assembly.modalities)) for sample in samples], assembly.modalities)


CHECKS = {
    "shapes and masks": lambda subject: modules.rows_stand_alone(subject.module()),
    "gradients": gradients_reach_every_parameter,
    "determinism": lambda subject: modules.follows_the_seed(subject.module()),
    "save and load": saves_and_loads,
    "two workers": workers_change_nothing,
    "half precision": computes_in_half_precision,
    "learning": beats_its_ablation,
    "predict": answers_by_its_declared_inputs,
    "serve": is_served,
    "torch.export": lambda subject: modules.exports(subject.module()),
}
