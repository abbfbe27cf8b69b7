"""The conformance kit finds what is wrong, and nothing else."""

import sys
from pathlib import Path

import pytest

from sensorium.conformance import examine
from sensorium.errors import UserError

pytestmark = pytest.mark.learn

DEFECTS = {
    "encoder counts_padding": "shapes and masks",
    "encoder wrong_dim": "shapes and masks",
    "encoder idle_layer": "gradients",
    "encoder hidden_state": "save and load",
    "encoder other_randomness": "determinism",
    "encoder branching": "torch.export",
    "fusion mixing": "shapes and masks",
    "loss local_pairs": "two workers",
    "loss undocumented": "options",
    "modality jittery": "determinism",
    "modality longer": "shapes and masks",
    "modality wrong_mask": "shapes and masks",
    "modality forgetful": "save and load",
    "dataset twins": "samples",
    "dataset restless": "determinism",
    "task guess": "learning",
    "task in_full": "half precision",
}


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
    for name in ("encoder sound", "encoder honest"):
        assert [found for found in findings if found.component == name and found.ok is False] == []


def test_an_undeclared_output_is_found(findings):
    (predict,) = [found for found in findings if found.component == "task guess" and found.check == "predict"]
    assert predict.ok is False
    assert "class" in predict.text


def test_a_plugin_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"no plugin 'builtim'.*Did you mean 'builtin'"):
        examine("builtim")


def test_what_comes_along_conforms():
    findings = examine("builtin")
    assert [found for found in findings if found.ok is False] == []
    checked = {found.component for found in findings if found.ok and found.check == "two workers"}
    assert checked >= {"loss infonce", "loss siglip", "loss triplet", "loss cross_entropy"}
