"""Every hook is documented, and tried by the plugin `every_hook` in a real run."""

import inspect
from collections import Counter

import every_hook
import pytest

from sensorium import hookspecs
from sensorium.contracts.component import Component
from sensorium.contracts.run import Evaluation, Outcome, Run, Step
from sensorium.plugins import KINDS, Plugins
from sensorium.training.session import started

HOOKS = {name: value for name, value in vars(hookspecs).items() if name.startswith("sensorium_")}
EVENTS = {name for name, hook in HOOKS.items() if inspect.signature(hook).parameters}


@pytest.fixture(scope="module")
def plugins():
    return Plugins(["every_hook"])


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented(name):
    doc = inspect.getdoc(HOOKS[name]) or ""
    assert doc.splitlines()[0].endswith("."), f"the docstring of {name} begins with a sentence"
    begins = "Fires" if name in EVENTS else "Returns"
    assert doc.startswith(begins), f"the docstring of {name} says when it fires, or what it returns"
    returned = inspect.signature(HOOKS[name]).return_annotation
    assert (returned == "None") == (name in EVENTS), f"{name} is an event, or it registers something"


def test_arguments_of_events_are_typed_by_the_contracts():
    kinds = {"Run", "Step", "Evaluation", "Outcome", "str", "int"}
    for name in EVENTS:
        for argument in inspect.signature(HOOKS[name]).parameters.values():
            assert argument.annotation in kinds, f"{name}: {argument}"


def test_the_test_plugin_has_every_hook(plugins):
    missing = [
        name
        for name in HOOKS
        if "every_hook" not in {impl.plugin_name for impl in getattr(plugins.hook, name).get_hookimpls()}
    ]
    assert not missing, f"add {missing} to tests/unit/every_hook.py, and use it there"


def test_every_kind_of_component_has_a_hook():
    kinds, waiting = set(), [Component]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__() if not hasattr(kind, "kind") else []
        kinds |= {kind.kind} if hasattr(kind, "kind") else set()
    assert kinds == set(KINDS)
    assert set(KINDS.values()) == set(HOOKS) - EVENTS


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hook_registers_is_found_and_used(plugins, kind):
    (name,) = (name for name, entry in plugins.entries[kind].items() if entry.plugin == "every_hook")
    found = plugins.find(kind, name)
    assert found.kind == kind
    assert plugins.name_of(found) == name
    assembly = started_lines()
    experiment = assembly.loaded.plain()
    assert name in str(experiment)
    parts = {type(part) for part in assembly.task.modules()} | {type(part) for part in assembly.task._metrics}
    parts |= {type(part) for part in assembly.modalities.values()} | {assembly.loaded.experiment.dataset.owner}
    assert found in parts


_lines = []


def started_lines():
    """The task `lines`, put together once."""
    if not _lines:
        from sensorium.assembly.build import assemble
        from sensorium.assembly.loading import load

        _lines.append(assemble(load("lines", plugins=Plugins(["every_hook"]))))
    return _lines[0]


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """What happens in a run of 8 steps that is not recorded."""
    from sensorium.training import runs
    from sensorium.training.execution import execute

    assembly = started_lines()
    storage = tmp_path_factory.mktemp("lines")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(storage)
        patch.setattr(every_hook, "CALLS", written := [])
        execute(assembly, runs.create(assembly, {}))
    return written


def test_every_event_fires(calls):
    assert {name for name, _ in calls} == EVENTS


def test_events_fire_as_often_and_in_the_order_that_their_docstrings_say(calls):
    names = [name for name, _ in calls]
    counts = Counter(names)
    assert names[0] == "sensorium_run_started"
    assert names[-1] == "sensorium_run_finished"
    assert counts["sensorium_run_started"] == counts["sensorium_run_finished"] == 1
    assert counts["sensorium_step_finished"] == 8
    assert counts["sensorium_evaluated"] == 1
    saved = [said["step"] for name, said in calls if name == "sensorium_checkpoint_saved"]
    assert saved == [2, 4, 6, 8]
    for step in saved:
        begun = next(i for i, (name, said) in enumerate(calls) if name.endswith("_begun") and said["step"] == step)
        last = next(
            i for i, (_, said) in enumerate(calls) if "step" in said and getattr(said["step"], "number", 0) == step
        )
        told = next(i for i, (name, said) in enumerate(calls) if name.endswith("_saved") and said["step"] == step)
        assert last < begun < told


def test_events_say_what_happened(calls):
    said = dict(calls)
    run = said["sensorium_run_started"]["run"]
    assert isinstance(run, Run)
    assert (run.rank, run.workers, run.steps, run.resumed_from, run.seed) == (0, 1, 8, 0, 0)
    steps = [arguments["step"] for name, arguments in calls if name == "sensorium_step_finished"]
    assert all(isinstance(step, Step) for step in steps)
    assert [step.number for step in steps] == list(range(1, 9))
    assert [step.epoch for step in steps] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {(step.stage, step.samples, len(step.ids)) for step in steps} == {("train", 8, 8)}
    assert set(steps[0].losses) == {"main/square"}
    first_epoch = Counter(key for step in steps[:2] for key in step.ids)
    assert first_epoch == Counter({f"train/{i}": 1 for i in range(16)})
    evaluation = said["sensorium_evaluated"]["evaluation"]
    assert isinstance(evaluation, Evaluation)
    assert (evaluation.step, evaluation.split) == (8, "test")
    outcome = said["sensorium_run_finished"]["outcome"]
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.error) == ("finished", "")
    assert outcome.metrics == evaluation.metrics
    assert outcome.checkpoint == said["sensorium_checkpoint_saved"]["checkpoint"]


def test_an_exception_in_an_event_ends_the_run_and_the_other_plugins_are_told(trained):
    assert trained.broken.status == 1
    assert "the plugin was told to fail" in trained.broken.err
    first = next(arguments for name, arguments in trained.calls if name == "sensorium_run_finished")["outcome"]
    assert (first.status, first.error, first.model) == ("failed", "the plugin was told to fail", "")


def test_a_hook_may_leave_out_arguments_that_it_does_not_use(tmp_path, monkeypatch):
    (tmp_path / "sparing.py").write_text(
        "from sensorium import hookimpl\nseen = []\n"
        "@hookimpl\ndef sensorium_checkpoint_saved(step):\n    seen.append(step)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = Run(name="some-run", folder="x", experiment={}, seed=0)
    Plugins(["sparing"]).hook.sensorium_checkpoint_saved(run=run, checkpoint="", step=3)
    import sparing

    assert sparing.seen == [3]


def test_a_session_records_nothing_before_its_experiment_is_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="trainnig"):
        started("clip", ["trainnig.epochs=1"])
    assert not list(tmp_path.iterdir())
