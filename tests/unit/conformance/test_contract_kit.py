"""The kit on the contract toys: it passes them all, and finds each mistake by the check that is for it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from wrong_toys import MODALITIES, TASKS

import contract_toys
from sensorium import SensoriumError
from sensorium.conformance import examine, modalities, tasks
from sensorium.conformance.finding import ContractError
from sensorium.conformance.processes import kept
from sensorium.plugins import Plugins

PLUGINS = Plugins(("toys", "contract_toys", "wrong_toys"))


@pytest.fixture(scope="module", autouse=True)
def two_workers():
    with kept():
        yield


def holds(kit, component, check):
    """Runs one check on a component that can be built."""
    subject = kit.Subject(component, PLUGINS)
    if check != "builds":
        kit.CHECKS[check](subject)


def fails(kit, component, check):
    """Runs one check on a component that must fail in it, and not before."""
    if check == "builds":
        with pytest.raises(SensoriumError):
            kit.Subject(component, PLUGINS)
        return
    subject = kit.Subject(component, PLUGINS)
    with pytest.raises((ContractError, SensoriumError)):
        kit.CHECKS[check](subject)


@pytest.mark.parametrize("component", TASKS, ids=lambda component: component.__name__)
def test_a_wrong_task_is_found_and_the_right_one_passes_that_check(component):
    fails(tasks, component, TASKS[component])
    holds(tasks, component.__base__, TASKS[component])


@pytest.mark.parametrize("component", MODALITIES, ids=lambda component: component.__name__)
def test_a_wrong_modality_is_found_and_the_right_one_passes_that_check(component):
    fails(modalities, component, MODALITIES[component])
    holds(modalities, component.__base__, MODALITIES[component])


@pytest.mark.learn
def test_the_contract_toys_conform():
    findings = examine("contract_toys", ("toys",))
    assert [found for found in findings if found.ok is False] == []
    checked = {(found.component, found.check) for found in findings if found.ok}
    assert {("task toy_sourced", "two workers"), ("task toy_inverted", "serve")} <= checked
    answered = {component for component, check in checked if check == "predict"}
    assert answered == {f"task {name}" for name in contract_toys.sensorium_tasks()} | {"modality toy_boxes"}
