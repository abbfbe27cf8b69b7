"""The JSON Schema: right by itself, says what the reader says, and describes every option."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from documents import experiments
from sensorium.assembly.loading import load
from sensorium.contracts.component import Config
from sensorium.errors import UserError
from sensorium.experiment.reading import check, default_file
from sensorium.experiment.schema import field_docs, schema
from sensorium.experiment.yamls import parse_yaml
from sensorium.plugins import KINDS, Plugins

ROOT = Path(__file__).parents[3]
INSTALLED = Plugins()
SCHEMA = json.loads(json.dumps(schema(INSTALLED)))
VALIDATOR = Draft202012Validator(SCHEMA)
DEFAULTS = {default_file(task, INSTALLED): task for task in INSTALLED.names("task")}


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("task", INSTALLED.names("task"))
def test_default_experiments_fit_written_out(task):
    VALIDATOR.validate(load(task, plugins=INSTALLED).plain())


@pytest.mark.parametrize("path", experiments(), ids=lambda path: path.stem)
def test_files_that_ship_fit_as_they_are(path):
    content = {"task": DEFAULTS.get(path), **parse_yaml(path.read_text(), str(path))}
    extra = tuple(content.get("plugins", ()))
    validator = Draft202012Validator(schema(Plugins(extra))) if extra else VALIDATOR
    validator.validate(content)


@pytest.mark.parametrize("model", [{"weights": "models:/clip/1"}, {"clip": {"weights": "models:/clip/1"}}])
def test_options_of_a_trained_model_may_be_left_out(model):
    plain = load("text2image", plugins=INSTALLED).plain()
    whole = {} if "weights" in model else plain["model"]
    VALIDATOR.validate({**plain, "model": {**whole, **model}})
    assert not VALIDATOR.is_valid({**plain, "model": {"blind": True}})
    assert not VALIDATOR.is_valid({**plain, "model": {**plain["model"], "clip": {"loss": "infonce"}}})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("trainnig",), {}),
        (("training", "epoch"), 3),
        (("training", "epochs"), "3"),
        (("training", "epochs"), None),
        (("training", "optimizer"), []),
        (("task",), "clop"),
        (("dataset",), "digit"),
        (("dataset", "root"), "x"),
        (("modalities", "image", "sizes"), 8),
        (("model", "prompt"), []),
        (("model", "encoders", "image"), "vitt"),
        (("model", "encoders", "image", "heads"), 2),
        (("model", "loss", "name"), "siglipp"),
        (("tracking", "system"), "no"),
        (("run", "workers"), [1, 2, 3]),
    ],
)
def test_schema_and_reader_refuse_the_same(place, value):
    plain = load("clip", plugins=INSTALLED).plain()
    node = plain
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    assert not VALIDATOR.is_valid(plain)
    with pytest.raises(UserError):
        check(plain, INSTALLED)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "loss"), "siglip"),
        (("model", "metrics"), ["accuracy", {"name": "retrieval"}]),
        (("training", "clip_norm"), None),
        (("run", "workers"), [1, 2]),
        (("training", "early_stopping"), {"metric": "x"}),
        (("training", "stages"), {"train": {"optimizers": {"main": {"lr": 1}}}}),
    ],
)
def test_schema_and_reader_take_the_same(place, value):
    plain = load("clip", plugins=INSTALLED).plain()
    node = plain
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    VALIDATOR.validate(plain)
    check(plain, INSTALLED)


def test_what_is_missing_is_refused():
    plain = load("clip", plugins=INSTALLED).plain()
    for place in (("dataset",), ("modalities",), ("task",), ("model", "loss"), ("model", "encoders")):
        changed = json.loads(json.dumps(plain))
        node = changed
        for key in place[:-1]:
            node = node[key]
        del node[place[-1]]
        assert not VALIDATOR.is_valid(changed), place


def objects(node):
    """Yields the schema of every Config, wherever it stands."""
    if isinstance(node, dict):
        if node.get("additionalProperties") is False and "properties" in node:
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def test_every_option_has_a_description():
    options = 0
    for config in objects(SCHEMA):
        for name, option in config["properties"].items():
            if set(option) in ({"const"}, {"enum"}) or name in ("task", "model"):
                continue
            options += 1
            assert option.get("description", "").endswith((".", "…")), (
                f"{name} of {config['properties'].get('name', 'the core')}"
            )
    assert options > 100


def test_defaults_are_told():
    training = SCHEMA["properties"]["training"]["properties"]
    assert training["epochs"]["default"] == 10
    assert training["clip_norm"]["default"] == 1.0
    assert SCHEMA["$defs"]["loss.infonce"]["properties"]["temperature"]["default"] == 0.07
    assert "root" in SCHEMA["$defs"]["dataset.coco_captions"]["required"]


def test_every_component_is_in_it():
    places = [*((kind, kind) for kind in KINDS), ("model", "task")]
    assert set(SCHEMA["$defs"]) == {f"{place}.{name}" for place, kind in places for name in INSTALLED.names(kind)}


def test_docs_of_bases_are_inherited_and_overridden():
    class Base(Config):
        a: int = 1
        """First."""
        b: int = 2
        """Second, in
        two lines."""

    class Derived(Base):
        b: int = 3
        """Another."""
        c: int = 4

    assert field_docs(Base)["b"] == "Second, in two lines."
    docs = field_docs(Derived)
    assert (docs["a"], docs["b"], docs.get("c")) == ("First.", "Another.", None)


def test_components_of_a_listed_module_are_in_it():
    definitions = schema(Plugins(["every_hook"]))["$defs"]
    assert definitions["task.lines"]["properties"]["encoder"]["description"] == "Of both inputs."
