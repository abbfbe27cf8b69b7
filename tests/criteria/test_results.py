"""What plugins have to reach is written as it is read, and their READMEs show what was reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import goals
import measuring
import pytest
import tables
from goals import Goal, Result, Training, lead, lead_error, missed

BLIND = Training("sensorium_toy", "blind", "toy model.blind=true", {"accuracy": Goal(most=0.3)})
SEEING = Training(
    "sensorium_toy",
    "seeing",
    "toy 'model.fusion={name: sum, dim: 4}'",
    {
        "accuracy": Goal(least=0.8, over="blind", lead=0.5),
        "rank": Goal(most=3, over="shuffled_rank", lead=10),
    },
    seeds=(0, 1),
)
WANTED = {"seeing": SEEING, "blind": BLIND}


def reached(**metrics: list[float]) -> Result:
    return Result(metrics, [0, 1], [61, 63], "code", "settings", "short")


def found(accuracy: list[float], rank: float) -> dict[str, Result]:
    return {
        "seeing": reached(accuracy=accuracy, rank=[rank, rank], shuffled_rank=[14.0, 14.0]),
        "blind": Result({"accuracy": [0.25]}, [0], [30], "code", "settings", "short"),
    }


def test_every_plugin_but_the_worlds_has_criteria() -> None:
    have = {path.parent.name for path in goals.ROOT.glob("plugins/*/__init__.py")}
    assert set(goals.plugins()) == have - {"sensorium_worlds"}


@pytest.mark.parametrize("plugin", goals.plugins())
def test_the_readme_shows_what_was_reached(plugin: str) -> None:
    text = (goals.ROOT / "plugins" / plugin / "README.md").read_text(encoding="utf-8")
    assert text == tables.written(plugin), "`make criteria` writes the table"
    assert set(goals.results(plugin)) <= set(goals.trainings(plugin)), "of a training that is not asked for any more"


def test_a_training_is_read_with_what_its_metrics_are_compared_with() -> None:
    assert SEEING.metrics(WANTED) == {"accuracy", "rank", "shuffled_rank"}
    assert BLIND.metrics(WANTED) == {"accuracy"}


def test_goals_are_of_the_mean_over_seeds_and_of_the_lead() -> None:
    assert list(missed(SEEING, found([0.7, 1.0], 2.0))) == []
    low, near = missed(SEEING, found([0.6, 0.8], 2.0))
    assert low.startswith("accuracy is 0.7, and 0.8 at least")
    assert near == "accuracy is 0.45 better than blind, and 0.5 at least is expected"
    assert len(list(missed(SEEING, found([0.9, 0.9], 5.0)))) == 2, "less is better where there is a `most`"
    assert len(list(missed(SEEING, found([float("nan"), 0.9], 2.0)))) == 2
    assert lead(SEEING, "rank", found([0.9, 0.9], 4.0)) == pytest.approx(10)


def test_the_lead_over_the_same_seeds_has_a_standard_error() -> None:
    """It is ahead by 0.1 and by 0.5: they deviate by 0.2 * sqrt(2), and their mean by 0.2."""
    ahead = {"seeing": reached(accuracy=[0.4, 0.9]), "blind": reached(accuracy=[0.3, 0.4])}
    assert lead_error(SEEING, "accuracy", ahead) == pytest.approx(0.2)
    assert lead_error(SEEING, "accuracy", found([0.4, 0.9], 2.0)) is None, "one seed of the other"
    folds = {"seeing": reached(accuracy=[0.5, 0.7, 0.9, 0.9]), "blind": reached(accuracy=[0.5, 0.5, 0.5, 0.7])}
    assert lead_error(SEEING, "accuracy", folds) == pytest.approx(0.1), "over two folds, ahead by 0.1 and by 0.3"


def test_a_table_names_each_training_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "trainings", lambda plugin: WANTED)
    monkeypatch.setattr(tables, "results", lambda plugin: found([0.7, 1.0], 12.0))
    assert tables.table("sensorium_toy").splitlines()[2:] == [
        "| seeing | `accuracy` | 0.850 (0.700 to 1.000) | 0.250, blind | 0.600 | 1 min 2 s |",
        "|  | `rank` | 12.0 (12.0 to 12.0) | 14.0, `shuffled_rank` | 2.000 ± 0.000 |  |",
        "| blind | `accuracy` | 0.250 |  |  | 30 s |",
    ]


def test_folds_have_a_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of the folds are 0.6, 0.7 and 0.8: they deviate by 0.1, and their mean by 0.1 / sqrt(3)."""
    folds = Training("sensorium_toy", "folds", "toy", {"accuracy": Goal()}, seeds=(0, 1), folds=("a=1", "a=2", "a=3"))
    cross = Result({"accuracy": [0.5, 0.7, 0.7, 0.7, 0.9, 0.7]}, [0, 1], [60.0] * 6, "code", "settings", "short")
    assert cross.error("accuracy") == pytest.approx(0.1 / 3**0.5)
    monkeypatch.setattr(tables, "trainings", lambda plugin: {"folds": folds})
    monkeypatch.setattr(tables, "results", lambda plugin: {"folds": cross})
    assert "| 0.700 ± 0.058 over 3 folds |" in tables.table("sensorium_toy")
    asked = []
    monkeypatch.setattr(measuring, "trainings", lambda plugin: {"folds": folds})
    monkeypatch.setattr(
        measuring, "run", lambda training, *more, brief=False: asked.append((*more, brief)) or {"accuracy": 0.5}
    )
    monkeypatch.setattr(measuring, "code", lambda plugin: "code")
    monkeypatch.setattr(measuring, "settings", lambda training: "settings")
    monkeypatch.setattr(measuring, "short", lambda training: "short")
    assert len(measuring.measure(folds).metrics["accuracy"]) == 6
    brief, *whole = asked
    assert brief == (True,)
    assert whole[:3] == [("a=1", "run.seed=0", False), ("a=1", "run.seed=1", False), ("a=2", "run.seed=0", False)]
    absent = replace(folds, reach={"acuracy": Goal()})
    asked.clear()
    with pytest.raises(KeyError, match="no acuracy among accuracy"):
        measuring.measure(absent)
    assert asked == [(True,)], "nothing was trained for it"


def test_what_a_training_starts_from_is_trained_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    after = Training(
        "sensorium_toy", "after", "toy weights=models:/eyes/1", {}, before=("eyes tracking.register=eyes",)
    )
    done: list[list[str]] = []
    monkeypatch.setattr(measuring.subprocess, "run", lambda words, check: done.append(words[3:]))
    monkeypatch.setattr(measuring, "_assembled", lambda training, *overrides: done.append([*overrides]))
    monkeypatch.setattr(measuring, "runs", SimpleNamespace(create=lambda assembly, tags: None))
    monkeypatch.setattr(measuring, "execute", lambda assembly, run: SimpleNamespace(metrics={}))
    measuring.run(after, "run.seed=2")
    assert done == [["train", "eyes", "tracking.register=eyes"], ["run.seed=2"]]
    measuring.run(after, brief=True)
    assert done[2:] == [["train", "eyes", "tracking.register=eyes", *measuring.BRIEF], [*measuring.BRIEF]], (
        "a few steps of each"
    )


def test_a_result_outlives_other_words_and_not_other_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ROOT", tmp_path)
    package = tmp_path / "plugins/sensorium_toy"
    package.mkdir(parents=True)
    module = package / "task.py"
    module.write_text('"""A toy."""\nfrom sensorium_other.parts import Part\nWIDTH = 4\n')
    other = tmp_path / "plugins/sensorium_other/parts.py"
    other.parent.mkdir()
    other.write_text("class Part:\n    size = 1\n")
    before = measuring.code("sensorium_toy")
    module.write_text('"""Another word."""\nfrom sensorium_other.parts import Part\n\nWIDTH = 4  # wide\n')
    assert measuring.code("sensorium_toy") == before
    other.write_text("class Part:\n    size = 2\n")
    changed = measuring.code("sensorium_toy")
    assert changed != before
    (package / "criteria.yaml").write_text("{}")
    assert measuring.code("sensorium_toy") == changed
    (package / "experiment.yaml").write_text("width: 5\n")
    assert measuring.code("sensorium_toy") != changed


def test_a_hash_of_code_is_the_same_in_every_python() -> None:
    body = "(('Return', ('value', ('Constant', ('value', 1)))),)"
    args = "('arguments',)"
    assert measuring._bare("def f(): return 1") == (
        f"('Module', ('body', (('FunctionDef', ('name', 'f'), ('args', {args}), ('body', {body})),)))"
    )


def test_what_a_training_is_told_is_more_than_a_short_one_shows() -> None:
    def told(train: str, *before: str) -> str:
        return measuring.settings(Training("sensorium_clip", "digits", train, {}, before=before))

    assert told("clip") == told("clip") == told("clip training.epochs=30")
    assert told("clip") != told("clip training.epochs=99")
    assert told("clip") != told("clip", "clip tracking.register=eyes")
    assert told("clip", "clip tracking.register=eyes") != told("clip", "clip training.epochs=9 tracking.register=eyes")


@pytest.mark.learn
def test_a_short_training_tells_whether_the_numbers_are_the_same() -> None:
    clip = Training("sensorium_clip", "digits", "clip", {})
    assert measuring.short(clip) == measuring.short(clip)
    assert measuring.short(clip) != measuring.short(
        Training("sensorium_clip", "other", "clip training.optimizer.lr=1", {})
    )
