"""The experiment file: what is read is what was meant, and what was not meant is refused with its place."""

import contextlib
import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from documents import experiments
from sensorium.assembly.loading import load
from sensorium.engine.settings import Optimizer, Training
from sensorium.errors import SensoriumError, UserError
from sensorium.experiment.overrides import override
from sensorium.experiment.parsing import dump, parse
from sensorium.experiment.reading import check, default_file
from sensorium.experiment.yamls import parse_yaml
from sensorium.plugins import KINDS, Plugins

ROOT = Path(__file__).parents[3]
FILES = [
    path for path in experiments() if not {"models:", "hf-hub:"} & set(re.findall(r"[\w-]+:", path.read_text("utf-8")))
]  # no model is registered here, and none downloaded
INSTALLED = Plugins()


def clip(*overrides):
    return load("clip", overrides, INSTALLED).experiment


def refused(*overrides, source="clip"):
    """Returns the text of the refusal."""
    with pytest.raises(UserError) as caught:
        load(source, overrides, INSTALLED)
    assert ".." not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_written_out_reads_back_equal(file):
    defaults = {default_file(task, INSTALLED): task for task in INSTALLED.names("task")}
    loaded = load(defaults.get(file, str(file)), plugins=INSTALLED)
    for again in (
        loaded.plain(),
        yaml.safe_load(yaml.safe_dump(loaded.plain())),
        json.loads(json.dumps(loaded.plain())),
    ):
        assert check(again, INSTALLED).experiment == loaded.experiment
    assert check(loaded.plain(), INSTALLED).plain() == loaded.plain()


@pytest.mark.parametrize("task", INSTALLED.names("task"))
def test_every_task_has_a_default_experiment(task):
    assert load(task, plugins=INSTALLED).experiment.task == task


@settings(max_examples=50, deadline=None)
@given(
    epochs=st.integers(0, 10**6),
    lr=st.floats(1e-12, 1e3),
    clip_norm=st.none() | st.floats(1e-6, 1e6),
    workers=st.integers(1, 64) | st.tuples(st.integers(1, 4), st.integers(4, 64)),
    experiment=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip),
    plugins=st.just(()),
)
def test_any_values_survive_the_trip(epochs, lr, clip_norm, workers, experiment, plugins):
    whole = clip()
    whole = replace(
        whole,
        training=replace(whole.training, epochs=epochs, clip_norm=clip_norm, optimizer=Optimizer(lr=lr)),
        run=replace(whole.run, workers=workers),
        tracking=replace(whole.tracking, experiment=experiment),
        plugins=plugins,
    )
    plain = dump(whole, INSTALLED)
    assert parse(type(whole), parse_yaml(yaml.safe_dump(plain), "x"), INSTALLED) == whole


@settings(max_examples=60, deadline=None)
@given(
    value=st.integers(0, 10**9) | st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300, max_value=1e300)
)
def test_an_override_means_what_python_writes(value):
    experiment = clip(f"training.clip_norm={value or 1}", f"training.optimizer.options={{x: {value!r}}}")
    assert experiment.training.clip_norm == (value or 1)
    assert experiment.training.optimizer.options == {"x": value}


def places(tree, above=()):
    """Yields the path of every option."""
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


PATHS = [".".join(place) for place in places(load("clip", plugins=INSTALLED).plain())]


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(PATHS) | st.text("abdeginort._0", max_size=12), value=st.text(max_size=12))
def test_no_override_ends_in_anything_but_a_users_error(path, value):
    with contextlib.suppress(UserError):
        clip(f"{path}={value}")


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("overrides", "wrong", "hint"),
    [
        (["task=clop"], "no task 'clop' at task", "clip"),
        (["trainnig.epochs=3"], "no option 'trainnig' at the top of the experiment", "training"),
        (["training.epoch=3"], "no option 'epoch' at training", "epochs"),
        (["training.optimizer.lrr=3"], "no option 'lrr' at training.optimizer", "lr"),
        (["dataset.name=digit"], "no dataset 'digit' at dataset", "digits"),
        (["dataset.limits.train=3"], "no option 'limits' at dataset", "limit"),
        (["modalities.image.name=imag"], "no modality 'imag' at modalities.image", "image"),
        (["modalities.image.sizes=3"], "no option 'sizes' at modalities.image", "size"),
        (["model.encoders.image=vitt"], "no encoder 'vitt' at model.encoders.image", "vit"),
        (["model.encoders.image.widht=[8]"], "no option 'widht' at model.encoders.image", "widths"),
        (["model.fusion=projections"], "no fusion 'projections' at model.fusion", "projection"),
        (["model.loss=info_nce"], "no loss 'info_nce' at model.loss", "infonce"),
        (["model.metrics=[retrieval, acuracy]"], "no metric 'acuracy' at model.metrics.1", "accuracy"),
        (["model.prompt=[a]"], "no option 'prompt' at model", "prompts"),
    ],
)
def test_a_name_that_does_not_exist_is_refused_with_place_and_nearest(overrides, wrong, hint):
    text = refused(*overrides)
    assert f"There is {wrong}." in text
    assert f"Did you mean {hint!r}?" in text


def test_every_option_misspelt_is_refused():
    """A typo never trains, wherever it is."""
    plain = load("clip", plugins=INSTALLED).plain()
    free = {("dataset", "limit"), ("run", "resources"), ("training", "optimizer", "options"), ("training", "stages")}
    free |= {("modalities",), ("model", "encoders"), ("search", "space")}  # mappings whose keys are the user's own
    tried = 0
    for place in places(plain):
        if place[:-1] in free:
            continue
        changed = json.loads(json.dumps(plain))
        node = changed
        for key in place[:-1]:
            node = node[key]
        node[place[-1] + "x"] = node.pop(place[-1])
        with pytest.raises(UserError):
            check(changed, INSTALLED)
        tried += 1
    assert tried > 50


def test_required_options_are_asked_for():
    assert refused("dataset.name=coco_captions").startswith("dataset.root is missing. It is a text.")
    missing = load("clip", plugins=INSTALLED).plain()
    del missing["model"]["loss"]
    with pytest.raises(UserError, match=r"model\.loss is missing\. It is a loss\."):
        check(missing, INSTALLED)
    with pytest.raises(UserError, match=r"The experiment names no task.*`task:` is one of clip"):
        check({"dataset": "digits"}, INSTALLED)


# ------------------------------------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ("training.epochs='3'", "training.epochs is '3'. Expected: a whole number."),
        ("training.epochs=three", "training.epochs is 'three'. Expected: a whole number."),
        ("training.epochs=3.5", "training.epochs is 3.5. Expected: a whole number."),
        ("training.epochs=3.0", "training.epochs is 3.0. Expected: a whole number."),
        ("training.epochs=true", "training.epochs is True. Expected: a whole number."),
        ("training.epochs=null", "training.epochs is None. Expected: a whole number."),
        ("training.epochs=[3]", "training.epochs is [3]. Expected: a whole number."),
        ("training.optimizer.lr=fast", "training.optimizer.lr is 'fast'. Expected: a number."),
        ("training.optimizer.lr=false", "training.optimizer.lr is False. Expected: a number."),
        ("tracking.system=1", "tracking.system is 1. Expected: true or false."),
        ("tracking.system=no", "tracking.system is 'no'. Expected: true or false."),
        ("tracking.experiment=7", "tracking.experiment is 7. Expected: a text."),
        ("training=[1]", "training is [1]. Expected: a mapping of options."),
        ("model=[1]", "model is [1]. Expected: a mapping of options."),
        ("model.encoders=[vit, rnn]", "model.encoders is ['vit', 'rnn']. Expected: a mapping."),
        ("model.metrics=retrieval", "model.metrics is 'retrieval'. Expected: a list."),
        ("model.loss=3", "model.loss is 3. Expected: the name of a loss, or a mapping with `name`, one of"),
        (
            "model.encoders.image={dim: 3}",
            "Expected: the name of an encoder, or a mapping with `name`, one of clip_image",
        ),
        ("modalities.image.channels=true", "modalities.image.channels is True. Expected: one of [1, 3]."),
        ("modalities.image.channels=1.0", "modalities.image.channels is 1.0. Expected: one of [1, 3]."),
        ("training.precision=fp23", "training.precision is 'fp23'. Expected: one of ['fp32', 'tf32', 'bf16', 'fp16']."),
        ("run.workers=[1, 2, 3]", "run.workers is [1, 2, 3]. Expected: int | tuple[int, int]."),
        ("modalities.image.mean=0.5", "modalities.image.mean is 0.5. Expected: list[float]."),
        ("plugins=toys", "plugins is 'toys'. Expected: a list of modules, as Python names them."),
        ("plugins=[1]", "plugins is [1]. Expected: a list of modules, as Python names them."),
    ],
)
def test_a_value_of_another_type_is_refused(given_, text):
    assert text in refused(given_)


def test_a_whole_number_is_a_number_where_one_is_wanted():
    experiment = clip("training.optimizer.lr=1", "training.clip_norm=2", "model.loss={name: siglip, bias: -10}")
    for value in (experiment.training.optimizer.lr, experiment.training.clip_norm, experiment.model.loss.bias):
        assert type(value) is float
    assert type(clip("run.resources={CPU: 1}").run.resources["CPU"]) is float
    assert type(clip("modalities.image.mean=[0]").modalities["image"].mean[0]) is float


def test_lists_become_the_tuples_that_are_declared():
    assert clip("run.workers=[1, 2]").run.workers == (1, 2)
    assert clip("modalities.image.size=[8, 16]").modalities["image"].size == (8, 16)


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ("training.global_batch=0", "training does not fit: global_batch must be above 0, not 0."),
        ("training.epochs=-1", "training does not fit: epochs must be 0 or more, not -1."),
        ("training.schedule.warmup=1.5", "training.schedule does not fit: warmup must lie in [0, 1)"),
        ("run.workers=0", "run does not fit: workers must be at least 1"),
        ("run.workers=[3, 2]", "run does not fit: workers must be at least 1, and the least no more than the most."),
        ("dataset.captions=[]", "dataset does not fit: captions must hold at least one template."),
        ("model.loss.temperature=0", "model.loss does not fit: The temperature must be at least 0.01."),
        ("model.encoders.text.heads=5", "model.encoders.text does not fit: dim is a multiple of heads."),
        ("model.encoders.audio=rnn", "model does not fit: encoders must name two fields, not 3."),
    ],
)
def test_a_constraint_reads_as_a_sentence_with_its_place(given_, text):
    assert text in refused(given_)


# ------------------------------------------------------------------------------------------- YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("007", 7),
        ("-12", -12),
        ("+3", 3),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("0x10", "0x10"),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-02", "2024-01-02"),
        ("1e", "1e"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("[1, a, 2e0]", [1, "a", 2.0]),
    ],
)
def test_values_are_those_of_yaml_1_2(text, value):
    read = parse_yaml(text, "x", mapping=False)
    assert read == value
    assert type(read) is type(value)


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("task: clip\ntraining: {epochs: 1}\ndataset: digits\ntraining: {epochs: 2}\n")
    assert "twice.yaml is not YAML: 'training' occurs twice" in refused(source=str(file))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"task: clip\n  x: [", "is not YAML"),
        (b"- task\n- clip\n", "Expected: a mapping with `task`"),
        (b"", "is None. Expected: a mapping with `task`"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"dataset: digits\n", "The experiment names no task."),
        (b"task: 3\n", "The experiment names no task."),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(tmp_path, content, text):
    file = tmp_path / "wrong.yaml"
    file.write_bytes(content)
    assert text in refused(source=str(file))


def test_a_file_or_task_that_does_not_exist_is_refused(tmp_path):
    assert "The experiment file 'no/where.yaml' does not exist." in refused(source="no/where.yaml")
    assert "Did you mean 'clip'?" in refused(source="clipp")
    assert "There is no task" in refused(source=str(tmp_path))


def test_a_file_may_have_any_ending(tmp_path):
    file = tmp_path / "mine"
    file.write_text(yaml.safe_dump(load("clip", plugins=INSTALLED).plain()))
    assert load(str(file), plugins=INSTALLED).experiment == clip()


def test_a_plugin_that_a_file_lists_is_loaded(tmp_path):
    file = tmp_path / "lines.yaml"
    file.write_text(
        "{task: lines, plugins: [every_hook], dataset: line, modalities: {}, model: {encoder: unchanged, "
        "fusion: total, decoder: linear, loss: square}}"
    )
    assert load(str(file)).plugins.modules == ("every_hook",)
    file.write_text(file.read_text().replace("every_hook", "no_such_plugin"))
    assert "The plugin module 'no_such_plugin' cannot be imported" in refused(source=str(file))


# --------------------------------------------------------------------------------------- overrides


def test_overrides_change_what_they_name_alone():
    base, changed = clip(), clip("training.epochs=3", "modalities.image.size=16")
    assert changed.training.epochs == 3
    assert changed.modalities["image"].size == 16
    same = replace(changed, training=base.training, modalities=base.modalities)
    assert same == base
    assert replace(changed.training, epochs=base.training.epochs) == base.training


def test_the_last_of_two_overrides_counts():
    assert clip("training.epochs=3", "training.epochs=4").training.epochs == 4


def test_scientific_numbers_and_null_on_the_command_line():
    experiment = clip("training.optimizer.lr=1e-3", "training.clip_norm=null", "tracking.register=no")
    assert experiment.training.optimizer.lr == 0.001
    assert experiment.training.clip_norm is None
    assert experiment.tracking.register == "no"
    assert clip("tracking.register=").tracking.register is None


def test_another_name_drops_the_options_of_the_former_component():
    assert clip().model.loss == clip("model.loss.name=infonce").model.loss
    changed = clip("model.encoders.image.name=vit", "model.encoders.image.patch=4").model.encoders["image"]
    assert type(changed).__qualname__ == "ViT.Config"
    assert changed.patch == 4
    assert changed.dim == next(field.default for field in fields(changed) if field.name == "dim")
    kept = clip("model.encoders.image.name=convnet").model.encoders["image"]
    assert kept == clip().model.encoders["image"]


@pytest.mark.parametrize("order", [1, -1])
def test_options_of_a_renamed_component_count_whatever_the_order(order):
    options = ["model.loss.name=siglip", "model.loss.bias=-3"]
    assert clip(*options[::order]).model.loss.bias == -3
    short = ["model.loss=siglip", "model.loss.bias=-3"]
    assert clip(*short[::order]).model.loss.bias == -3


def test_a_component_in_short_form_takes_options():
    data = {"model": {"loss": "infonce", "metrics": ["retrieval"]}}
    assert override(data, ["model.loss.temperature=0.5"])["model"]["loss"] == {"name": "infonce", "temperature": 0.5}
    assert override(data, ["model.metrics.0.k=5"])["model"]["metrics"] == [{"name": "retrieval", "k": 5}]


def test_positions_in_lists():
    assert clip("model.prompts.0='look: {}'").model.prompts[0] == "look: {}"
    assert type(clip("model.metrics.1=retrieval").model.metrics[1]) is type(clip().model.metrics[0])
    assert "'3' is not a position in a list of 3" in refused("model.prompts.3=x")
    assert "'first' is not a position in a list of 3" in refused("model.prompts.first=x")
    assert "'-1' is not a position" in refused("model.prompts.-1=x")


@pytest.mark.parametrize("text", ["training.epochs", "=3", "epochs 3", ""])
def test_what_is_no_override_is_refused(text):
    assert f"{text!r} is not an override. Overrides have the form key.path=value;" in refused(text)


def test_an_override_with_torn_yaml_is_refused():
    assert "training.epochs=[1 is not YAML" in refused("training.epochs=[1")


@pytest.mark.parametrize(
    "text",
    [
        *("/data/set #2", "#2", "a: b", "- a", "? a", "| a", "> a", "--- a", "a\nb", " a", "a ", "<<", "=", "9" * 5000),
        *("@a", "*a", "&a", "!a", "!!str 1", "%a", "`a", "a # b: c", "~/a"),
    ],
)
def test_a_text_on_the_command_line_is_kept_whole(text):
    assert override({}, [f"run.storage={text}"]) == {"run": {"storage": text}}
    assert override({}, [f"run.storage={json.dumps([text])}"]) == {"run": {"storage": [text]}}


@pytest.mark.parametrize(
    "text", ["[a #b]", "[a] #b", "{a: &b 1}", "{a: *b}", "[!!str 1]", "{a: /data/set #2}", "'a' b"]
)
def test_a_list_or_mapping_on_the_command_line_that_would_lose_a_part_is_refused(text):
    with pytest.raises(UserError, match="is not YAML"):
        override({}, [f"run.storage={text}"])


def test_what_is_overridden_stays_as_it_was():
    data = {"training": {"epochs": 1}}
    override(data, ["training.epochs=2", "run.seed=3"])
    assert data == {"training": {"epochs": 1}}


def test_a_section_that_is_off_is_turned_on_by_an_option_of_it():
    stopping = clip("training.early_stopping.metric=x").training.early_stopping
    assert (stopping.metric, stopping.patience) == ("x", 5)


# ------------------------------------------------------------------------------------------ configs


def test_a_config_is_frozen_and_takes_keywords_alone():
    with pytest.raises(AttributeError):
        clip().training.epochs = 3
    with pytest.raises(TypeError):
        Training(3)


def test_every_component_has_a_config_of_its_own():
    seen = {}
    for kind in KINDS:
        for name in INSTALLED.names(kind):
            found = INSTALLED.find(kind, name)
            assert found.Config.owner is found
            assert seen.setdefault(found.Config, name) == name


def test_a_failure_of_the_machine_is_not_the_users():
    assert not issubclass(SensoriumError, UserError)


# ---------------------------------------------------------------------------------------- shortened


def test_the_variable_cuts_short_every_training_but_a_check(monkeypatch):
    from sensorium.assembly.build import assemble
    from sensorium.conformance.learning import assembled

    monkeypatch.setenv("SENSORIUM_STEPS", "3")
    assert clip("training.steps=5").training.steps == 5
    assembly = assemble(load("clip", ["training.epochs=4", "training.global_batch=16"], INSTALLED))
    training, work = assembly.loaded.experiment.training, assembly.work()
    assert (training.steps, training.plan("train").epochs) == (3, 1)
    assert len(work.splits["train"]) == len(assembly.splits["train"]) > 48, "classes and words stay those of all"
    assert len(work.splits["test"]) == 48
    assert assembled("clip", INSTALLED).loaded.experiment.training.steps is None


@pytest.mark.parametrize("value", ["0", "-1", "few", "1.5"])
def test_a_variable_that_is_not_a_number_of_steps_is_refused(value, monkeypatch):
    monkeypatch.setenv("SENSORIUM_STEPS", value)
    assert "SENSORIUM_STEPS" in refused()


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("run.storage=s3://me:canary@store/runs", "run.storage"),
        ("run.storage=https://store/runs?X-Amz-Signature=canary", "run.storage"),
        ("dataset={name: manifest, train: 'https://canary@files/train.csv', fields: {image: image}}", "dataset.train"),
        ("model.prompts=['a {} of https://me:canary@host/']", "model.prompts.0"),
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(override, key):
    with pytest.raises(UserError, match=f"{key} holds a password or token") as caught:
        load("clip", [override])
    assert "canary" not in str(caught.value)
