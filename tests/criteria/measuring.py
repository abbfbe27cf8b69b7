"""Trains what criteria name, and tells whether what was measured is older than the code it measured."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import torch
from goals import ROOT, Result, Training, trainings

sys.path.insert(0, str(ROOT / "tests"))

import reader
from sensorium import hookimpl
from sensorium.assembly import trained
from sensorium.assembly.build import Assembly, assemble
from sensorium.assembly.loading import load
from sensorium.conformance.learning import Shuffled
from sensorium.contracts.run import Step
from sensorium.engine.checkpoint import Store
from sensorium.engine.loop import Loop
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import read
from sensorium.plugins import Plugins
from sensorium.training import runs
from sensorium.training.execution import execute

COMPUTES = ("assembly", "builtin", "contracts", "engine", "ops")
"""Folders of the platform on which a result depends."""
BRIEF = ("training.steps=3", "run.threads=0", "tracking.system=false")
"""A training whose numbers tell whether the code still computes the same."""
SENSORIUM = (sys.executable, "-c", "from sensorium.cli.main import main; main()")
DIGITS = 3
"""Significant ones that are compared: the order of sums differs between machines."""


def measure(training: Training) -> Result:
    """Trains on each fold with each seed, to the end.

    Raises:
        KeyError: A metric that is asked for is not there; a training of a few steps shows it first.
    """
    wanted = sorted(training.metrics(trainings(training.plugin)))
    there = run(training, brief=True)
    if missing := [name for name in wanted if name not in there]:
        raise KeyError(f"{training.plugin}, {training.title!r}: no {', '.join(missing)} among {', '.join(there)}")
    metrics: dict[str, list[float]] = {name: [] for name in wanted}
    seconds = []
    for fold, seed in product(training.folds, training.seeds):
        began = time.process_time()
        reached = run(training, *shlex.split(fold), f"run.seed={seed}")
        seconds.append(round(time.process_time() - began))
        for name in wanted:
            metrics[name].append(round(reached[name], 5))
    return Result(metrics, list(training.seeds), seconds, code(training.plugin), settings(training), short(training))


def run(training: Training, *overrides: str, brief: bool = False) -> dict[str, float]:
    """Trains as one would from the folder of the repository; returns the metrics."""
    with _elsewhere():
        _train_before(training, brief)
        assembly = _assembled(training, *overrides, *(BRIEF if brief else ()))
        return dict(execute(assembly, runs.create(assembly, {})).metrics)


def _train_before(training: Training, brief: bool) -> None:
    """Types what a training starts from."""
    for each in training.before:
        subprocess.run([*SENSORIUM, "train", *shlex.split(each), *(BRIEF if brief else ())], check=True)


def short(training: Training) -> str:
    """Returns a hash of the losses of the first steps of each stage."""
    losses: list[dict[str, str]] = []

    class Losses:
        @hookimpl
        def sensorium_step_finished(self, step: Step) -> None:
            losses.append({name: f"{float(value):.{DIGITS - 1}e}" for name, value in step.losses.items()})

    with _elsewhere():
        _train_before(training, brief=True)
        assembly = _assembled(training, *BRIEF)
        plugins = assembly.loaded.plugins
        plugins.manager.register(Losses())
        trained.initialise(assembly.task)
        run = runs.create(assembly, {})
        store = Store(f"{run.folder}/checkpoints", 1)
        Loop(assembly.work(), run, store, torch.device("cpu"), plugins.hook, lambda *_: None, lambda: False).train(None)
        store.wait()
    return hashlib.sha256(json.dumps(losses, sort_keys=True).encode()).hexdigest()[:12]


def settings(training: Training) -> str:
    """Returns a hash of what a training and those before it are told, in which a short one may be like another."""
    with _elsewhere():
        told = [
            override(read(source, Plugins()), options)
            for source, *options in map(shlex.split, (*training.before, training.train))
        ]
    return hashlib.sha256(json.dumps([told, training.shuffled], sort_keys=True).encode()).hexdigest()[:12]


def _assembled(training: Training, *overrides: str) -> Assembly:
    source, *options = shlex.split(training.train)
    assembly = assemble(load(source, [*options, *overrides]))
    if training.shuffled:
        assembly.splits["train"] = Shuffled(assembly.splits["train"], training.shuffled, together=True)
    return assembly


def code(plugin: str) -> str:
    """Returns a hash of the code that a plugin's results depend on, its docstrings and comments apart."""
    files = [path for name in COMPUTES for path in sorted((ROOT / "platform/sensorium" / name).rglob("*.py"))]
    for package in _packages(plugin):
        folder = ROOT / "plugins" / package
        files += sorted(folder.rglob("*.py")) + sorted(set(folder.rglob("*.yaml")) - {folder / "criteria.yaml"})
    found = hashlib.sha256()
    for path in files:
        text = path.read_text(encoding="utf-8")
        found.update(_bare(text).encode() if path.suffix == ".py" else text.encode())
    return found.hexdigest()[:12]


def _packages(plugin: str, seen: tuple[str, ...] = ("sensorium_worlds", "sensorium_recognition")) -> Sequence[str]:
    """Returns a plugin with those that it imports, the worlds and the recognition that experiments name."""
    if plugin in seen:
        return seen
    seen = (*seen, plugin)
    for path in sorted((ROOT / "plugins" / plugin).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith("sensorium_"):
                seen = tuple(_packages(module.partition(".")[0], seen))
    return seen


def _bare(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            vars(node)["body"] = [each for each in body if not _says(each)]
    return repr(_plain(tree))


def _plain(node: object) -> object:
    """Returns a syntax tree as nested tuples, without what is empty: of that each Python has something of its own."""
    if isinstance(node, list):
        return tuple(_plain(each) for each in node)
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, _plain(value)) for name, value in ast.iter_fields(node) if value is not None and value != [])
    return (type(node).__name__, *fields)


def _says(node: ast.AST) -> bool:
    """Returns whether a statement is a string alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Runs in a folder that is laid out as a reader's, and goes afterwards."""
    before, environment = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        reader.furnish(Path(folder))
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)  # without the store that MLflow wrote down there
