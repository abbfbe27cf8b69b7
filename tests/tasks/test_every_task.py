"""What every task owes: the same losses on two workers, an undisturbed end after a kill, and an answer over HTTP."""

from __future__ import annotations

import base64
import copy
import inspect
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import soundfile
import torch
import torch.distributed as dist
from answered import ROWS_SAY, question
from shortened import HELD, shortened, tasks
from torch import nn

from drawn_once import drawn_once
from elsewhere import DEVICE, elsewhere
from gloo import together
from sensorium import hookimpl
from sensorium.assembly.build import open_split
from sensorium.engine.evaluation import gather
from sensorium.engine.loader import Loader
from sensorium.engine.step import Stepper
from sensorium.inference.predictor import Predictor
from sensorium.inference.traced import difference, trace
from sensorium.serving.application import application
from sensorium.serving.served import Local, load
from sensorium.serving.settings import Limits
from training import Trained, train
from visits import running

pytestmark = [pytest.mark.learn, pytest.mark.timeout(900)]
STEPS = 8


class KilledError(Exception):
    """Ends a training in the middle."""


class Killer:
    """Raises after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def sensorium_step_finished(self, step: Any) -> None:
        if step.number == self.step:
            raise KilledError


class Watch:
    """Keeps the losses of each step and the objects that had been sent by then, and ends the training after a step."""

    def __init__(self, last: int) -> None:
        self.losses: list[dict[str, float]] = []
        self.sent, self.after, self.killer = 0, [], Killer(last)
        for name in ("all_gather_object", "broadcast_object_list"):
            setattr(dist, name, partial(self._send, getattr(dist, name)))

    def _send(self, send: Any, *args: Any, **options: Any) -> None:
        self.sent += 1
        send(*args, **options)

    @hookimpl
    def sensorium_step_finished(self, step: Any) -> None:
        self.after.append(self.sent)
        self.losses.append({name: float(value) for name, value in step.losses.items()})
        self.killer.sensorium_step_finished(step)


def losses(task: str, folder: str, options: list[str], learnt: Any, last: int) -> list[dict[str, float]]:
    """Returns the losses of each step of a training up to the last one, the means over the global batch."""
    watch = Watch(last)
    with pytest.raises(KilledError):  # the measurement after it is compared nowhere
        train(task, folder, *options, events=lambda assembly: watch, learnt=learnt)
    assert len(set(watch.after)) == 1, "between steps objects were sent, which are pickled: tensors are to be"
    return watch.losses


@pytest.fixture(scope="module", params=tasks())
def trained(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str], Trained]]:
    """A task, how it was shortened, and its training on one worker."""
    torch.set_num_threads(1)
    with drawn_once():
        options = shortened(request.param, STEPS, "training.checkpoints.steps=3")
        yield request.param, options, train(request.param, tmp_path_factory.mktemp("one") / "run", *options)


def test_two_workers_have_the_losses_of_one(trained: Any, tmp_path: Path) -> None:
    task, options, one = trained
    alone = [{name: float(value) for name, value in step.losses.items()} for step in one.steps]
    assert len(alone) >= STEPS - 4
    learnt, last = one.assembly.learnt(), one.steps[-1].number
    for found in together(
        2, losses, task, str(tmp_path / "two"), [*options, "run.workers=2"], learnt, last, seconds=600
    ):
        assert [set(step) for step in found] == [set(step) for step in alone]
        for number, (one_step, other) in enumerate(zip(alone, found, strict=True)):
            for name, value in one_step.items():
                assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-5), (number, name)


def test_a_killed_training_ends_as_an_undisturbed_one(trained: Any, tmp_path: Path) -> None:
    task, options, whole = trained
    place, bare = tmp_path / "run", ("evaluation.contributions=false", "evaluation.plots=false")
    with pytest.raises(KilledError):
        train(task, place, *options, *bare, events=lambda assembly: Killer(len(whole.steps) - 3))
    again = train(task, place, *options, *bare)
    assert 0 < len(again.steps) < len(whole.steps)
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, again.weights()[name]), name
    measured = {name: value for name, value in whole.outcome.metrics.items() if "contribution." not in name}
    assert again.outcome.metrics == pytest.approx(measured, nan_ok=True)


def test_the_contribution_of_each_input_is_reported(trained: Any) -> None:
    _, _, whole = trained
    read = [name for name in whole.assembly.task.inputs if name in whole.assembly.modalities]
    told = {name.split(".")[1] for name in whole.outcome.metrics if name.startswith("contribution.")}
    assert told == (set(read) if len(whole.assembly.task.inputs) > 1 else set())


@torch.no_grad()
def test_what_an_evaluation_shows_comes_from_its_rows(trained: Any) -> None:
    """One worker alone draws: of weights it may hold a shard, which it cannot compute with."""
    task, splits = copy.deepcopy(trained[2].assembly.task).eval(), trained[2].assembly.splits
    split = splits[measured(trained[2])]
    with Loader(split, trained[2].assembly.modalities, 0) as loader:
        rows = gather(task, loader, torch.device("cpu"), 16)
    for module in task.modules():
        for name, weights in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(weights.to("meta"), requires_grad=False))
    found = task.metrics(rows)
    assert {name for name in found if found[name] == found[name]} <= set(trained[2].outcome.metrics)
    assert all(png.startswith(b"\x89PNG") for png in task.plots(rows, split).values())
    assert all(isinstance(sentence, str) for sentence in task.examples(rows, split))


@torch.no_grad()
def test_predict_gives_what_was_evaluated(trained: Any) -> None:
    name, _, whole = trained
    task = whole.assembly.task.eval()
    samples, modalities = whole.assembly.splits[measured(whole)], whole.assembly.modalities
    with Loader(samples, modalities, 0) as loader:
        rows = gather(task, loader, torch.device("cpu"), 16)
        batches = list(loader.stream([(None, list(range(start, start + 4))) for start in (0, 4)]))
    for number, batch in enumerate(batches):
        of_batch = {key: value[4 * number : 4 * number + 4] for key, value in rows.items()}
        ROWS_SAY[name](task, of_batch, task.predict(question(task, name, batch)), batch)


def measured(whole: Trained) -> str:
    """Returns the split that a training measured."""
    return whole.assembly.loaded.experiment.evaluation.finally_on[0]


def test_gradients_reach_every_parameter(trained: Any) -> None:
    """Of each objective, those that it updates, over a few batches of the split that it learns from."""
    _, _, whole = trained
    task = whole.assembly.task
    for stage in task.stages():
        split = whole.assembly.splits[whole.assembly.loaded.experiment.training.plan(stage.name).split]
        for objective in stage.objectives:
            task.requires_grad_(False).eval()
            task.zero_grad()
            parts = [(part, task.get_submodule(part)) for part in objective.updates]
            for _, module in parts:
                module.train().requires_grad_(True)
            with Loader(split, whole.assembly.modalities, 0) as loader:
                for seed, batch in enumerate(
                    loader.stream([(1, list(range(start, start + 8))) for start in (0, 8, 16)])
                ):
                    seeded = replace(batch, seed=seed + 1)
                    terms = objective.losses(objective.forward(seeded), seeded)
                    sum(term.mean() for term in terms.values()).backward()
            unreached = [
                f"{part}.{name}"
                for part, module in parts
                for name, parameter in module.named_parameters()
                if parameter.grad is None or not parameter.grad.any()
            ]
            assert unreached == [], (stage.name, objective.name)
    task.requires_grad_(True)


WAITS = {
    "tagging": "how many pairs there are of a picture and a tag that it has",
    "image2speech": "how many units its codebook hears in a sound",
}
"""Task -> what it has the host wait for at a step, as the device alone knows it."""


def test_a_step_has_the_host_wait_for_nothing(trained: Any) -> None:
    """Neither for a number of the device's nor for a size; and no operator meets tensors of two devices."""
    name, _, whole = trained
    task = whole.assembly.task
    task.requires_grad_(True)
    for stage in task.stages():
        split = whole.assembly.splits[whole.assembly.loaded.experiment.training.plan(stage.name).split]
        with Loader(split, whole.assembly.modalities, 0) as loader:
            (batch,) = loader.stream([(1, list(range(8)))])
        for objective in stage.objectives:
            with elsewhere() as watch:
                there = replace(batch, seed=1).to(DEVICE)
                for tensor in (*task.parameters(), *task.buffers()):
                    watch.put(tensor)
                outputs = objective.forward(there)
                terms = objective.losses(outputs, there)
                sum(term.mean() for term in terms.values()).backward()
                if objective.adjust is not None:
                    with torch.no_grad():
                        objective.adjust(outputs, there)
            task.zero_grad()
            assert watch.faults == [] or name in WAITS, (stage.name, objective.name)


def test_half_precision_has_about_the_same_losses(trained: Any) -> None:
    """Each objective takes a step in bf16, its gradients adjusted too."""
    _, _, whole = trained
    losses: dict[str, dict[str, float]] = {"fp32": {}, "bf16": {}}
    for precision, found in losses.items():
        settings = replace(whole.assembly.loaded.experiment.training, precision=precision)
        task = copy.deepcopy(whole.assembly.task).requires_grad_(True).eval()
        for stage in task.stages():
            plan = settings.plan(stage.name)
            with Loader(whole.assembly.splits[plan.split], whole.assembly.modalities, 0) as loader:
                (batch,) = loader.stream([(1, list(range(8)))])
            for objective in stage.objectives:
                stepper = Stepper(task, objective, settings, plan.optimizer, torch.device("cpu"))
                found |= {name: float(value.mean()) for name, value in stepper.gradients(batch, 8, 0).items()}
                stepper.update(0.0)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1, abs=0.02)


IN_PART = {"image2speech", "imagebind", "lips", "localization", "separation"}
"""Tasks that export less than `predict` does, as their README says."""


def briefly(task: Any) -> Any:
    """Returns a task that draws in two steps, each of which its graph holds."""
    for module in task.modules():
        config = getattr(module, "config", None)
        parts = {name: getattr(config, name, None) for name in ("prior", "decoder")}
        fewer = {name: replace(part, sampled=2) for name, part in parts.items() if hasattr(part, "sampled")}
        if fewer:
            module.config = replace(config, **fewer)
    return task


def test_what_it_exports_computes_the_same(trained: Any) -> None:
    """As a graph, of one sample as of several; and whoever exports a part says so."""
    name, _, whole = trained
    task = briefly(copy.deepcopy(whole.assembly.task)).requires_grad_(False).eval()
    parts = task.exported()
    assert parts
    outputs = set()
    for exported in parts.values():
        traced = trace(task, exported)
        outputs |= set(traced.outputs)
        for count in (1, 4):
            assert difference(traced, count) < 1e-4, count
    readme = Path(inspect.getfile(type(task))).with_name("README.md").read_text(encoding="utf-8")
    assert (name in IN_PART) == (outputs != set(task.outputs)) == ("`sensorium export`" in readme)


def test_it_is_asked_over_http_and_on_its_page_with_a_real_file(
    trained: Any, browser: Any, artefacts: Path, tmp_path: Path
) -> None:
    task, _, whole = trained
    predictor = Predictor.load(whole.outcome.model)
    question = real_question(predictor, measured(whole))
    (right,) = predictor([question])
    right = json.loads(json.dumps(as_json(right)))
    local = Local(load(whole.outcome.model, task, Limits(), 2))
    with running(application({task: local})) as url:
        answer = httpx.post(f"{url}/models/{task}/predict", json=as_json(question), timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.json() == right
        page = browser.new_page()
        page.goto(f"{url}/models/{task}/page")
        for place, (name, value) in enumerate(question.items()):
            part = page.locator(f"[data-input='{name}']")
            if isinstance(value, bytes):
                path = tmp_path / str(place)
                path.write_bytes(value)
                part.locator("input[type=file]").set_input_files(path)
            else:
                text = value if isinstance(value, str) else json.dumps(value)
                part.locator("textarea, input[type=text]").fill(text)
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("[data-output]").first.wait_for(timeout=60_000)
        page.screenshot(path=artefacts / f"page-{task}.png", full_page=True)
        assert {name: shown(page.locator(f"[data-output='{name}']"), value) for name, value in right.items()} == right
        page.close()


def shown(part: Any, right: Any) -> Any:
    """Returns the value that a page shows of an output; of media what the player holds, of curves what is saved."""
    if part.locator(".bar").count():
        bars = part.locator(".bar").all()
        return {
            bar.locator("span").first.text_content(): float(bar.locator("span").nth(1).get_attribute("title"))
            for bar in bars
        }
    if part.locator("[src^='data:']").count():
        return part.locator("[src^='data:']").first.get_attribute("src").partition("base64,")[2]
    if part.locator("canvas.curves").count():
        return unquote(part.locator("[href^='data:text/csv,']").get_attribute("href").partition(",")[2])
    text = part.locator("p, pre").first.text_content()
    return text if isinstance(right, str) else json.loads(text)


def real_question(predictor: Predictor, split: str) -> dict[str, Any]:
    """Returns the required inputs as a sample of a split has them, media as files."""
    model = predictor.model
    task = model.task
    names = [name for name in task.inputs if name not in task.optional and name in model.modalities]
    names = names or [name for name in task.inputs if name in model.modalities][:1]
    sample = open_split(model.loaded, model.modalities, split)[HELD // 2]
    question = {}
    for name in names:
        question[name] = file(task.inputs[name], sample[name]) if task.inputs[name].accepts else sample[name]
    return question


def file(modality: Any, raw: Any) -> bytes:
    """Returns a value as a file."""
    if "audio/wav" in modality.accepts:  # what a spectrogram's modality encodes is a picture
        buffer = io.BytesIO()
        soundfile.write(buffer, *raw, format="WAV", subtype="FLOAT")
        return buffer.getvalue()
    made = modality.encode(modality.transform(modality.decode(raw), None))
    return made.encode() if isinstance(made, str) else made


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values with bytes as base64."""
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in values.items()
    }
