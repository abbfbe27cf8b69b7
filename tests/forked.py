"""Processes forked from one that has torch and MLflow: starting them costs milliseconds instead of seconds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [
        *("sensorium.training.execution", "torch._dynamo", "torchvision", "sklearn.datasets", "tokenizers"),
        *("scipy.signal", "matplotlib.figure", "soundfile", "pytest", "hypothesis"),
        *("sensorium.tracking.writer", "mlflow.store.tracking.sqlalchemy_store"),
    ]
)


def started(function: Callable[..., None], *args: Any, daemon: bool = True) -> ForkServerProcess:
    """Starts a function in a process of its own, in the folder and with the variables that are the caller's now.

    Those of the process that is forked are older: of the first test that started one.
    """
    process = context.Process(
        target=_as_caller, args=(str(Path.cwd()), dict(os.environ), function, args), daemon=daemon
    )
    process.start()
    return process


def _as_caller(folder: str, variables: dict[str, str], function: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    function(*args)
