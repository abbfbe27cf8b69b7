"""Options in words: of any part, and as comments from which a file can begin."""

import re

import pytest

from sensorium.assembly.loading import load
from sensorium.experiment.explain import commented, options
from sensorium.experiment.schema import field_docs
from sensorium.plugins import KINDS, Plugins

PLUGINS = Plugins()


@pytest.mark.parametrize("task", PLUGINS.names("task"))
def test_a_file_with_comments_loads_as_what_it_was(task, tmp_path):
    before = load(task, (), PLUGINS)
    text = commented(before)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    assert load(str(tmp_path / "mine.yaml"), (), PLUGINS).plain() == before.plain()
    assert "# Seed of order, initial weights and augmentation." in text
    for name in before.plain()["model"]:
        assert f"  # {field_docs(type(before.experiment.model))[name][:40]}" in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_every_part_has_words(kind):
    for name in PLUGINS.names(kind):
        for option in options(kind, name, PLUGINS).values():
            assert option.text
            assert option.type
            assert not re.search(r"\w\.\w|Optional", option.type), "no name of Python's"


@pytest.mark.parametrize(
    ("name", "key", "type"),
    [("dalle2", "prior.depth", "a whole number"), ("imagebind", "bound.NAME.encoder", "an encoder")],
)
def test_options_of_options_that_are_not_parts_are_shown(name, key, type):
    assert options("task", name, PLUGINS)[key].type == type


def test_a_part_is_shown(sensorium):
    answer = sensorium("show", "encoder", "convnet")
    assert answer.out.startswith("encoder convnet, of the plugin builtin: ")
    assert "  dim: a whole number, default " in answer.out
    found = sensorium("show", "encoder", "convnet", "--json").json["convnet"]
    assert found["dim"]["required"] is False
    assert found["dim"]["text"]
    assert "convnet " in sensorium("show", "encoder").out
    assert "required" in sensorium("show", "modality", "vector").out


def test_a_part_that_is_not_there_is_named_with_the_nearest(sensorium):
    answer = sensorium("show", "encoder", "convnett")
    assert answer.status == 2
    assert "Did you mean 'convnet'" in answer.err


def test_show_with_comments(sensorium):
    assert "\n# " in sensorium("show", "clip", "--comments").out
