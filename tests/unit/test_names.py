"""Names from users' data: a column may be called anything, and is called so to the end. A new name is a line."""

import asyncio
import csv
import json
from types import SimpleNamespace

import httpx
import pytest
import torch
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name
from starlette.datastructures import Headers
from torch import nn

from sensorium import NamedModules, Run
from sensorium.assembly.build import assemble, load_model
from sensorium.assembly.loading import load
from sensorium.experiment import keypath
from sensorium.experiment.overrides import override
from sensorium.inference.predictor import Predictor
from sensorium.plugins import Plugins
from sensorium.serving.question import _form
from sensorium.serving.settings import Limits
from sensorium.tracking.keys import key
from sensorium.tracking.records import flat
from sensorium.training.execution import execute

NAMES = (
    "type",
    "keys",
    "forward",
    "training",
    "label.v2",
    "a/b",
    "a//b/..",
    ".",
    "image (front)",
    "größe",
    "日本",
    " ",
    "100%",
    "%type",
    "a%2Eb",
    "a=b",
    'the "best"',
    "$x_$",
    "0",
    "x" * 300,
)
INSTALLED = Plugins()


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def table(folder, rows):
    """Writes a CSV file and returns its path."""
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(rows)
    return f"{folder}/rows.csv"


def recognition(folder, label):
    """Returns a small task that reads words and tells a label, with options as on a command line."""
    path = table(
        folder, [["words", label], *([f"it is {word} {n}", word] for n in range(4) for word in ("cat", "dog"))]
    )
    column = keypath.quoted(label)
    return assemble(
        load(
            "recognition",
            [
                f"dataset={{name: manifest, train: {path}, test: {path}, fields: {{}}}}",
                "dataset.fields.words=text",
                f"dataset.fields.{column}=label",
                "modalities={}",
                "modalities.words={name: text, tokenizer: words}",
                f"modalities.{column}.name=label",
                "model={encoder: {name: rnn, dim: 4}, metrics: [accuracy]}",
                "model.input=words",
                f"model.targets={json.dumps([label])}",
                "training={epochs: 1, global_batch: 4}",
                "run.threads=0",
            ],
            INSTALLED,
        )
    )


def test_a_label_of_any_name_is_learnt_measured_and_told(tmp_path, name):
    assembly = recognition(tmp_path, name)
    outcome = execute(assembly, Run("run", str(tmp_path / "run"), assembly.loaded.plain(), 0))
    assert list(outcome.metrics) == [f"{name}_accuracy"]
    assert outcome.examples[0].startswith(f"0: {name} ")
    model = load_model(outcome.model)
    answer = Predictor(model).ask(["words=it is cat"])
    assert sorted(answer[name]) == ["cat", "dog"]
    for place, tensor in assembly.task.state_dict().items():
        assert torch.equal(model.task.state_dict()[place], tensor)


def test_a_dictionary_of_modules_gives_the_name_back(name):
    modules = NamedModules({name: nn.Linear(1, 2), "other": nn.Linear(2, 1)})
    assert list(modules) == list(modules.keys()) == [each for each, _ in modules.items()] == [name, "other"]
    assert name in modules
    assert modules[name].out_features == 2
    again = NamedModules({name: nn.Linear(1, 2), "other": nn.Linear(2, 1)})
    again.load_state_dict(modules.state_dict())
    assert torch.equal(again[name].weight, modules[name].weight)
    inner = next(each for each, _ in modules.named_modules() if each not in ("", "other"))
    assert modules.get_submodule(inner) is modules[name]


def test_names_of_modules_are_distinct_and_those_that_torch_takes_stay():
    modules = NamedModules({name: nn.Identity() for name in NAMES})
    assert list(modules) == list(NAMES)
    assert [place for place, _ in nn.Module.named_children(modules)][5] == "a/b"
    assert set(NamedModules({"label": nn.Linear(1, 1)}).state_dict()) == {"label.weight", "label.bias"}


@pytest.mark.parametrize("text", ["label.weight", "image (front)", "a/b", "train/main/accuracy"])
def test_names_that_mlflow_takes_stay_or_differ_by_their_end(text):
    assert key(text).startswith(text.split(" (")[0])


def test_mlflow_takes_a_key_for_each_name_and_no_two_are_one(name):
    for check in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        check(key(name))
        check(key(f"test/{name}"))
        check(key(next(iter(flat({"modalities": {name: {"name": "label"}}})))))
    assert len({key(each) for each in NAMES}) == len(NAMES)


def test_an_override_reaches_a_key_of_any_name(name):
    given = {"modalities": {name: {"name": "label", "most": 3}}}
    changed = override(given, [f"modalities.{keypath.quoted(name)}.most=4"])
    assert changed == {"modalities": {name: {"name": "label", "most": 4}}}
    assert keypath.split(keypath.join(["modalities", name, "most"])) == ["modalities", name, "most"]


def test_an_input_of_any_name_is_given_on_the_command_line(name):
    given = name if "=" not in name and not name.startswith('"') else keypath.quoted(name)
    assert keypath.named(f"{given}=a=b.c") == (name, "a=b.c")


def test_a_form_gives_an_input_of_any_name(name):
    request = httpx.Request("POST", "http://x", files={name: (None, "words")})
    text = SimpleNamespace(accepts=(), schema={"type": "string"})
    found = asyncio.run(_form(Headers(dict(request.headers)), request.read(), {name: text}, Limits()))
    assert found == {name: "words"}
