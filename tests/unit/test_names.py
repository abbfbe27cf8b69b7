"""Names from users' data: a column may be called anything, and is called so to the end. A new name is a line."""

import asyncio
import csv
import json
import re
from types import SimpleNamespace

import httpx
import pytest
import torch
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name
from starlette.datastructures import Headers
from torch import nn

from sensorium import NamedModules, Run, UserError
from sensorium.assembly.build import assemble, load_model
from sensorium.assembly.checks import OWN
from sensorium.assembly.loading import load
from sensorium.experiment import keypath
from sensorium.experiment.overrides import override
from sensorium.inference.predictor import Predictor
from sensorium.plugins import Plugins
from sensorium.serving.question import _form
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits
from sensorium.tracking.keys import key
from sensorium.tracking.records import flat
from sensorium.training.execution import execute
from sensorium_captioning.task import _references

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
    "line\nend",
    "line\r\nend",
    "a%22b",
    "a%0D%0Ab",
    "a\\\\b",
    "a; name=b",
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


def browser(name):
    """Returns a name as HTML has it in forms, in which each line end is CRLF."""
    lines = "\r\n".join(re.split("\r\n|\r|\n", name))
    return lines.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def curl(name):
    """Returns a name as curl has it in forms."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def form(name, inputs, encoded):
    """Returns what is found in a form with one field of that name, as it is encoded."""
    body = f'--x\r\nContent-Disposition: form-data; name="{encoded(name)}"\r\n\r\nwords\r\n--x--\r\n'.encode()
    text = SimpleNamespace(accepts=(), schema={"type": "string"})
    headers = Headers({"content-type": "multipart/form-data; boundary=x"})
    return asyncio.run(_form(headers, body, dict.fromkeys(inputs, text), Limits()))


@pytest.mark.parametrize("encoded", [browser, curl])
def test_a_form_gives_an_input_of_any_name(name, encoded):
    assert form(name, [name, "other"], encoded) == {name: "words"}


def test_httpx_gives_an_input_of_any_name(name):
    request = httpx.Request("POST", "http://x", files={name: (None, "words")})
    text = SimpleNamespace(accepts=(), schema={"type": "string"})
    found = asyncio.run(_form(Headers(dict(request.headers)), request.read(), {name: text}, Limits()))
    assert found == {name: "words"}


@pytest.mark.parametrize("pair", [('a"b', "a%22b"), ("a\nb", "a\r\nb"), ("a\nb", "a%0D%0Ab")])
def test_names_that_a_form_cannot_tell_apart_are_refused(pair):
    with pytest.raises(Refusal, match="may be any of") as caught:
        form(pair[0], pair, browser)
    assert "Send JSON" in str(caught.value)


CLIP = "{name: clip, encoders: {%s: convnet, %s: rnn}, fusion: projection, loss: infonce}"


@pytest.mark.parametrize(
    ("task", "kinds", "model", "told"),
    [
        ("clip", {"image": "image", "plus": "text"}, CLIP % ("image", "plus"), "'plus' has the name of one of"),
        ("clip", {"minus": "image", "text": "text"}, CLIP % ("minus", "text"), "'minus' has the name of one of"),
        (
            "clip",
            {"image": "image", "text": "text", "tags": "label"},
            CLIP.replace("loss", "tags: [a], loss") % ("image", "text"),
            "'tags' has the name of one of the task's own outputs",
        ),
        (
            "clip",
            {"image": "image", "text": "text", "image_embedding": "label"},
            CLIP % ("image", "text"),
            "'image_embedding' has the name of one of the task's own outputs",
        ),
        (
            "text2image",
            {"image": "image", "seed": "text"},
            "{sentence: seed, judge: null, clip: " + CLIP % ("image", "seed") + "}",
            "'seed' has the name of one of the task's own inputs",
        ),
        (
            "dalle2",
            {"image": "image", "other": "text"},
            "{sentence: other, judge: null, clip: " + CLIP % ("image", "other") + "}",
            "'other' has the name of one of the task's own inputs",
        ),
        (
            "dalle2",
            {"share": "image", "caption": "text"},
            "{image: share, judge: null, clip: " + CLIP % ("share", "caption") + "}",
            "'share' has the name of one of the task's own inputs",
        ),
    ],
)
def test_a_field_called_as_something_of_the_tasks_own_is_told(task, kinds, model, told):
    made = {"image": "{name: image, size: 12, channels: 1}", "text": "{name: text}", "label": "label"}
    fields = ", ".join(f"{field}: {made[kind]}" for field, kind in kinds.items())
    loaded = load(task, [f"modalities={{{fields}}}", f"model={model.replace('name: clip, ', '', task == 'clip')}"])
    modalities = {field: config.build() for field, config in loaded.experiment.modalities.items()}
    for modality in modalities.values():
        if modality.learns:
            modality.fit(["a", "b"])
    with pytest.raises(UserError) as caught:
        loaded.experiment.model.build(modalities)
    assert told in str(caught.value)
    assert "Rename the field" in str(caught.value)


@pytest.mark.parametrize("label", OWN)
def test_a_label_called_as_a_column_of_answers_is_told_before_the_training(tmp_path, label):
    with pytest.raises((UserError, ValueError)) as caught:
        recognition(tmp_path, label)
    assert label in str(caught.value)


def test_a_text_called_captions_is_no_list_of_them():
    assert _references({"captions": "a cat", "id": "1"}, "captions") == ["a cat"]
    assert _references({"captions": ["a cat", "a tom"], "text": "a cat"}, "text") == ["a cat", "a tom"]
