"""YAML and JSON that somebody made to do harm, or of the wrong shape: refused with a sentence, and at once."""

import json
import re
import time
from types import SimpleNamespace

import pytest
import torch

from sensorium import UserError
from sensorium.assembly.build import restore
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.text import Text
from sensorium.engine.checkpoint import Checkpoint
from sensorium.engine.position import read_position
from sensorium.engine.state import load_optimizer_state
from sensorium.experiment.yamls import parse_yaml
from sensorium.training import runs

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]", "&a {b: *a}", BOMB, "[" * 5000, "!!int x", "!!timestamp x", "!!bool x", "9" * 5000, "? [1]\n: 2"],
    ids=lambda text: text[:12],
)
def test_hostile_yaml_is_refused_at_once(text):
    begin = time.monotonic()
    with pytest.raises(UserError, match="is not YAML"):
        parse_yaml(text, "x", mapping=False)
    assert time.monotonic() - begin < 20


def test_aliases_that_spare_writing_are_taken():
    assert parse_yaml("a: &a {b: 1}\nc: *a\nd: [*a, *a]", "x") == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}] * 2}


@pytest.mark.parametrize("content", ["[]", "1", "null", '"x"', "{", "[" * 100_000, b"\xff"])
def test_a_document_of_another_type_is_refused(content, tmp_path):
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "experiment.json").write_bytes(content)
    with pytest.raises(UserError, match=r"experiment\.json"):
        Checkpoint(tmp_path, "").document("experiment")


@pytest.mark.parametrize("state", [None, 1, [], {}, {"names": 3}, {"tokenizer": "x"}, {"tokenizer": 1}])
@pytest.mark.parametrize("config", [Label.Config(), Tags.Config(), Text.Config()], ids=lambda c: c.owner.__name__)
def test_a_state_of_another_type_is_refused(config, state):
    assert json.dumps(state)
    for saved in ({"x": state}, {}):
        with pytest.raises(UserError, match="'x' had learnt"):
            restore({"x": config.build()}, saved)


def test_a_mapping_of_many_keys_is_read_in_time_that_grows_with_it():
    from sensorium.experiment.yamls import _Loader

    class Key(str):
        compared = 0
        __slots__ = ()

        def __eq__(self, other):
            Key.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    loader = _Loader("\n".join(f"key{number}: 1" for number in range(2000)))
    node = loader.get_single_node()
    for key, _ in node.value:
        key.value = Key(key.value)
    loader.construct_mapping(node)
    assert Key.compared < 20_000


WHOLE = {"step": 3, "stage": 0, "epoch": 1, "done": 0, "best": 0.5, "best_step": 2, "worse": 1}


def position(content, folder):
    (folder / "state.json").write_text(json.dumps(content))
    return read_position(Checkpoint(folder, ""), 1)


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "1", [], {"a": 1}, 10**400, ...], ids=lambda v: f"{v!r:.8}")
def test_a_position_of_another_type_is_refused(key, value, tmp_path):
    wrong = {**WHOLE, key: value}
    if value is ...:
        del wrong[key]
    taken = {"best": (None, -1, 1.5, 10**400), "best_step": (None, 10**400), "stage": ()}.get(key, (10**400,))
    if any(type(value) is type(each) and value == each for each in taken):
        assert getattr(position(wrong, tmp_path), key) == value
        return
    with pytest.raises(UserError, match=rf"state\.json.*{key}"):
        position(wrong, tmp_path)


def test_a_position_with_an_entry_too_many_or_a_stage_that_is_not_there_is_refused(tmp_path):
    assert position(WHOLE, tmp_path).best == 0.5
    with pytest.raises(UserError, match=r"state\.json has 'more'"):
        position({**WHOLE, "more": 1}, tmp_path)
    with pytest.raises(UserError, match=r"stage, is 2\. The training has 1 stages"):
        position({**WHOLE, "stage": 2}, tmp_path)
    (tmp_path / "state.json").write_text('{"step": true}')
    with pytest.raises(UserError, match=r"state\.json has no 'step'"):
        assert Checkpoint(tmp_path, "").step


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"experiment": 1}', "[" * 100_000])
def test_a_record_of_another_type_is_refused(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        runs.reopen(str(tmp_path), "runs")


@pytest.mark.parametrize("scalars", [{"numbers": {"a/b/step": "x"}, "scaler": {}}, {"numbers": {}, "scaler": {"a": 3}}])
def test_a_state_of_optimizers_of_another_type_is_refused(scalars):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    objective = SimpleNamespace(name="a")
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    named = {id(optimizer.param_groups[0]["params"][0]): "b"}
    stepper = SimpleNamespace(optimizer=optimizer, objective=objective, scaler=scaler, named=lambda: named)
    with pytest.raises(UserError, match="cannot be restored"):
        load_optimizer_state([stepper], {}, scalars, "here")


@pytest.mark.parametrize("value", [None, 1, [], "x", {"a": {"b": 1}}])
@pytest.mark.parametrize("key", ["task", "modalities", "model"])
def test_a_trained_model_whose_experiment_is_of_another_type_is_refused(key, value, tmp_path, monkeypatch):
    from sensorium.assembly import trained
    from sensorium.plugins import Plugins

    whole = {"task": "lines", "modalities": {}, "model": {}}
    wrong = {**whole, key: value}
    if value is None:
        del wrong[key]
    (tmp_path / "experiment.json").write_text(json.dumps(wrong))
    monkeypatch.setattr(trained, "_model", lambda _: Checkpoint(tmp_path, ""))
    experiment = {"task": "clip", "dataset": {"name": "digits"}, "model": {"weights": str(tmp_path)}}
    fits = isinstance(value, str if key == "task" else dict)
    said = (
        f"is a model of the task {wrong['task']}. Weights for clip" if fits else f"experiment.json has no '{key}', or"
    )
    with pytest.raises(UserError, match=re.escape(said)):
        trained.completed(experiment, Plugins())
    assert Checkpoint(tmp_path, "").document("experiment") == wrong
