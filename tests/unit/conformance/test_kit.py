"""The conformance kit finds what is wrong, and nothing else."""

import sys
from pathlib import Path

import pytest

from sensorium.conformance import examine
from sensorium.conformance.processes import kept
from sensorium.conformance.tasks import leads
from sensorium.errors import UserError
from sensorium.scaffold.new import write

pytestmark = pytest.mark.learn

DEFECTS = {
    "encoder counts_padding": "shapes and masks",
    "encoder wrong_dim": "shapes and masks",
    "encoder idle_layer": "gradients",
    "encoder hidden_state": "save and load",
    "encoder other_randomness": "determinism",
    "encoder branching": "torch.export",
    "encoder counting": "torch.export",
    "fusion mixing": "shapes and masks",
    "loss local_pairs": "two workers",
    "loss undocumented": "options",
    "loss maskless": "masks",
    "loss mask_blind": "masks",
    "metric ordinal": "order of rows",
    "modality jittery": "determinism",
    "modality longer": "shapes and masks",
    "modality wrong_mask": "shapes and masks",
    "modality forgetful": "save and load",
    "dataset twins": "samples",
    "dataset restless": "determinism",
    "dataset sourced": "samples",
    "task guess": "learning",
    "task in_full": "half precision",
}


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    with kept():
        yield


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.chdir(tmp_path_factory.mktemp("kit"))
        yield examine("defective")
    sys.modules.pop("defective", None)


@pytest.mark.parametrize("component", DEFECTS)
def test_each_defect_is_found(findings, component):
    failed = {found.check: found.text for found in findings if found.component == component and found.ok is False}
    assert DEFECTS[component] in failed, failed
    assert failed[DEFECTS[component]].endswith("."), "a sentence says what is wrong"


def test_what_is_sound_passes(findings):
    for name in ("encoder sound", "encoder honest", "modality titled"):
        assert [found for found in findings if found.component == name and found.ok is False] == []


def test_a_sample_has_the_fields_of_its_source(findings):
    (samples,) = [found for found in findings if found.component == "dataset sourced" and found.check == "samples"]
    assert samples.text == "A sample of 'test' lacks label."


def test_an_undeclared_output_is_found(findings):
    (predict,) = [found for found in findings if found.component == "task guess" and found.check == "predict"]
    assert predict.ok is False
    assert "class" in predict.text
    assert "`outputs` declares label" in predict.text


def test_an_event_that_fails_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.chdir(tmp_path)
    (event,) = [found for found in examine("defective_events") if found.check == "events"]
    sys.modules.pop("defective_events", None)
    assert event.ok is False
    assert "no ear for step 1" in event.text


def test_a_task_that_does_not_learn_hears_what_to_set(findings):
    (learning,) = [found for found in findings if found.component == "task guess" and found.check == "learning"]
    assert all(word in learning.text for word in ("training.optimizer.lr", "search.metric", "probe"))


@pytest.mark.parametrize(
    ("right", "shuffled", "mode", "clear"),
    [
        (0.154, 0.107, "max", False),
        (0.93, 0.1, "max", True),
        (0.27, 0.1, "max", True),
        (0.1, 0.1, "max", False),
        (0.1, 0.9, "max", False),
        (5.7, -19.3, "max", True),
        (-1.0, -1.2, "max", False),
        (3.0, 40.0, "min", True),
        (30.0, 40.0, "min", False),
        (float("nan"), 0.1, "max", False),
    ],
)
def test_a_lead_is_half_as_good_again(right, shuffled, mode, clear):
    assert leads(right, shuffled, mode) is clear


def test_a_plugin_without_anything_to_check_fails_and_each_check_is_told(tmp_path, monkeypatch, sensorium):
    monkeypatch.chdir(tmp_path)
    code = "from sensorium import hookimpl\n\n@hookimpl\ndef sensorium_losses():\n    return {}\n"
    (tmp_path / "hollow_one.py").write_text(code)
    answer = sensorium("plugin", "check", "hollow_one")
    assert answer.status == 1
    assert "hollow_one.py" in answer.out.replace("\n", "")
    told = sensorium("plugin", "check", "hollow_one", "--module", "toys", "--json")
    assert told.json["ok"] is False
    sys.modules.pop("hollow_one", None)


def test_progress_is_told_before_each_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(write("try_tell", "metric", tmp_path))
    told = []
    findings = examine("sensorium_try_tell", (), lambda component, check: told.append((component, check)))
    sys.modules.pop("sensorium_try_tell", None)
    assert {(found.component, found.check) for found in findings} <= set(told)


def test_a_plugin_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"no plugin 'builtim'.*Did you mean 'builtin'"):
        examine("builtim")


def test_what_comes_along_conforms():
    findings = examine("builtin")
    assert [found for found in findings if found.ok is False] == []
    checked = {found.component for found in findings if found.ok and found.check == "two workers"}
    assert checked >= {"loss infonce", "loss siglip", "loss triplet", "loss cross_entropy"}
